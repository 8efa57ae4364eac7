// Messages of the open conversation: following, posting, editing, deleting. The log: log.js.

import { Problem, parseJson } from "./api.js";
import { FAILING, Follower, LIVE, POLLING } from "./changes.js";
import { openDeletion, openEditor } from "./dialogs.js";
import {
  closeLog, findEdit, focusLog, freezeLog, hasNews, isLogEmpty, markDeleted, mergeMessages,
  newestMessage, newestSeq, openLog, scrollToEnd,
} from "./log.js";
import { actingId } from "./profiles.js";
import {
  $, announce, asProblem, clearProblem, notice, onSubmit, setContentVisible,
} from "./ui.js";

export const conversationView = $("#conversation-view");
const composer = $("#composer");

/** The open conversation: its id, its follower and the options of `openMessages`; or null. */
let open = null;

const drafts = new Map(); // Composer contents of conversations that were left, by id.

/**
 * Shows the newest messages of a conversation and follows it.
 *
 * - `call`, `signal`: send requests, and end them
 * - `load()`: loads the conversation again
 * - `reload()`: opens it again, when the user asks for it
 * - `onConversation(state)`, `onNewMessage(message)`, `onSeen(seq)`, `onNotAMember()`, `onGone()`
 */
export function openMessages(conversation, options) {
  const { id } = conversation;
  const view = { id, isPrivate: conversation.visibility === "private", ...options };
  const { call, signal } = options;
  showConnection("Connecting…");
  view.follower = new Follower(conversation, {
    path: `/conversations/${id}`,
    call,
    signal,
    hasNews,
    take: ({ conversation, results }) => {
      view.onConversation(conversation);
      takeMessages(results);
    },
    restart: async () => {
      const conversation = await view.load();
      showMessages(conversation);
      return conversation.cursor;
    },
    onState: (state) => open === view && showConnection(...STATES[state]),
  });
  open = view;
  showMessages(conversation);
  clearProblem(composer);
  for (const name of ["text", "metadata"]) {
    composer.elements[name].value = drafts.get(id)?.[name] ?? "";
  }
  setContentVisible(conversationView, true);
  $("#gone").hidden = true;
  scrollToEnd();
  follow(view);
}

/** Removes all messages, and keeps the draft in the composer for the next visit. */
export function closeMessages() {
  if (open) drafts.set(open.id, Object.fromEntries(new FormData(composer)));
  open = null;
  closeLog();
}

function showMessages({ messages }) {
  const { call, signal, onSeen } = open;
  openLog(messages, { call, signal, onSeen, onEdit: editMessage, onDelete: deleteMessage });
  showEmptiness();
}

function takeMessages(messages) {
  if (messages.length === 0) return;
  mergeMessages(messages);
  if (newestSeq() > 0) open.onNewMessage(newestMessage());
  showEmptiness();
}

function showEmptiness() {
  notice(conversationView, isLogEmpty() ? "No messages yet. Write the first one below." : "");
}

async function follow(view) {
  try {
    await view.follower.run();
  } catch (error) {
    const problem = asProblem(error);
    if (problem.status === 404) return showAsGone(view);
    showConnection("Stopped");
    notice(conversationView, problem.message, view.reload);
  }
}

/** What the page says about each state of a follower. */
const STATES = {
  [LIVE]: ["Live", "News arrives as it happens."],
  [POLLING]: ["Polling", "There is no live connection. The page asks for news from time to time."],
  [FAILING]: ["Reconnecting…", "The service does not respond."],
};

function showConnection(text, title = "") {
  const place = $("#connection");
  if (place.textContent === text) return; // Screen readers announce it each time it is set.
  place.textContent = text;
  place.title = title;
  place.dataset.state = { Live: "live", Polling: "polling" }[text] ?? "waiting";
}

/**
 * Shows that the conversation was deleted, or that the caller may not see it any more, which looks
 * the same. Its messages stay readable until the user leaves.
 */
function showAsGone(view) {
  const draft = composer.elements.text.value;
  const hadFocus = composer.contains(document.activeElement);
  setContentVisible(conversationView, false);
  $("#messages").hidden = $("#gone").hidden = false;
  $("#unposted").hidden = !draft.trim();
  $("#unposted-text").textContent = draft;
  freezeLog();
  if (hadFocus) focusLog();
  if (isLogEmpty()) notice(conversationView, "");
  const text = view.isPrivate
    ? "This conversation is gone. It was deleted, or you are no longer a member."
    : "This conversation was deleted.";
  $("#gone-text").textContent = text;
  showConnection(view.isPrivate ? "Gone" : "Deleted");
  announce(text);
  view.onGone();
}

