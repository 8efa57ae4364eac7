// Entry point of the page: routes and the access token.
//
// - api.js: requests; access.js: what the caller may do
// - ui.js: parts of the page; list.js: lists; dialogs.js: editing and deleting; poller.js: polling
// - profiles.js, conversations.js, members.js, messages.js: one resource each
// - inbox.js: the conversations of the acting profile
// - log.js: the messages of the open conversation; changes.js: follows what is new in it
// - live.js: the WebSocket through which news arrives

import { loadOwnProfiles } from "./access.js";
import { Problem, isTokenRequired, token } from "./api.js";
import { live } from "./changes.js";
import { closeConversation, conversations, openConversation } from "./conversations.js";
import { closeInbox, inbox, pollInbox } from "./inbox.js";
import { conversationView } from "./messages.js";
import { closeProfile, openProfile, profileView, profiles } from "./profiles.js";
import { $, asProblem, notice, onSubmit, setContentVisible, setTitle } from "./ui.js";

// Routes

const ROUTE = /^#\/(conversations|profiles)(?:\/([\w-]+))?$/;
const VIEWS = {
  conversations: { view: conversationView, load: openConversation },
  profiles: { view: profileView, load: openProfile },
};

let visit = new AbortController();

/** Shows what the address names. Aborts the requests of the view that is left. */
async function route() {
  const [, list = "conversations", id] = location.hash.match(ROUTE) ?? [];
  const { view, load } = id ? VIEWS[list] : {};
  visit.abort();
  visit = new AbortController();
  const { signal } = visit;
  closeConversation();
  closeProfile();
  $("dialog[open]")?.close();
  document.body.dataset.route = view ? list.slice(0, -1) : list;
  for (const section of $("#main").children) section.hidden = section !== (view || $("#welcome"));
  for (const link of document.querySelectorAll(".tabs a")) {
    link.ariaCurrent = link.hash === `#/${list}` ? "true" : null;
  }
  conversations.mark(id);
  inbox.mark(id);
  profiles.mark(id);
  setTitle(view ? "" : $(`#${list}-title`).textContent);
  if (!view) return pollInbox();
  setContentVisible(view, false);
  for (const place of view.querySelectorAll("h2, [data-text]")) place.textContent = "";
  notice(view, "Loading…");
  try {
    await load(id, signal, route);
  } catch (error) {
    if (signal.aborted) return;
    const { message } = asProblem(error);
    $("h2", view).textContent = "Not available";
    setTitle("Not available");
    notice(view, message, route);
  }
}

addEventListener("hashchange", async () => {
  const before = document.activeElement;
  await route();
  // Continue reading at the new view, unless the user has moved the focus meanwhile.
  const isUnmoved = [before, document.body].includes(document.activeElement);
  if (isUnmoved) $(`#${document.body.dataset.route}-title`).focus();
});

$(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // Its hash is not a route.
  $("#main").focus();
});

// The access token

const tokenForm = $("#token-form");

onSubmit(tokenForm, ({ token: input }) => {
  const value = input.trim().replace(/^Bearer\s+/i, "");
  if (!/^[\x21-\x7e]*$/.test(value)) {
    throw Problem.invalid({ token: ["must not contain spaces or special characters"] });
  }
  setToken(value);
});

$("#token-clear").addEventListener("click", () => {
  tokenForm.reset();
  setToken("");
});

/** Stores the token and loads everything again with it. */
function setToken(value) {
  token.set(value);
  tokenForm.hidePopover();
  start();
}

/** Says that authentication is off, or that the forms need a token. */
function showAuthentication() {
  $("#open-service").hidden = isTokenRequired() !== false;
  for (const hint of document.querySelectorAll(".needs-token")) {
    hint.hidden = Boolean(token.get()) || isTokenRequired() !== true;
  }
}

document.addEventListener("authentication", showAuthentication);

function start() {
  const isSet = Boolean(token.get());
  $("#access").classList.toggle("set", isSet);
  $("#access-state").textContent = isSet ? ", set" : ", not set";
  $("#token").value = token.get();
  showAuthentication();
  closeInbox();
  loadOwnProfiles();
  profiles.open("/profiles");
  conversations.open("/conversations");
  route();
  live.reset();
}

start();
