// The parts this page is built of: templates, times, avatars, forms, dialogs, paged lists, shown requests.
// Text from users is only ever set as text. Nothing here knows a resource of the API.

import { Problem, curl, prepare, send } from "./api.js";

export const $ = (selector, root = document) => root.querySelector(selector);

/** A copy of the one element in a template. */
export const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

/** Tells people who do not see the page what has just happened. */
export function announce(text) {
  $("#status").textContent = text;
}

// Times

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayOfYear = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const full = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "long" });

/** A <time> that says how long ago, and in its title exactly when. */
export function time(iso) {
  const element = document.createElement("time");
  element.dateTime = iso;
  element.title = full.format(new Date(iso));
  element.textContent = ago(new Date(iso));
  return element;
}

function ago(date) {
  const now = new Date();
  const minutes = Math.round((now - date) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return relative.format(-minutes, "minute");
  if (minutes < 12 * 60) return relative.format(-Math.round(minutes / 60), "hour");
  return (date.getFullYear() === now.getFullYear() ? day : dayOfYear).format(date);
}

setInterval(() => {
  for (const element of document.querySelectorAll("time")) element.textContent = ago(new Date(element.dateTime));
}, 30_000);

export const counted = (count, unit) => `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;

/** Fills an avatar: initials, on one of eight colours that the id chooses. */
export function avatar(element, profile) {
  const initials = [profile?.first_name, profile?.last_name].map((name) => [...(name ?? "")][0] ?? "");
  element.textContent = initials.join("").toLocaleUpperCase() || "–";
  element.classList.remove(...Array.from({ length: 8 }, (_, hue) => `hue-${hue}`));
  if (profile) element.classList.add(`hue-${parseInt(profile.id.slice(-4), 16) % 8}`);
}

// Requests, shown

/**
 * Answers the function to send requests with that a panel shows: `call(method, path, options)` resolves to
 * the data of the answer. A request that has `shownIf` is shown only when that holds for the data: a poll that brings nothing
 * would only push away what a person did.
 */
export function requester(panel) {
  const [line, outcome, command, copy] = [".line", ".outcome", "pre", "button"].map((part) => $(`.request ${part}`, panel));
  copy.addEventListener("click", async () => {
    await copied(command);
    copy.textContent = "Copied";
    announce("Command copied");
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });

  return async function call(method, path, { body, shownIf, ...options } = {}) {
    const request = prepare(method, path, body);
    const started = performance.now();
    const show = (result) => {
      line.textContent = `${method} ${path}`;
      outcome.textContent = `${result} · ${Math.round(performance.now() - started)} ms`;
      command.textContent = curl(request);
    };
    try {
      const { status, data } = await send(request, options);
      if (shownIf?.(data) ?? true) show(status);
      return data;
    } catch (error) {
      if (error instanceof Problem && !shownIf) show(error.status || "no answer");
      throw error;
    }
  };
}

async function copied(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent).catch(() => selected(element));
  selected(element); // Plain http on another host than localhost has no clipboard.
  document.execCommand("copy");
}

const selected = (element) => getSelection().selectAllChildren(element);

// Forms

/** What a person can read of any error. A bug of this page is still thrown, so that it shows in the console. */
export function readable(error) {
  if (error instanceof Problem) return error;
  throw error;
}

/**
 * Runs `action(values, options)` when the form is sent, one at a time, and shows the problem it may throw beside its fields.
 * The options are for the request it makes: with them the form says that it is being repeated.
 */
export function onSubmit(form, action) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    clearProblem(form);
    const missing = [...form.elements].filter((control) => control.validity?.valueMissing);
    if (missing.length > 0) {
      const errors = Object.fromEntries(missing.map((control) => [control.name, ["is required"]]));
      return showProblem(form, new Problem(422, "", { errors }));
    }
    form.ariaBusy = "true";
    const onRepeat = () => ($('[data-error-for="form"]', form).textContent = WAITING);
    try {
      await action(Object.fromEntries(new FormData(form)), { onRepeat });
      clearProblem(form);
    } catch (error) {
      showProblem(form, readable(error));
    } finally {
      form.ariaBusy = null;
    }
  });
}

export function clearProblem(form) {
  for (const place of form.querySelectorAll("[data-error-for]")) place.textContent = "";
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}

function showProblem(form, { message, errors, isTransient }) {
  clearProblem(form);
  const unplaced = [];
  for (const [field, reasons] of Object.entries(errors)) {
    const text = sentence(reasons.join("; "));
    const place = form.querySelector(`[data-error-for="${CSS.escape(field)}"]`);
    if (place) place.textContent = text;
    else unplaced.push(`${field}: ${text}`);
    form.elements[field]?.setAttribute("aria-invalid", "true");
  }
  const comfort = isTransient ? "Nothing you wrote is lost, and sending it again cannot do it twice." : "";
  $('[data-error-for="form"]', form).textContent = [message, ...unplaced, comfort].filter(Boolean).join(" ");
  const first = $("[aria-invalid]", form);
  first?.closest("details")?.setAttribute("open", "");
  first?.focus();
}

const sentence = (text) => text.replace(/^./u, (letter) => letter.toUpperCase()).replace(/[^.!?]$/u, "$&.");

// Dialogs

let onDialogSubmit; // What the open dialog is for; there is one at a time.

/**
 * Opens a dialog on these values, and closes it when `action(changes, options)` succeeds; what is untouched is no change.
 * `after` is focused if what opened the dialog is gone by then.
 */
export function openDialog(dialog, values, action, after) {
  const form = $("form", dialog);
  clearProblem(form);
  for (const name in values) form.elements[name].value = values[name];
  // Read back: a control may hold a value in its own spelling, a textarea its line ends.
  const before = Object.fromEntries(new FormData(form));
  onDialogSubmit = async (sent, options) => {
    const changes = Object.entries(sent).filter(([name, value]) => value !== before[name]);
    await action(Object.fromEntries(changes), options);
    dialog.close();
    // Where what opened it has been replaced, the focus still rests in the closed dialog, or nowhere.
    if (dialog.contains(document.activeElement) || document.activeElement === document.body) after?.()?.focus();
  };
  dialog.showModal();
}

for (const dialog of document.querySelectorAll("dialog")) {
  onSubmit($("form", dialog), (...sent) => onDialogSubmit(...sent));
  $('[data-action="close"]', dialog).addEventListener("click", () => dialog.close());
}

/** Asks before something is deleted. */
export function confirmDelete(title, text, action, after) {
  $("#confirm-title").textContent = title;
  $("#confirm-text").textContent = text;
  openDialog($("#confirm-dialog"), {}, action, after);
}

// Places for content

const WAITING = "No answer yet; trying again…";

/** Shows what stands in the place of a view's content: a sentence, and a way to try again. */
export function notice(panel, text, retry) {
  const place = $(".notice", panel);
  place.hidden = !text;
  place.textContent = text;
  if (!retry) return;
  const button = document.createElement("button");
  Object.assign(button, { type: "button", textContent: "Try again" });
  button.addEventListener("click", retry);
  place.append(button);
}

/** Options for a request that brings the content of a view: says that it is being repeated. */
export const waiting = (panel) => ({ onRepeat: () => notice(panel, WAITING) });

/** A list of the API in a panel: pages by `next`, rows made by `fillRow(row, item)`. `onChange` hears of every change. */
export class PagedList {
  items = new Map();
  #next = null;

  constructor(panel, path, { template, empty, fillRow, onChange = () => {} }) {
    Object.assign(this, { panel, path, template, empty, fillRow, onChange, call: requester(panel) });
    this.list = $(".list", panel);
    this.more = $('[data-action="more"]', panel);
    this.more.addEventListener("click", () => this.#load(this.#next));
    $('[data-action="refresh"]', panel).addEventListener("click", () => this.refresh());
  }

  refresh() {
    return this.#load(this.path);
  }

  /** Puts a new item on top. */
  add(item) {
    this.list.prepend(this.#row(item));
    this.items = new Map([[item.id, item], ...this.items]);
    this.#changed();
  }

  /** Takes over the newer state of an item, if the list has it. */
  update(item) {
    if (!this.items.has(item.id)) return;
    this.items.set(item.id, item);
    this.fillRow(this.#find(item.id), item);
    this.#changed();
  }

  remove(id) {
    if (!this.items.delete(id)) return;
    this.#find(id).remove();
    this.#changed();
  }

  /** Marks the row that the page shows in full. */
  mark(id) {
    this.marked = id;
    for (const row of this.list.children) $("a", row).ariaCurrent = row.dataset.id === id ? "page" : null;
  }

  async #load(path) {
    if (this.panel.ariaBusy === "true") return;
    this.panel.ariaBusy = "true";
    try {
      const page = await this.call("GET", path, waiting(this.panel));
      if (path === this.path) {
        this.items.clear();
        this.list.replaceChildren();
      }
      const fresh = page.results.filter((item) => !this.items.has(item.id));
      for (const item of fresh) this.items.set(item.id, item);
      this.list.append(...fresh.map((item) => this.#row(item)));
      this.#next = page.next;
      this.more.hidden = !page.next;
      this.#changed();
      this.mark(this.marked);
    } catch (error) {
      notice(this.panel, readable(error).message, () => this.#load(path));
    } finally {
      this.panel.ariaBusy = null;
    }
  }

  #row(item) {
    const row = clone(this.template);
    row.dataset.id = item.id;
    $("a", row).href = `#${this.path}/${item.id}`;
    this.fillRow(row, item);
    return row;
  }

  #find(id) {
    return $(`[data-id="${CSS.escape(id)}"]`, this.list);
  }

  #changed() {
    notice(this.panel, this.items.size === 0 ? this.empty : "");
    this.onChange();
  }
}