// Posting

onSubmit(composer, async ({ text, metadata }, options) => {
  const { id, call, follower } = open;
  const body = { author_id: actingId(), text };
  if (metadata.trim()) body.metadata = parseMetadata(metadata);
  composer.elements.text.readOnly = true;
  try {
    const path = `/conversations/${id}/messages`;
    const { reward, ...message } = await call("POST", path, { body, ...options });
    drafts.delete(id);
    if (open?.id !== id) return;
    composer.reset();
    takeMessages([message, reward].filter(Boolean));
    scrollToEnd();
    // Others may have posted since the last poll: poll now, to get all messages in order.
    if (newestSeq() < message.seq) follower.pollNow();
  } catch (error) {
    if (error.status === 404) follower.pollNow(); // Finds out whether the conversation is gone.
    if (error.code === "not_a_member") open?.onNotAMember();
    if (open?.id === id) throw error;
    // The user has left the conversation, where the draft remains.
    announce(`A message was not posted: ${asProblem(error).message}`);
  } finally {
    composer.elements.text.readOnly = false;
  }
});

// Enter posts with a keyboard. On a touch screen it inserts a line break: there is no Shift+Enter.

const touch = matchMedia("(pointer: coarse)");

composer.elements.text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || touch.matches) return;
  // Enter also ends the composition of a character; Safari then reports only key code 229.
  if (event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  composer.requestSubmit();
});

/** Parses metadata from a form. Throws a `Problem` for its field if it is not JSON. */
function parseMetadata(text) {
  try {
    return parseJson(text);
  } catch (error) {
    throw Problem.invalid({ metadata: [`must be JSON: ${error.message}`] });
  }
}

// Editing and deleting

const pathOf = ({ conversation_id, seq }) => `/conversations/${conversation_id}/messages/${seq}`;

/** Shows a changed message, unless the user has left its conversation. */
function showMessage(message) {
  if (message.conversation_id === open?.id) mergeMessages([message]);
}

function editMessage(message) {
  openEditor($("#edit-message-dialog"), message, {
    call: open.call,
    path: pathOf(message),
    valuesOf: ({ text, metadata }) => ({ text, metadata: JSON.stringify(metadata, null, 2) }),
    toPatch: patchMessage,
    show: showMessage,
    onSaved: () => announce("Message saved"),
    getFocus: () => findEdit(message.seq),
  });
}

function deleteMessage(message) {
  openDeletion(message, {
    call: open.call,
    path: pathOf(message),
    titleOf: ({ seq }) => `Delete message #${seq}?`,
    quoteOf: ({ text }) => text,
    text: "Its place in the conversation stays, without the text. The author keeps the point.",
    show: showMessage,
    onDeleted() {
      if (message.conversation_id === open?.id) markDeleted(message);
      announce("Message deleted");
    },
    getFocus: () => $("#messages"),
  });
}

/** Returns the merge patch for the changed fields of a message. */
function patchMessage({ text, metadata }, message) {
  const patch = text === undefined ? {} : { text };
  if (metadata === undefined) return patch;
  const wanted = metadata.trim() ? parseMetadata(metadata) : {};
  const merge = isObject(wanted) ? createMergePatch(message.metadata, wanted) : wanted;
  const isEqual = isObject(merge) && Object.keys(merge).length === 0;
  return isEqual ? patch : { ...patch, metadata: merge };
}

/** Returns the merge patch (RFC 7396) that turns a JSON object into another one. */
function createMergePatch(before, after) {
  const patch = Object.create(null); // A member may be named `__proto__`.
  for (const name of Object.keys(before)) {
    if (!Object.hasOwn(after, name)) patch[name] = null;
  }
  for (const [name, value] of Object.entries(after)) {
    const known = Object.hasOwn(before, name) ? before[name] : undefined;
    if (JSON.stringify(value) === JSON.stringify(known)) continue;
    if (value === null) {
      const reason = `cannot set “${name}” to null, because null removes a member`;
      throw Problem.invalid({ metadata: [reason] });
    }
    if (!isObject(value)) patch[name] = value;
    else if (!isObject(known)) patch[name] = createMergePatch({}, value);
    else {
      const inner = createMergePatch(known, value);
      if (Object.keys(inner).length > 0) patch[name] = inner;
    }
  }
  return patch;
}

/** Returns whether a JSON value is an object. Numbers kept as written are not. */
const isObject = (value) =>
  value !== null && typeof value === "object" && !Array.isArray(value) && !JSON.isRawJSON?.(value);
