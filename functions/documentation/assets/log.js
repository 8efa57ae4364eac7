// The log of the open conversation: keeps its messages, shows them, and loads older ones.

import { mayActAs } from "./access.js";
import { fillAvatar, nameOf, updateProfiles } from "./profiles.js";
import { $, asProblem, clone, pluralize, time } from "./ui.js";

const GROUP_WINDOW = 5 * 60_000; // Messages by one author share a heading within this time.
const END_TOLERANCE = 80; // Within this many pixels of the end, the log follows new messages.

const list = $("#messages");
const scroller = $("#messages-scroll");
const loadOlder = $("#load-older");
const toNewest = $("#to-newest");

/**
 * State of the log, or null.
 *
 * - `messages`: all messages from seq `oldest` to seq `newest`, by seq
 * - `older`: path of the page below `oldest`, or null
 * - `aside`: changed messages below `oldest`, by seq, until their page is loaded
 * - `call`, `signal`: send requests, and end them
 * - `onEdit(message)`, `onDelete(message)`: called when the user clicks these buttons
 * - `onSeen(seq)`: called when the user has seen the messages up to this one
 */
let log = null;

/** Whether the caller moderates the conversation. */
let moderates = false;

/** Shows the newest page of a conversation. */
export function openLog({ results, next }, options) {
  const newest = results[0]?.seq ?? 0;
  const oldest = results.at(-1)?.seq ?? 1;
  const messages = new Map(results.map((message) => [message.seq, message]));
  log = { messages, newest, oldest, older: next, aside: new Map(), ...options };
  withoutAnnouncing(() => list.replaceChildren(...createElements(results.toReversed())));
  updateGroups(list.children);
  updateProfiles(...results.map((message) => message.author));
  watchForOlder();
  scrollToEnd();
}

export function closeLog() {
  log = null;
  moderates = false;
  loadOlder.hidden = toNewest.hidden = true;
  list.replaceChildren();
}

/** Stops loading older messages: the conversation was deleted. */
export function freezeLog() {
  log.older = null;
  watchForOlder();
}

export const newestSeq = () => log.newest;
export const newestMessage = () => log.messages.get(log.newest);
export const isLogEmpty = () => !list.hasChildNodes();
export const focusLog = () => list.focus({ preventScroll: true });
export const findEdit = (seq) => $(`[data-seq="${seq}"] [data-action="edit"]`, list);

const findElement = (seq) => $(`[data-seq="${seq}"]`, list);

/**
 * Takes messages in order of `seq`, and keeps for each `seq` the one with the higher `change`.
 * Skips messages after a gap; a later poll returns them again. So the log misses and repeats
 * nothing.
 */
export function mergeMessages(messages) {
  const added = [];
  for (const message of messages) {
    const { seq } = message;
    if (seq < log.oldest) {
      keepNewer(log.aside, message);
    } else if (seq <= log.newest) {
      if (keepNewer(log.messages, message)) replaceElement(message);
    } else if (seq === log.newest + 1) {
      log.newest = seq;
      log.messages.set(seq, message);
      added.push(message);
    }
  }
  if (added.length > 0) append(added);
  updateProfiles(...messages.map((message) => message.author));
}

/** Returns whether some of these messages show what the log does not show yet. */
export function hasNews(messages) {
  return messages.some(({ seq, change }) => {
    const known = log.messages.get(seq);
    return !known || (change > known.change && !known.deleted_at);
  });
}

/** Puts a message in the map, unless the one there is as new. Returns whether it did. */
function keepNewer(map, message) {
  if (map.get(message.seq)?.change >= message.change) return false;
  map.set(message.seq, message);
  return true;
}

/** Shows a message as deleted until a poll returns it. */
export function markDeleted({ seq }) {
  const message = log?.messages.get(seq);
  if (!message || message.deleted_at) return;
  const deleted = { ...message, text: "", metadata: {}, deleted_at: new Date().toISOString() };
  log.messages.set(seq, deleted);
  replaceElement(deleted);
}

// Elements

/** Creates elements. A void, which is a place without a message, gets none. */
const createElements = (messages) =>
  messages.filter(({ type }) => type !== "void").map(createElement);

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
  $('[data-action="edit"]', element)?.addEventListener("click", () => log.onEdit(message));
  $('[data-action="delete"]', element)?.addEventListener("click", () => log.onDelete(message));
  showTools(element);
}

