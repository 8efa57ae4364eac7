// The inbox: the conversations of the acting profile, most recent activity first, and how far it
// has read them. It is watched through the connection of the page, or polled while that is down.

import { onAccess } from "./access.js";
import { live } from "./changes.js";
import { PagedList } from "./list.js";
import { Poller } from "./poller.js";
import { actingProfile } from "./profiles.js";
import { $, asProblem, notice, requester, time } from "./ui.js";

const MARK_INTERVAL = 5000;
const POLL_FACTOR = 5; // A poll of the inbox costs more than one of a conversation.
const LIVE_INTERVAL = 5 * 60_000; // While it is watched: no frame reports roles and new subjects.

const panel = $("#conversations-panel");
const view = $("#inbox-view");

/** Sends the requests of the panel, which has the inbox and the list of public conversations. */
export const callPanel = requester(panel);

export const inbox = new PagedList(view, {
  call: callPanel,
  template: "conversation-row",
  route: "/conversations",
  keyOf: ({ conversation_id }) => conversation_id,
  merge,
  compare: (entry, other) => (activityOf(entry) > activityOf(other) ? -1 : 1),
  fillRow(row, entry) {
    const { subject, visibility, last_message_at, created_at } = entry.conversation;
    const kind = visibility === "private" ? "Private · " : "";
    $(".name", row).textContent = subject;
    $(".meta", row).replaceChildren(kind, time(last_message_at ?? created_at));
    showUnread($(".unread", row), countUnread(entry));
  },
  onChange() {
    const counts = Array.from(inbox.items.values(), countUnread);
    showUnread($(".unread", $("#show-inbox")), counts.reduce((sum, count) => sum + count, 0));
    updateWatch();
    document.dispatchEvent(new Event("inbox"));
  },
});

/** Calls `action` after each change of the inbox. */
export const onInbox = (action) => document.addEventListener("inbox", action);

/** Returns what an entry is sorted by. The order of times is that of their texts. */
const activityOf = ({ conversation: { id, last_message_at, created_at } }) =>
  `${last_message_at ?? created_at} ${id}`;

/** Returns how many messages are unread at most; 0 if the profile belongs to someone else. */
const countUnread = ({ read_seq, conversation }) =>
  read_seq === null ? 0 : conversation.last_seq - read_seq;

function showUnread(place, count) {
  place.hidden = count <= 0;
  place.firstElementChild.textContent = count.toLocaleString("en");
}

/**
 * Returns the newer state of an entry, which may lack fields. Responses arrive in any order, but
 * versions and positions never fall.
 */
function merge(entry, known) {
  const conversation = { ...known.conversation };
  const { version = 0, last_seq = 0, ...rest } = entry.conversation ?? {};
  if (version > conversation.version) {
    Object.assign(conversation, { version, subject: rest.subject });
  }
  if (last_seq > conversation.last_seq) {
    Object.assign(conversation, { last_seq, last_message_at: rest.last_message_at });
  }
  if (last_seq === conversation.last_seq && rest.last_message_at) {
    conversation.last_message_at = rest.last_message_at; // A frame has no time, a response does.
  }
  const { read_seq } = { ...known, ...entry };
  return {
    ...known,
    ...entry,
    conversation,
    read_seq: read_seq === null ? null : Math.max(read_seq, known.read_seq ?? 0),
  };
}

// Which list is shown

let choice = null; // Until the user makes one, the inbox if there is an acting profile.

function showList() {
  const shown = choice ?? (actingProfile() ? "inbox" : "public");
  for (const name of ["inbox", "public"]) {
    $(`#${name}-view`).hidden = name !== shown;
    $(`#show-${name}`).ariaPressed = String(name === shown);
  }
}

for (const name of ["inbox", "public"]) {
  $(`#show-${name}`).addEventListener("click", () => {
    choice = name;
    showList();
  });
}

// Loading and polling

let polling = new AbortController();
let poller = null;
let watch = null;
let watched = ""; // The ids that are watched.

const pathOf = (profile) => profile && `/profiles/${profile.id}/conversations`;

/** Polls the inbox as soon as possible. */
export const pollInbox = () => poller?.pollNow();

