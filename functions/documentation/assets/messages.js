// Messages of the open conversation: the log, older pages, polling, posting, editing, deleting.

import { Problem, parseJson } from "./api.js";
import { actingId, fillAvatar, nameOf, updateProfiles } from "./profiles.js";
import {
  $, announce, asProblem, clearProblem, clone, confirmDelete, notice, onSubmit, openDialog,
  pluralize, setContentVisible, time,
} from "./ui.js";

const POLL_INTERVAL = 2000;
const MAX_POLL_INTERVAL = 15_000;
const GROUP_WINDOW = 5 * 60_000; // Messages by one author share a heading within this time.
const END_TOLERANCE = 80; // Within this many pixels of the end, the log follows new messages.

export const conversationView = $("#conversation-view");
const log = $("#messages");
const scroller = $("#messages-scroll");
const loadOlder = $("#load-older");
const toNewest = $("#to-newest");
const composer = $("#composer");

/**
 * State of the open conversation, or null.
 *
 * - `newest`: seq of the newest message in the log, which has no gaps
 * - `older`: path of the page before the first message in the log, or null
 * - `nextPoll`: time of the next poll
 */
let open = null;

const drafts = new Map(); // Composer contents of conversations that were left, by id.

/** Shows the newest page and starts polling, until `signal` is aborted. */
export function openMessages({ id, signal, call, page, reload, onNewSeq }) {
  const { results, next } = page;
  const newest = results[0]?.seq ?? 0;
  const nextPoll = Date.now() + POLL_INTERVAL;
  open = { id, signal, call, reload, onNewSeq, newest, older: next, nextPoll };
  notice(conversationView, newest === 0 ? "No messages yet. Write the first one below." : "");
  withoutAnnouncing(() => log.replaceChildren(...results.toReversed().map(createElement)));
  updateGroups(log.children);
  updateProfiles(...results.map((message) => message.author));
  clearProblem(composer);
  for (const name of ["text", "metadata"]) {
    composer.elements[name].value = drafts.get(id)?.[name] ?? "";
  }
  setContentVisible(conversationView, true);
  watchForOlder();
  scrollToEnd();
  poll(open);
}

/** Removes all messages, and keeps the draft in the composer for the next visit. */
export function closeMessages() {
  if (open) drafts.set(open.id, Object.fromEntries(new FormData(composer)));
  open = null;
  loadOlder.hidden = toNewest.hidden = true;
  log.replaceChildren();
}

// The log

const isAtEnd = () =>
  scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < END_TOLERANCE;

function scrollToEnd() {
  scroller.scrollTop = scroller.scrollHeight;
  toNewest.hidden = true;
}

/** Changes the log without announcing it to screen readers: older messages are not news. */
function withoutAnnouncing(change) {
  log.ariaLive = "off";
  change();
  requestAnimationFrame(() => (log.ariaLive = "polite"));
}

function createElement(message) {
  return message.type === "action" ? createCongratulation(message) : createMessage(message);
}

function createCongratulation(message) {
  const element = clone("congratulation");
  element.dataset.seq = message.seq;
  $(".text", element).textContent = message.text;
  $(".meta", element).append(time(message.created_at));
  return element;
}

function createMessage(message) {
  const element = clone("message");
  Object.assign(element.dataset, {
    seq: message.seq,
    author: message.author_id,
    createdAt: Date.parse(message.created_at),
  });
  $(".text", element).textContent = message.text;
  fillAvatar($(".avatar", element), message.author);
  $(".name", element).textContent = nameOf(message.author);
  const points = pluralize(message.points, "point");
  $("header .meta", element).append(`${points} · `, time(message.created_at));
  $(".tools .meta", element).append(`#${message.seq}`, time(message.created_at));
  const change = $(".change", element);
  if (message.deleted_at) {
    element.classList.add("deleted");
    $(".text", element).remove();
    change.append("This message was deleted ", time(message.deleted_at));
  } else if (message.edited_at) {
    change.append("Edited ", time(message.edited_at));
  }
  change.hidden = !change.hasChildNodes();
  if (Object.keys(message.metadata).length > 0) {
    $(".metadata", element).hidden = false;
    $(".metadata pre", element).textContent = JSON.stringify(message.metadata, null, 2);
  }
  addTools(element, message);
  return element;
}

