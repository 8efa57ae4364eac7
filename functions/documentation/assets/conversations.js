// Conversations: the list, and the header of the open conversation.

import { openDeletion, openEditor } from "./dialogs.js";
import { callPanel, inbox } from "./inbox.js";
import { PagedList } from "./list.js";
import { reportSeen } from "./log.js";
import { closeMembership, findMember, openMembership, seeMessages } from "./members.js";
import { closeMessages, conversationView, openMessages } from "./messages.js";
import { actingId, nameOf } from "./profiles.js";
import {
  $, announce, bdi, onSubmit, pluralize, requester, setTitle, showRetries, time,
} from "./ui.js";

const newConversation = $("#new-conversation");
const call = requester(conversationView);

/** The open conversation, or null. */
let current = null;

/** The public conversations. */
export const conversations = new PagedList($("#public-view"), {
  call: callPanel,
  template: "conversation-row",
  route: "/conversations",
  empty: "No conversations yet. Create the first one below.",
  fillRow(row, conversation) {
    const { subject, author, created_at, last_seq } = conversation;
    $(".name", row).textContent = subject;
    $(".meta", row).replaceChildren(bdi(nameOf(author)), " · ", time(created_at));
    $(".count", row).textContent = last_seq.toLocaleString("en");
    $(".count", row).title = pluralize(last_seq, "message");
  },
});

$('[data-action="refresh"]', $("#conversations-panel")).addEventListener("click", () => {
  (inbox.view.hidden ? conversations : inbox).refresh();
});

onSubmit(newConversation, async ({ subject, visibility }, options) => {
  const body = { subject, author_id: actingId(), visibility };
  const conversation = await callPanel("POST", "/conversations", { body, ...options });
  newConversation.reset();
  if (visibility === "public") conversations.add(conversation);
  inbox.add({
    conversation_id: conversation.id,
    profile_id: body.author_id,
    role: "moderator",
    read_seq: 0,
    conversation,
  });
  location.hash = `#/conversations/${conversation.id}`;
  announce("Conversation created");
});

/** Loads and shows a conversation. `reload` opens it again after a failure. */
export async function openConversation(id, signal, reload) {
  const load = async (options) => {
    current = await call("GET", `/conversations/${id}`, { signal, ...options });
    showCurrent();
    return current;
  };
  openMessages(await load(showRetries(conversationView)), {
    signal,
    call,
    load,
    reload,
    onConversation: update,
    onNewMessage: ({ seq, created_at }) =>
      update({ id, last_seq: seq, last_message_at: created_at }),
    onSeen: seeMessages,
    onNotAMember: findMember,
    onGone() {
      closeMembership();
      forget(id);
    },
  });
  openMembership(current, { call, signal });
  reportSeen();
}

function forget(id) {
  conversations.remove(id);
  inbox.remove(id);
}

export function closeConversation() {
  closeMessages();
  closeMembership();
  current = null;
}

/**
 * Takes a state of the open conversation, or some fields of it. Responses arrive in any order, so
 * only a higher version counts. `last_seq` has no version and never falls.
 */
function update({ last_seq = 0, last_message_at, ...state }) {
  if (current?.id !== state.id) return;
  if (state.version > current.version) current = { ...current, ...state };
  else if (last_seq <= current.last_seq) return;
  if (last_seq > current.last_seq) current = { ...current, last_seq, last_message_at };
  showCurrent();
}

function showCurrent() {
  const { id, subject, visibility, author, created_at } = current;
  setTitle(subject);
  $("#conversation-title").textContent = subject;
  const name = bdi(nameOf(author));
  const kind = visibility === "private" ? "Private · " : "";
  $("#conversation-meta").replaceChildren(kind, "Created by ", name, " ", time(created_at));
  conversations.update(current);
  inbox.update({ conversation_id: id, conversation: current });
}

$("#conversation-edit").addEventListener("click", () => {
  openEditor($("#edit-conversation-dialog"), current, {
    call,
    path: `/conversations/${current.id}`,
    valuesOf: ({ subject }) => ({ subject }),
    show: update,
    onSaved: () => announce("Conversation renamed"),
  });
});

$("#conversation-delete").addEventListener("click", () => {
  const { id } = current;
  openDeletion(current, {
    call,
    path: `/conversations/${id}`,
    titleOf: ({ subject }) => `Delete “${subject}”?`,
    text: "All its messages are deleted too. This cannot be undone.",
    show: update,
    onDeleted() {
      forget(id);
      location.hash = "#/conversations";
      announce("Conversation deleted");
    },
  });
});
