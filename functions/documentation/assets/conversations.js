// Conversations: the list, and the header of the open conversation.

import { closeMessages, conversationView, openMessages } from "./messages.js";
import { actingId, nameOf } from "./profiles.js";
import {
  $, PagedList, announce, bdi, confirmDelete, deleteResource, onSubmit, openDialog, pluralize,
  requester, setTitle, showRetries, time,
} from "./ui.js";

const newConversation = $("#new-conversation");
const call = requester(conversationView);

/** The open conversation, or null. */
let current = null;

export const conversations = new PagedList($("#conversations-panel"), "/conversations", {
  template: "conversation-row",
  empty: "No conversations yet. Create the first one below.",
  fillRow(row, conversation) {
    const { subject, author, created_at, last_seq } = conversation;
    $(".name", row).textContent = subject;
    $(".meta", row).replaceChildren(bdi(nameOf(author)), " · ", time(created_at));
    $(".count", row).textContent = last_seq.toLocaleString("en");
    $(".count", row).title = pluralize(last_seq, "message");
  },
});

onSubmit(newConversation, async ({ subject }, options) => {
  const body = { subject, author_id: actingId() };
  const conversation = await conversations.call("POST", "/conversations", { body, ...options });
  newConversation.reset();
  conversations.add(conversation);
  location.hash = `#/conversations/${conversation.id}`;
  announce("Conversation created");
});

/** Loads and shows a conversation. `reload` opens it again after a failure. */
export async function openConversation(id, signal, reload) {
  const options = { signal, ...showRetries(conversationView) };
  const conversation = await call("GET", `/conversations/${id}`, options);
  current = conversation;
  showConversation(conversation);
  const onNewSeq = (seq) => conversations.update({ ...current, last_seq: seq });
  openMessages({ id, signal, call, page: conversation.messages, reload, onNewSeq });
}

export function closeConversation() {
  closeMessages();
  current = null;
}

function showConversation(conversation) {
  if (current?.id !== conversation.id) return;
  current = conversation;
  const { subject, author, created_at } = conversation;
  setTitle(subject);
  $("#conversation-title").textContent = subject;
  const name = bdi(nameOf(author));
  $("#conversation-meta").replaceChildren("Created by ", name, " ", time(created_at));
  conversations.update(conversation);
}

$("#conversation-edit").addEventListener("click", () => {
  const { id, subject } = current;
  openDialog($("#edit-conversation-dialog"), { subject }, async (body, options) => {
    showConversation(await call("PATCH", `/conversations/${id}`, { body, ...options }));
    announce("Conversation renamed");
  });
});

$("#conversation-delete").addEventListener("click", () => {
  const { id, subject } = current;
  const text = "All its messages are deleted too. This cannot be undone.";
  confirmDelete(`Delete “${subject}”?`, text, async (_, options) => {
    await deleteResource(call, `/conversations/${id}`, options);
    conversations.remove(id);
    location.hash = "#/conversations";
    announce("Conversation deleted");
  });
});