function addTools(element, message) {
  for (const button of element.querySelectorAll(".tools button")) {
    if (message.deleted_at) button.remove();
    else button.ariaLabel = `${button.textContent} message ${message.seq}`;
  }
  $('[data-action="edit"]', element)?.addEventListener("click", () => editMessage(message));
  $('[data-action="delete"]', element)?.addEventListener("click", () => deleteMessage(message));
}

/** Hides the headings of messages that follow another one of the same author. */
function updateGroups(elements) {
  for (const element of elements) {
    const { author, createdAt } = element.dataset;
    const previous = element.previousElementSibling?.dataset;
    const isContinued = author && author === previous?.author;
    const isSoon = createdAt - previous?.createdAt < GROUP_WINDOW;
    element.classList.toggle("continued", Boolean(isContinued && isSoon));
  }
}

/**
 * Appends messages that directly follow the newest one. Skips known messages and messages after a
 * gap; the next poll returns the latter again. So the log misses and repeats nothing.
 */
function appendMessages(messages) {
  const added = [];
  for (const message of messages) {
    if (message.seq !== open.newest + 1) continue;
    open.newest = message.seq;
    added.push(message);
  }
  if (added.length === 0) return;
  const follow = isAtEnd();
  const elements = added.map(createElement);
  for (const element of elements) element.classList.add("new");
  notice(conversationView, "");
  log.append(...elements);
  updateGroups(elements);
  updateProfiles(...added.map((message) => message.author));
  open.onNewSeq(open.newest);
  if (follow) scrollToEnd();
  else toNewest.hidden = false;
}

toNewest.addEventListener("click", scrollToEnd);

let staysAtEnd = true;

scroller.addEventListener("scroll", () => {
  staysAtEnd = isAtEnd();
  if (staysAtEnd) toNewest.hidden = true;
}, { passive: true });

// The composer and an on-screen keyboard take height from the log while the user writes.
new ResizeObserver(() => staysAtEnd && scrollToEnd()).observe(scroller);

// Older messages load when the user scrolls near the top, or with the button.

const nearTop = new IntersectionObserver(([entry]) => {
  if (entry.isIntersecting) prependOlder();
}, { root: scroller, rootMargin: "600px 0px 0px" });

/** Shows the button if there is an older page, and observes it. Observing again reports at once. */
function watchForOlder() {
  nearTop.disconnect();
  loadOlder.textContent = "Load earlier messages";
  const losesFocus = !open.older && document.activeElement === loadOlder;
  if (losesFocus) log.focus({ preventScroll: true });
  loadOlder.hidden = !open.older;
  if (open.older) nearTop.observe(loadOlder);
}

async function prependOlder() {
  const view = open;
  if (!view?.older || loadOlder.ariaBusy === "true") return;
  loadOlder.ariaBusy = "true";
  loadOlder.textContent = "Loading earlier messages…";
  try {
    const page = await view.call("GET", view.older, { signal: view.signal });
    if (view !== open) return;
    view.older = page.next;
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    withoutAnnouncing(() => log.prepend(...page.results.toReversed().map(createElement)));
    updateGroups(log.children);
    watchForOlder();
    scroller.scrollTop = scroller.scrollHeight - fromEnd;
  } catch (error) {
    if (view.signal.aborted) return;
    // Stop observing: a page that fails must not be requested in a loop.
    nearTop.disconnect();
    loadOlder.textContent = `${asProblem(error).message} Try again`;
  } finally {
    loadOlder.ariaBusy = null;
  }
}