/** Shows the buttons of a message for what the caller may do. */
function showTools(element) {
  const isOwn = mayActAs(element.dataset.author);
  for (const button of element.querySelectorAll(".tools button")) {
    button.hidden = !isOwn && !(button.dataset.action === "delete" && moderates);
  }
}

/** Shows the buttons of all messages again. `value` says whether the caller moderates. */
export function updateTools(value) {
  moderates = value;
  for (const element of list.children) showTools(element);
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

function append(messages) {
  const follow = isAtEnd();
  const elements = createElements(messages);
  for (const element of elements) element.classList.add("new");
  list.append(...elements);
  updateGroups(elements);
  if (follow) scrollToEnd();
  else toNewest.hidden &&= elements.length === 0;
}

/** Replaces the element of a changed message. The user keeps the place, the focus and the view. */
function replaceElement(message) {
  const element = findElement(message.seq);
  if (!element) return;
  const focused = element.contains(document.activeElement) && document.activeElement;
  const { bottom, height } = element.getBoundingClientRect();
  const isAbove = bottom <= scroller.getBoundingClientRect().top;
  const follow = isAtEnd();
  const replacement = createElement(message);
  $("details", replacement).open = $("details", element).open;
  withoutAnnouncing(() => element.replaceWith(replacement));
  updateGroups([replacement]);
  if (follow) scrollToEnd();
  else if (isAbove) scroller.scrollTop += replacement.getBoundingClientRect().height - height;
  if (!focused) return;
  const button = $(`[data-action="${focused.dataset.action}"]`, replacement);
  (button ?? list).focus({ preventScroll: true });
}

/** Changes the log without announcing it to screen readers: only new messages are news. */
function withoutAnnouncing(change) {
  list.ariaLive = "off";
  change();
  requestAnimationFrame(() => (list.ariaLive = "polite"));
}

// Scrolling

const isAtEnd = () =>
  scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < END_TOLERANCE;

export function scrollToEnd() {
  scroller.scrollTop = scroller.scrollHeight;
  toNewest.hidden = true;
  reportSeen();
}

/** Reports that the user has seen all messages, if the end of the log is visible. */
export function reportSeen() {
  if (log && !document.hidden && isAtEnd()) log.onSeen(log.newest);
}

document.addEventListener("visibilitychange", reportSeen);

toNewest.addEventListener("click", scrollToEnd);

let staysAtEnd = true;

scroller.addEventListener("scroll", () => {
  staysAtEnd = isAtEnd();
  if (!staysAtEnd) return;
  toNewest.hidden = true;
  reportSeen();
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
  const losesFocus = !log.older && document.activeElement === loadOlder;
  if (losesFocus) focusLog();
  loadOlder.hidden = !log.older;
  if (log.older) nearTop.observe(loadOlder);
}

async function prependOlder() {
  const current = log;
  if (!current?.older || loadOlder.ariaBusy === "true") return;
  loadOlder.ariaBusy = "true";
  loadOlder.textContent = "Loading earlier messages…";
  try {
    const page = await current.call("GET", current.older, { signal: current.signal });
    if (current !== log) return;
    log.older = page.next;
    log.oldest = page.results.at(-1)?.seq ?? log.oldest;
    const elements = createElements(page.results.map(mergeAside).toReversed());
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    withoutAnnouncing(() => list.prepend(...elements));
    updateGroups(list.children);
    watchForOlder();
    scroller.scrollTop = scroller.scrollHeight - fromEnd;
  } catch (error) {
    if (current !== log) return;
    // Stop observing: a page that fails must not be requested in a loop.
    nearTop.disconnect();
    loadOlder.textContent = `${asProblem(error).message} Try again`;
  } finally {
    loadOlder.ariaBusy = null;
  }
}

/** Returns the newer one of this message and the one that was kept aside, and keeps it. */
function mergeAside(message) {
  log.messages.set(message.seq, message);
  const changed = log.aside.get(message.seq);
  if (changed) keepNewer(log.messages, changed);
  log.aside.delete(message.seq);
  return log.messages.get(message.seq);
}

loadOlder.addEventListener("click", prependOlder);
