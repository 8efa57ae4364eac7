// Dialogs: edit and delete a resource in the version that the user has seen.

import { Problem } from "./api.js";
import { $, announce, asProblem, clearProblem, onSubmit } from "./ui.js";

const CHANGED = "This was changed meanwhile.";
const PRECONDITION_FAILED = "precondition_failed";

let onDialogSubmit; // The action of the open dialog. Only one is open at a time.

/**
 * Opens a dialog, and closes it when `action(values, options)` succeeds, unless that returns true.
 * If the element that opened it no longer exists then, the result of `getFocus` is focused. Returns
 * a function that says whether the dialog is still open.
 */
export function openDialog(dialog, action, getFocus) {
  const submit = async (values, options) => {
    try {
      if (await action(values, options)) return;
    } catch (error) {
      if (isOpen()) throw error;
      return announce(`The change was not stored: ${asProblem(error).message}`);
    }
    if (!isOpen()) return;
    dialog.close();
    const { activeElement } = document;
    if (dialog.contains(activeElement) || activeElement === document.body) getFocus?.()?.focus();
  };
  const isOpen = () => dialog.open && onDialogSubmit === submit;
  clearProblem($("form", dialog));
  onDialogSubmit = submit;
  dialog.showModal();
  return isOpen;
}

for (const dialog of document.querySelectorAll("dialog")) {
  onSubmit($("form", dialog), (...submitted) => onDialogSubmit(...submitted));
  $('[data-action="close"]', dialog).addEventListener("click", () => dialog.close());
}

/**
 * Opens a dialog that edits a resource.
 *
 * - `call`, `path`: how the resource is read and changed
 * - `valuesOf(resource)`: the values of the fields
 * - `toPatch(changes, resource)`: the merge patch for the fields that the user has changed
 * - `show(resource)`: shows the resource, saved or reloaded
 * - `onSaved()`
 *
 * If another client has changed the resource, the dialog stays open. The fields that the user has
 * changed keep the user's values and say what is stored now; the others take the new values.
 */
export function openEditor(dialog, resource, editor) {
  const { call, path, valuesOf, toPatch = (changes) => changes, show, onSaved, getFocus } = editor;
  const form = $("form", dialog);
  let seen = resource;
  let stored = fill(form, valuesOf(seen));
  const isOpen = openDialog(dialog, async (values, options) => {
    const body = toPatch(changesOf(values, stored), seen);
    try {
      if (Object.keys(body).length > 0) {
        show(await call("PATCH", path, { body, version: versionOf(seen), ...options }));
      }
    } catch (error) {
      if (error.code !== PRECONDITION_FAILED) throw error;
      seen = await call("GET", path, options);
      show(seen);
      if (!isOpen()) throw new Problem(412, CHANGED);
      rebase();
    }
    onSaved();
  }, getFocus);

  /** Takes the reloaded values. Throws if fields that the user has changed differ from them. */
  function rebase() {
    const changes = changesOf(valuesIn(form), stored);
    stored = fill(form, valuesOf(seen));
    for (const name in changes) form.elements[name].value = changes[name];
    const differing = Object.keys(toPatch(changesOf(valuesIn(form), stored), seen));
    // No difference: an earlier attempt, whose response was lost, has stored the values.
    if (differing.length === 0) return;
    const quotes = differing.map((name) => [name, [`is now “${stored[name]}”`]]);
    const message = `${CHANGED} Save again to replace it.`;
    throw new Problem(412, message, { errors: Object.fromEntries(quotes) });
  }
}

const valuesIn = (form) => Object.fromEntries(new FormData(form));

/**
 * Sets the fields. Returns their values as the form has them: a control may normalize a value, for
 * example line ends in a textarea.
 */
function fill(form, values) {
  for (const name in values) form.elements[name].value = values[name];
  return valuesIn(form);
}

const changesOf = (values, stored) =>
  Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== stored[name]));

/** Returns the version of a resource, for `If-Match`. A message has it in `change`. */
const versionOf = ({ change, version }) => change ?? version;

/**
 * Asks the user to confirm a deletion.
 *
 * - `verb`: what the button says; "Delete" by default
 * - `call`, `path`: how the resource is read and deleted
 * - `titleOf(resource)`: the question
 * - `quoteOf(resource)`: the content, if the question does not have it
 * - `text`: the consequences
 * - `show(resource)`: shows the resource, reloaded
 * - `onDeleted()`
 */
export function openDeletion(resource, deletion) {
  const { call, path, verb = "Delete", titleOf, quoteOf, text } = deletion;
  const { show, onDeleted, getFocus } = deletion;
  let seen = resource;
  const showTitle = () => ($("#confirm-title").textContent = titleOf(seen));
  showTitle();
  $("#confirm-text").textContent = text;
  $("#confirm .danger").textContent = verb;
  const isOpen = openDialog($("#confirm-dialog"), async (_, options) => {
    try {
      await call("DELETE", path, { version: versionOf(seen), ...options });
    } catch (error) {
      if (error.code === PRECONDITION_FAILED) await reload(options);
      // A repeated DELETE may find nothing to delete.
      else if (error.status !== 404) throw error;
    }
    onDeleted();
  }, getFocus);

  /** Shows the resource as it is now. Throws unless it is deleted. */
  async function reload(options) {
    seen = await call("GET", path, options);
    show(seen);
    if (seen.deleted_at) return;
    if (isOpen()) showTitle();
    const quote = quoteOf ? ` It is now “${quoteOf(seen)}”.` : "";
    throw new Problem(412, `${CHANGED}${quote} Delete it anyway?`);
  }
}