/** Empties the inbox until the access of the caller is known. */
export function closeInbox() {
  showList();
  polling.abort();
  showConnection("");
  inbox.empty = "";
  inbox.open(undefined);
}

/** Loads the inbox of the acting profile, and polls it. */
async function openInbox() {
  showList();
  const profile = actingProfile();
  const path = pathOf(profile);
  polling.abort();
  polling = new AbortController();
  inbox.empty = profile
    ? "No conversations yet. Create one below, or join a public one."
    : "Select a profile under “Act as” to see its conversations.";
  showConnection("");
  const loaded = inbox.open(path);
  if (!path) return;
  const { signal } = polling;
  await loaded;
  if (signal.aborted) return;
  // On a phone the panel may be hidden.
  const poll = () => panel.checkVisibility() && inbox.poll(signal);
  const isPaused = () => watch.isLive;
  poller = new Poller(poll, {
    signal, factor: POLL_FACTOR, isPaused, maxPause: LIVE_INTERVAL,
  });
  watchInbox(profile.id, signal);
  try {
    await poller.run((isReached) => showConnection(isReached ? connectionText() : "Reconnecting…"));
  } catch (error) {
    showConnection("");
    notice(view, asProblem(error).message, openInbox);
  }
}

const watchedIds = () => [...inbox.items.keys()];

/** Watches the inbox of a profile until `signal` is aborted. */
function watchInbox(profileId, signal) {
  watched = watchedIds().sort().join();
  watch = live.watch(profileId, {
    ids: watchedIds,
    onActivity: takeActivity,
    onMembership: pollInbox,
    onEnded: (id) => inbox.remove(id),
    onState(isLive) {
      if (isLive) return pollInbox(); // Finds what has happened since the last poll.
      poller.resume();
      showConnection(connectionText());
    },
  });
  signal.addEventListener("abort", () => watch.close());
}

/** Watches the conversations of the inbox, as they are now. */
function updateWatch() {
  const ids = watchedIds().sort().join();
  if (ids !== watched && !polling.signal.aborted) watch?.update();
  watched = ids;
}

/** Takes that a conversation has new messages, the newest of them now. */
function takeActivity({ conversation_id, last_seq }) {
  if (!inbox.items.has(conversation_id)) return;
  // The frame has no time. The entry becomes the first, whatever the clock of this machine says.
  const times = Array.from(inbox.items.values(), (entry) => entry.conversation.last_message_at);
  const now = new Date().toISOString();
  const last_message_at = [now, ...times].reduce((one, other) => (other > one ? other : one));
  inbox.update({ conversation_id, conversation: { last_seq, last_message_at } });
}

const connectionText = () => (watch.isLive ? "Live" : "Polling");

function showConnection(text) {
  const place = $("#inbox-connection");
  place.textContent = text;
  place.dataset.state = { Live: "live", Polling: "polling" }[text] ?? "waiting";
}

onAccess(() => {
  showList();
  if (inbox.path !== pathOf(actingProfile())) openInbox();
});

// Read positions

/** Marks messages as read by a member, at most every 5 seconds. */
export class ReadMarker {
  #seen;
  #timer = null;
  #markedAt = 0;

  constructor({ conversation_id, profile_id, read_seq }, call) {
    this.#seen = read_seq;
    Object.assign(this, { conversation_id, profile_id, call });
  }

  /** Takes that the user has seen the messages up to this one. */
  see(seq) {
    if (this.#seen === null || seq <= this.#seen) return;
    this.#seen = seq;
    inbox.update({ conversation_id: this.conversation_id, read_seq: seq });
    const wait = Math.max(0, this.#markedAt + MARK_INTERVAL - Date.now());
    this.#timer ??= setTimeout(() => this.#mark(), wait);
  }

  async #mark() {
    this.#timer = null;
    this.#markedAt = Date.now();
    const path = `/conversations/${this.conversation_id}/members/${this.profile_id}/read`;
    try {
      await this.call("PUT", path, { body: { seq: this.#seen }, showIf: () => false });
    } catch (error) {
      asProblem(error); // The next message that the user sees tries again.
    }
  }
}
