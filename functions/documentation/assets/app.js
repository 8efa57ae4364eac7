// The page itself: routes, profiles, conversations, and the messages of the conversation that is open.
// It talks to the API by ./api.js and is put together from ./ui.js.

import { Problem, parseJson, token } from "./api.js";
import {
  $, PagedList, announce, avatar, clearProblem, clone, confirmDelete, counted, notice, onSubmit, openDialog, readable, requester,
  time, waiting,
} from "./ui.js";

const POLL = 2000;
const LONGEST_POLL = 15_000;
const GROUPED = 5 * 60_000; // Messages of one author this close together share one heading.
const NEAR = 80; // Pixels from the end that still count as being there.

const nameOf = (profile) => profile?.full_name ?? "Deleted profile";

// Profiles

const ACTING = "acting-as";
const acting = $("#acting-as");
const profileView = $("#profile-view");
const callForProfile = requester(profileView);
let shownProfile = null;

const profiles = new PagedList($("#profiles-panel"), "/profiles", {
  template: "profile-row",
  empty: "No profiles yet. Create the first one below.",
  fillRow(row, profile) {
    avatar($(".avatar", row), profile);
    $(".name", row).textContent = profile.full_name;
    $(".meta", row).textContent = profile.job_title;
    $(".count", row).textContent = counted(profile.points, "point");
  },
  onChange: listActing,
});

/** Takes over the newer state of profiles, wherever they are shown. */
function learn(...seen) {
  const latest = new Map(seen.filter(Boolean).map((profile) => [profile.id, profile]));
  for (const profile of latest.values()) {
    profiles.update(profile);
    if (profile.id === shownProfile?.id) showProfile(profile);
  }
}

/** Keeps the choice of whom to act as in step with the list. The chosen profile is on it even where the list does not reach. */
function listActing() {
  const chosen = JSON.parse(localStorage.getItem(ACTING));
  const choices = new Map(chosen ? [[chosen.id, chosen], ...profiles.items] : [["", { full_name: "Nobody yet" }], ...profiles.items]);
  const options = [...choices].map(([id, { full_name, job_title }]) => new Option([full_name, job_title].filter(Boolean).join(", "), id));
  const labels = (list) => Array.from(list, ({ value, text }) => `${value} ${text}`).join("\n");
  if (labels(options) !== labels(acting.options)) acting.replaceChildren(...options); // It may be open just now.
  acting.value = chosen?.id ?? "";
}

function actAs(profile) {
  if (profile) localStorage.setItem(ACTING, JSON.stringify(profile));
  else localStorage.removeItem(ACTING);
  listActing();
}

acting.addEventListener("change", () => actAs(profiles.items.get(acting.value)));

/** Whose name goes on what is posted; a problem beside the form when nobody is chosen. */
function author() {
  if (acting.value) return acting.value;
  throw new Problem(422, "", { errors: { author_id: ["create a profile, or choose whom to act as at the top of the page"] } });
}

const present = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));

onSubmit($("#new-profile"), async (values, options) => {
  const profile = await profiles.call("POST", "/profiles", { body: present(values), ...options });
  $("#new-profile").reset();
  profiles.add(profile);
  if (!acting.value) actAs(profile);
  announce(`Profile ${profile.full_name} created`);
});

async function openProfile(id, signal) {
  const profile = await callForProfile("GET", `/profiles/${id}`, { signal, ...waiting(profileView) });
  notice(profileView, "");
  showProfile(profile);
}

function showProfile(profile) {
  shownProfile = profile;
  const past = profile.points % 10;
  title(profile.full_name);
  $("#profile-title").textContent = profile.full_name;
  $("#profile-job").textContent = profile.job_title || "No job title";
  avatar($(".avatar", profileView), profile);
  $("#profile-points").textContent = profile.points.toLocaleString("en");
  $("#profile-points-unit").textContent = profile.points === 1 ? "point" : "points";
  $("#profile-progress").value = past;
  $("#profile-next").textContent = `${10 - past} more to the next congratulation`;
  $("#profile-id").textContent = profile.id;
  $("#profile-created").replaceChildren(time(profile.created_at));
  $("#profile-admin").textContent = profile.is_admin ? "Yes" : "No";
  shown(profileView, true);
}

