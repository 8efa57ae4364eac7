// Conversations: the list, and the header of the open conversation.

import { openDeletion, openEditor } from "./dialogs.js";
import { closeMessages, conversationView, openMessages } from "./messages.js";
import { actingId, nameOf } from "./profiles.js";
import {
  $, PagedList, announce, bdi, onSubmit, pluralize, requester, setTitle, showRetries, time,
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
    onNewSeq: (last_seq) => update({ id, last_seq }),
    onDeleted: () => conversations.remove(id),
  });
}

export function closeConversation() {
  closeMessages();
  current = null;
}

/**
 * Takes a state of the open conversation, or some fields of it. Responses arrive in any order, so
 * only a higher version counts. `last_seq` has no version and never falls.
 */
function update({ last_seq = 0, ...state }) {
  if (current?.id !== state.id) return;
  const isNewer = state.version > current.version;
  if (!isNewer && last_seq <= current.last_seq) return;
  last_seq = Math.max(last_seq, current.last_seq);
  current = { ...current, ...(isNewer && state), last_seq };
  showCurrent();
}

function showCurrent() {
  const { subject, author, created_at } = current;
  setTitle(subject);
  $("#conversation-title").textContent = subject;
  const name = bdi(nameOf(author));
  $("#conversation-meta").replaceChildren("Created by ", name, " ", time(created_at));
  conversations.update(current);
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
      conversations.remove(id);
      location.hash = "#/conversations";
      announce("Conversation deleted");
    },
  });
});