loadOlder.addEventListener("click", prependOlder);

// New messages: polling, while the tab is visible

let wake = () => {};

/** Waits until the next poll is due and the tab is visible. `wake` makes it check again. */
async function untilNextPoll(view) {
  while (!view.signal.aborted && (document.hidden || Date.now() < view.nextPoll)) {
    await new Promise((resolve) => {
      wake = resolve;
      if (!document.hidden) setTimeout(resolve, view.nextPoll - Date.now());
    });
  }
}

document.addEventListener("visibilitychange", () => wake());

async function poll(view) {
  const showIf = (page) => page.results.length > 0;
  showConnection("Live");
  for (let failures = 0; ; ) {
    await untilNextPoll(view);
    if (view.signal.aborted) return;
    try {
      let next = `/conversations/${view.id}/messages?after=${view.newest}`;
      while (next) {
        const page = await view.call("GET", next, { signal: view.signal, attempts: 1, showIf });
        appendMessages(page.results);
        next = page.next;
      }
      failures = 0;
      view.nextPoll = Date.now() + POLL_INTERVAL;
      showConnection("Live");
    } catch (error) {
      if (view.signal.aborted) return;
      const problem = asProblem(error);
      if (!problem.isTransient) {
        showConnection("Stopped");
        return notice(conversationView, problem.message, view.reload);
      }
      failures += 1;
      view.nextPoll = Date.now() + problem.delay(failures, POLL_INTERVAL, MAX_POLL_INTERVAL);
      showConnection("Reconnecting…");
    }
  }
}

function showConnection(state) {
  const place = $("#connection");
  if (place.textContent === state) return; // Screen readers announce it each time it is set.
  place.textContent = state;
  place.dataset.state = state === "Live" ? "live" : "waiting";
}

// Posting, editing, deleting

onSubmit(composer, async ({ text, metadata }, options) => {
  const { id, call } = open;
  const body = { author_id: actingId(), text };
  if (metadata.trim()) body.metadata = parseMetadata(metadata);
  composer.elements.text.readOnly = true;
  try {
    const path = `/conversations/${id}/messages`;
    const { reward, ...message } = await call("POST", path, { body, ...options });
    drafts.delete(id);
    if (open?.id !== id) return;
    composer.reset();
    appendMessages([message, reward].filter(Boolean));
    scrollToEnd();
    if (open.newest < message.seq) {
      // Others have posted since the last poll: poll now, to get all messages in order.
      open.nextPoll = 0;
      wake();
    }
  } catch (error) {
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

const pathOf = ({ conversation_id, seq }) => `/conversations/${conversation_id}/messages/${seq}`;

function editMessage(message) {
  const { call } = open;
  const values = { text: message.text, metadata: JSON.stringify(message.metadata, null, 2) };
  const getFocus = () => $(`[data-seq="${message.seq}"] [data-action="edit"]`, log);
  openDialog($("#edit-message-dialog"), values, async (body, options) => {
    if ("metadata" in body) {
      body.metadata = body.metadata.trim() ? parseMetadata(body.metadata) : null;
    }
    replaceMessage(await call("PATCH", pathOf(message), { body, ...options }));
    announce("Message saved");
  }, getFocus);
}

function deleteMessage(message) {
  const { call } = open;
  const text = "Its place in the conversation stays, without the text. The author keeps the point.";
  confirmDelete(`Delete message #${message.seq}?`, text, async (_, options) => {
    await call("DELETE", pathOf(message), options);
    replaceMessage({ ...message, text: "", metadata: {}, deleted_at: new Date().toISOString() });
    announce("Message deleted");
  }, () => log);
}

function replaceMessage(message) {
  const element = $(`[data-seq="${message.seq}"]`, log);
  if (message.conversation_id !== open?.id || !element) return;
  const replacement = createElement(message);
  element.replaceWith(replacement);
  updateGroups([replacement]);
}