$("#profile-act").addEventListener("click", () => {
  actAs(shownProfile);
  announce(`Acting as ${shownProfile.full_name}`);
});

$("#profile-edit").addEventListener("click", () => {
  const { id, first_name, last_name, job_title } = shownProfile;
  openDialog($("#edit-profile-dialog"), { first_name, last_name, job_title }, async (body, options) => {
    learn(await callForProfile("PATCH", `/profiles/${id}`, { body, ...options }));
    announce("Profile saved");
  });
});

$("#profile-delete").addEventListener("click", () => {
  const { id, full_name } = shownProfile;
  const text = "The messages of this profile stay, without a name. This cannot be undone.";
  confirmDelete(`Delete ${full_name}?`, text, async (_, options) => {
    await remove(callForProfile, `/profiles/${id}`, options);
    shownProfile = null;
    if (acting.value === id) actAs(null);
    profiles.remove(id);
    location.hash = "#/profiles";
    announce("Profile deleted");
  });
});

/** Deletes; what is not there any more, also because a lost request was repeated, is as good as deleted. */
async function remove(call, path, options) {
  try {
    await call("DELETE", path, options);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

// Conversations

const conversationView = $("#conversation-view");
const callForConversation = requester(conversationView);

const conversations = new PagedList($("#conversations-panel"), "/conversations", {
  template: "conversation-row",
  empty: "No conversations yet. Open the first one below.",
  fillRow(row, conversation) {
    $(".name", row).textContent = conversation.subject;
    $(".meta", row).replaceChildren(isolated(nameOf(conversation.author)), " · ", time(conversation.created_at));
    $(".count", row).textContent = conversation.last_seq.toLocaleString("en");
    $(".count", row).title = counted(conversation.last_seq, "message");
  },
});

function isolated(text) {
  const element = document.createElement("bdi");
  element.textContent = text;
  return element;
}

onSubmit($("#new-conversation"), async ({ subject }, options) => {
  const body = { subject, author_id: author() };
  const conversation = await conversations.call("POST", "/conversations", { body, ...options });
  $("#new-conversation").reset();
  conversations.add(conversation);
  location.hash = `#/conversations/${conversation.id}`;
  announce("Conversation opened");
});

/** The conversation on the page: `newest` is the greatest seq of an unbroken run, `older` the page before what is shown. */
let open = null;

const unsent = new Map(); // What stood in the composer of conversations that were left, by id.

async function openConversation(id, signal) {
  const conversation = await callForConversation("GET", `/conversations/${id}`, { signal, ...waiting(conversationView) });
  const { results, next } = conversation.messages;
  open = { id, signal, conversation, newest: results[0]?.seq ?? 0, older: next, due: Date.now() + POLL };
  showConversation(conversation);
  notice(conversationView, results.length === 0 ? "No messages yet. Write the first one below." : "");
  quietly(() => log.replaceChildren(...results.toReversed().map(article)));
  regroup(log.children);
  learn(...results.map((message) => message.author));
  clearProblem(composer);
  for (const name of ["text", "metadata"]) composer.elements[name].value = unsent.get(id)?.[name] ?? "";
  shown(conversationView, true);
  watchForOlder();
  toEnd();
  poll(open);
}

function showConversation(conversation) {
  if (open?.id !== conversation.id) return;
  open.conversation = conversation;
  title(conversation.subject);
  $("#conversation-title").textContent = conversation.subject;
  const by = isolated(nameOf(conversation.author));
  $("#conversation-meta").replaceChildren("opened by ", by, " ", time(conversation.created_at));
  conversations.update(conversation);
}

$("#conversation-edit").addEventListener("click", () => {
  const { id, conversation } = open;
  openDialog($("#edit-conversation-dialog"), { subject: conversation.subject }, async (body, options) => {
    showConversation(await callForConversation("PATCH", `/conversations/${id}`, { body, ...options }));
    announce("Conversation renamed");
  });
});

$("#conversation-delete").addEventListener("click", () => {
  const { id, conversation } = open;
  const text = "All its messages go with it. This cannot be undone.";
  confirmDelete(`Delete “${conversation.subject}”?`, text, async (_, options) => {
    await remove(callForConversation, `/conversations/${id}`, options);
    conversations.remove(id);
    location.hash = "#/conversations";
    announce("Conversation deleted");
  });
});

// Messages

const log = $("#messages");
const scroller = $("#messages-scroll");
const loadOlder = $("#load-older");
const toNewest = $("#to-newest");
const composer = $("#composer");

const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
  toNewest.hidden = true;
}

/** Changes the log without having it read out: history is no news. */
function quietly(change) {
  log.ariaLive = "off";
  change();
  requestAnimationFrame(() => (log.ariaLive = "polite"));
}

function article(message) {
  const element = clone(message.type === "action" ? "congratulation" : "message");
  element.dataset.seq = message.seq;
  $(".text", element).textContent = message.text;
  if (message.type === "action") {
    $(".meta", element).append(time(message.created_at));
    return element;
  }
  element.dataset.by = message.author_id;
  element.dataset.at = Date.parse(message.created_at);
  avatar($(".avatar", element), message.author);
  $(".name", element).textContent = nameOf(message.author);
  $("header .meta", element).append(`${counted(message.points, "point")} · `, time(message.created_at));
  $(".tools .meta", element).append(`#${message.seq}`, time(message.created_at));
  const mark = $(".mark", element);
  if (message.deleted_at) {
    element.classList.add("deleted");
    $(".text", element).remove();
    mark.append("This message was deleted ", time(message.deleted_at));
  } else if (message.edited_at) {
    mark.append("Edited ", time(message.edited_at));
  }
  mark.hidden = !mark.hasChildNodes();
  if (Object.keys(message.metadata).length > 0) {
    $(".metadata", element).hidden = false;
    $(".metadata pre", element).textContent = JSON.stringify(message.metadata, null, 2);
  }
  for (const button of element.querySelectorAll(".tools button")) {
    if (message.deleted_at) button.remove();
    else button.ariaLabel = `${button.textContent} message ${message.seq}`;
  }
  $('[data-action="edit"]', element)?.addEventListener("click", () => edit(message));
  $('[data-action="delete"]', element)?.addEventListener("click", () => erase(message));
  return element;
}

/** Hides the heading of messages that go on from the one before. */
function regroup(elements) {
  for (const element of elements) {
    const { by, at } = element.dataset;
    const before = element.previousElementSibling?.dataset;
    element.classList.toggle("continued", Boolean(by) && by === before?.by && at - before.at < GROUPED);
  }
}

/**
 * Appends messages that continue the run. What was there already is skipped, and what stands beyond a gap is left to the next
 * poll, which asks for everything after `newest`: so nothing is missing and nothing comes twice.
 */
function absorb(messages) {
  const fresh = [];
  for (const message of messages) {
    if (message.seq !== open.newest + 1) continue;
    open.newest = message.seq;
    fresh.push(message);
  }
  if (fresh.length === 0) return;
  const follow = isAtEnd();
  const elements = fresh.map(article);
  for (const element of elements) element.classList.add("fresh");
  notice(conversationView, "");
  log.append(...elements);
  regroup(elements);
  learn(...fresh.map((message) => message.author));
  conversations.update({ ...open.conversation, last_seq: open.newest });
  if (follow) toEnd();
  else toNewest.hidden = false;
}

toNewest.addEventListener("click", toEnd);
scroller.addEventListener("scroll", () => {
  if (isAtEnd()) toNewest.hidden = true;
}, { passive: true });

// Older messages come when one scrolls near the top; the button is for everyone who does not scroll.

const nearTop = new IntersectionObserver(([entry]) => {
  if (entry.isIntersecting) prependOlder();
}, { root: scroller, rootMargin: "600px 0px 0px" });

/** Shows the way back while there is one. Observing anew reports at once, so that short pages are followed by the next. */
function watchForOlder() {
  nearTop.disconnect();
  loadOlder.textContent = "Load earlier messages";
  if (!open.older && document.activeElement === loadOlder) log.focus({ preventScroll: true });
  loadOlder.hidden = !open.older;
  if (open.older) nearTop.observe(loadOlder);
}

async function prependOlder() {
  const view = open;
  if (!view?.older || loadOlder.ariaBusy === "true") return;
  loadOlder.ariaBusy = "true";
  loadOlder.textContent = "Loading earlier messages…";
  try {
    const page = await callForConversation("GET", view.older, { signal: view.signal });
    if (view !== open) return;
    view.older = page.next;
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    quietly(() => log.prepend(...page.results.toReversed().map(article)));
    regroup(log.children);
    watchForOlder();
    scroller.scrollTop = scroller.scrollHeight - fromEnd;
  } catch (error) {
    if (view.signal.aborted) return;
    // Not watched until someone asks: a failing page must not be fetched in a loop.
    nearTop.disconnect();
    loadOlder.textContent = `${readable(error).message} Try again`;
  } finally {
    loadOlder.ariaBusy = null;
  }
}

loadOlder.addEventListener("click", prependOlder);

// New messages come by polling, while someone looks.

let wake = () => {};

/** Waits until the next poll is due and the tab is visible; `wake` has it look again. */
async function due(view) {
  while (!view.signal.aborted && (document.hidden || Date.now() < view.due)) {
    await new Promise((resolve) => {
      wake = resolve;
      if (!document.hidden) setTimeout(resolve, view.due - Date.now());
    });
  }
}

document.addEventListener("visibilitychange", () => wake());

const bringsSomething = (page) => page.results.length > 0;

async function poll(view) {
  connection("Live");
  for (let failures = 0; ; ) {
    await due(view);
    if (view.signal.aborted) return;
    try {
      let next = `/conversations/${view.id}/messages?after=${view.newest}`;
      while (next) {
        const page = await callForConversation("GET", next, { signal: view.signal, attempts: 1, shownIf: bringsSomething });
        absorb(page.results);
        next = page.next;
      }
      failures = 0;
      view.due = Date.now() + POLL;
      connection("Live");
    } catch (error) {
      if (view.signal.aborted) return;
      const problem = readable(error);
      if (!problem.isTransient) {
        connection("Stopped");
        return notice(conversationView, problem.message, route);
      }
      failures += 1;
      view.due = Date.now() + problem.delay(failures, POLL, LONGEST_POLL);
      connection("Reconnecting…");
    }
  }
}

function connection(state) {
  const place = $("#connection");
  if (place.textContent === state) return; // A status is read out whenever it is set.
  place.textContent = state;
  place.dataset.state = state === "Live" ? "live" : "waiting";
}

// Posting, editing, deleting

onSubmit(composer, async ({ text, metadata }, options) => {
  const { id } = open;
  const body = { author_id: author(), text };
  if (metadata.trim()) body.metadata = typedJson(metadata);
  composer.elements.text.readOnly = true;
  try {
    const { reward, ...message } = await callForConversation("POST", `/conversations/${id}/messages`, { body, ...options });
    unsent.delete(id);
    if (open?.id !== id) return;
    composer.reset();
    absorb([message, reward].filter(Boolean));
    toEnd();
    if (open.newest < message.seq) {
      // Others have posted meanwhile; a poll brings all of it in order.
      open.due = 0;
      wake();
    }
  } catch (error) {
    if (open?.id === id) throw error;
    announce(`A message was not posted: ${readable(error).message}`); // Its draft waits in its conversation.
  } finally {
    composer.elements.text.readOnly = false;
  }
});

composer.elements.text.addEventListener("keydown", (event) => {
  // Enter that ends the input of a composed character posts nothing; Safari tells it by key code 229 alone.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  composer.requestSubmit();
});

/** Metadata as a person typed it; a problem beside the field when it is not JSON. */
function typedJson(text) {
  try {
    return parseJson(text);
  } catch (error) {
    throw new Problem(422, "", { errors: { metadata: [`is not JSON: ${error.message}`] } });
  }
}

function edit(message) {
  const metadata = JSON.stringify(message.metadata, null, 2);
  openDialog($("#edit-message-dialog"), { text: message.text, metadata }, async (body, options) => {
    if ("metadata" in body) body.metadata = body.metadata.trim() ? typedJson(body.metadata) : null;
    replace(await callForConversation("PATCH", pathOf(message), { body, ...options }));
    announce("Message saved");
  }, () => $(`[data-seq="${message.seq}"] [data-action="edit"]`, log));
}

function erase(message) {
  const text = "It keeps its place in the conversation, emptied. The point stays.";
  confirmDelete(`Delete message #${message.seq}?`, text, async (_, options) => {
    await callForConversation("DELETE", pathOf(message), options);
    replace({ ...message, text: "", metadata: {}, deleted_at: new Date().toISOString() });
    announce("Message deleted");
  }, () => log);
}

const pathOf = ({ conversation_id, seq }) => `/conversations/${conversation_id}/messages/${seq}`;

function replace(message) {
  const old = $(`[data-seq="${message.seq}"]`, log);
  if (message.conversation_id !== open?.id || !old) return;
  const element = article(message);
  old.replaceWith(element);
  regroup([element]);
}

// Routes

let visit = new AbortController();

function title(text) {
  document.title = text ? `${text} · Chat` : "Chat";
}

/** Shows or hides what a view has only once its resource is there. */
function shown(view, isShown) {
  const parts = view === profileView ? [$("#profile-card"), $("#profile-view .actions")] : [log, composer, $("#conversation-view .actions")];
  for (const part of parts) part.hidden = !isShown;
}

/** Brings the page to what the address says. A view that is left takes its requests with it. */
async function route() {
  const [, list = "conversations", id] = location.hash.match(/^#\/(conversations|profiles)(?:\/([\w-]+))?$/) ?? [];
  const view = id && { conversations: conversationView, profiles: profileView }[list];
  visit.abort();
  visit = new AbortController();
  const { signal } = visit;
  if (open) unsent.set(open.id, Object.fromEntries(new FormData(composer)));
  open = shownProfile = null;
  $("dialog[open]")?.close();
  document.body.dataset.route = view ? list.slice(0, -1) : list;
  for (const section of $("#main").children) section.hidden = section !== (view || $("#welcome"));
  for (const link of document.querySelectorAll(".tabs a")) link.ariaCurrent = link.hash === `#/${list}` ? "true" : null;
  conversations.mark(id);
  profiles.mark(id);
  title(view ? "" : $(`#${list}-title`).textContent);
  if (!view) return;
  shown(view, false);
  for (const place of view.querySelectorAll("h2, header .meta > *, #profile-job")) place.textContent = "";
  loadOlder.hidden = toNewest.hidden = true;
  log.replaceChildren();
  notice(view, "Loading…");
  try {
    await (view === profileView ? openProfile : openConversation)(id, signal);
  } catch (error) {
    if (signal.aborted) return;
    const { message } = readable(error);
    $("h2", view).textContent = "Not available";
    title("Not available");
    notice(view, message, route);
  }
}

addEventListener("hashchange", async () => {
  const before = document.activeElement;
  await route();
  // As after following any link, what is read next is the new view; but whoever has moved on meanwhile is left alone.
  if ([before, document.body].includes(document.activeElement)) $(`#${document.body.dataset.route}-title`).focus();
});

$(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // Its hash is no route.
  $("#main").focus();
});

// The access token

onSubmit($("#token-form"), ({ token: pasted }) => {
  const bare = pasted.trim().replace(/^Bearer\s+/i, "");
  if (!/^[\x21-\x7e]*$/.test(bare)) throw new Problem(422, "", { errors: { token: ["has characters that no token has"] } });
  use(bare);
});

$("#token-clear").addEventListener("click", () => {
  $("#token-form").reset();
  use("");
});

/** Takes a token, and asks for everything anew with it. */
function use(value) {
  token.set(value);
  $("#token-form").hidePopover();
  start();
}

function start() {
  const isSet = Boolean(token.get());
  $("#access").classList.toggle("set", isSet);
  $("#access-state").textContent = isSet ? ", set" : ", none set";
  $("#token").value = token.get();
  profiles.refresh();
  conversations.refresh();
  route();
}

start();
