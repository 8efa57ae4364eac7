// Members of the open conversation: joining, leaving, roles, and the dialog that manages them.

import { mayActAs, mayModerate, onAccess } from "./access.js";
import { openDeletion, openDialog } from "./dialogs.js";
import { ReadMarker, inbox, onInbox } from "./inbox.js";
import { PagedList } from "./list.js";
import { updateTools } from "./log.js";
import { conversationView } from "./messages.js";
import { actingProfile, fillAvatar, profiles } from "./profiles.js";
import { $, announce, asProblem, notice, runIn } from "./ui.js";

const dialog = $("#members-dialog");
const form = $("#members-form");
const join = $("#conversation-join");

/**
 * The open conversation, or null.
 *
 * - `conversation`, `call`, `signal`: the options of `openMembership`
 * - `member`: the acting profile as a member; null if it is none; undefined while that is unknown
 * - `marker`: marks messages as read by the member
 * - `seen`: `seq` of the newest message that the user has seen
 */
let open = null;

const pathOf = (profileId) => `/conversations/${open.conversation.id}/members/${profileId}`;

/** Finds out what the acting profile is in a conversation, and shows what it may do. */
export function openMembership(conversation, { call, signal }) {
  open = { conversation, call, signal, member: undefined, marker: null, seen: 0 };
  showAccess();
  findMember();
}

export function closeMembership() {
  open = null;
}

/** Takes that the user has seen the messages of the open conversation up to this one. */
export function seeMessages(seq) {
  if (!open) return;
  open.seen = Math.max(open.seen, seq);
  open.marker?.see(open.seen);
}

/** Asks whether the acting profile is a member. */
export async function findMember() {
  if (!open) return;
  const view = open;
  const profile = actingProfile();
  if (!profile) return takeMember(null);
  const path = `/conversations/${view.conversation.id}/members`;
  const options = { signal: view.signal, showIf: () => false };
  try {
    // The list is sorted by profile id: this page starts at the acting profile.
    const first = `${path}?limit=1&after=${idBefore(profile.id)}`;
    const [member] = (await view.call("GET", first, options)).results;
    if (view !== open || profile.id !== actingProfile()?.id) return;
    takeMember(member?.profile_id === profile.id ? member : null);
  } catch (error) {
    if (!view.signal.aborted) asProblem(error); // The view shows the failures of its own requests.
  }
}

/** Returns the id before this one, in the order of ids. */
function idBefore(id) {
  const number = BigInt(`0x${id.replaceAll("-", "")}`) - 1n;
  const digits = number.toString(16).padStart(32, "0");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function takeMember(member) {
  const isOther = member?.profile_id !== open.member?.profile_id;
  open.member = member;
  if (isOther || !member) open.marker = member && new ReadMarker(member, open.call);
  if (member) inbox.update(member);
  else inbox.remove(open.conversation.id);
  open.marker?.see(open.seen);
  showAccess();
}

/** Shows the buttons for what the caller may do, and the composer to those who may post. */
function showAccess() {
  const { conversation, member } = open;
  const isPrivate = conversation.visibility === "private";
  const profile = actingProfile();
  const moderates = mayModerate(conversation, member);
  const mayJoin = profile && mayActAs(profile.id) && (!isPrivate || moderates);
  join.hidden = member !== null || !mayJoin;
  $("#conversation-edit").hidden = !moderates;
  $("#conversation-delete").hidden = !mayActAs(conversation.author_id);
  $("#composer").hidden = isPrivate && !member;
  $("#not-member").hidden = !isPrivate || member !== null;
  updateTools(moderates);
}

onAccess(() => {
  if (!open) return;
  if (open.member?.profile_id === actingProfile()?.id) return showAccess();
  open.member = undefined;
  open.marker = null;
  showAccess();
  findMember();
});

// Others may add or remove the acting profile, or change its role.
onInbox(() => {
  if (!open) return;
  const entry = inbox.items.get(open.conversation.id);
  const isKnown = entry ? entry.role === open.member?.role : !open.member;
  if (!isKnown && open.member !== undefined) findMember();
});

/** Takes a member that was added or changed. */
function show(member) {
  const { conversation } = open ?? {};
  if (member.conversation_id !== conversation?.id || !isActing(member)) return;
  if (!inbox.items.has(conversation.id)) inbox.add({ ...member, conversation });
  takeMember(member);
}

async function joinConversation() {
  const { full_name, id } = actingProfile();
  const { signal } = open;
  notice(conversationView, "");
  try {
    show(await open.call("PUT", pathOf(id), { signal }));
    announce(`${full_name} has joined`);
    $("#conversation-members").focus();
  } catch (error) {
    if (!signal.aborted) notice(conversationView, asProblem(error).message, joinConversation);
  }
}

join.addEventListener("click", joinConversation);

// The dialog

const members = new PagedList($("#members-view"), {
  call: (...request) => open.call(...request),
  template: "member-row",
  keyOf: ({ profile_id }) => profile_id,
  empty: "This conversation has no members.",
  fillRow: fillMemberRow,
  onChange: fillProfiles,
});

const isActing = ({ profile_id }) => profile_id === actingProfile()?.id;

function fillMemberRow(row, member) {
  const { profile, profile_id, role } = member;
  const moderates = mayModerate(open.conversation, open.member);
  fillAvatar($(".avatar", row), profile);
  $(".name", row).textContent = profile.full_name;
  const details = [
    isActing(member) && "Acting profile",
    !moderates && role === "moderator" && "Moderator",
    profile.job_title,
  ];
  $(".meta", row).textContent = details.filter(Boolean).join(" · ");
  const [select, button] = [$("select", row), $("button", row)];
  select.value = role;
  select.hidden = !moderates;
  select.ariaLabel = `Role of ${profile.full_name}`;
  select.onchange = () => setRole(member, select);
  button.hidden = !moderates && !mayActAs(profile_id);
  button.textContent = isActing(member) ? "Leave" : "Remove";
  button.ariaLabel = `${button.textContent} ${profile.full_name}`;
  button.onclick = () => (isActing(member) ? leave(member) : remove(member));
}

/** Offers the profiles that are no members. */
function fillProfiles() {
  const select = form.elements.profile_id;
  const { value } = select;
  const others = [...profiles.items.values()].filter(({ id }) => !members.items.has(id));
  const options = others.map(({ id, full_name }) => new Option(full_name, id));
  select.replaceChildren(new Option("Select a profile", ""), ...options);
  select.value = others.some(({ id }) => id === value) ? value : "";
  $("#more-profiles").hidden = !profiles.hasMore;
}

$("#more-profiles").addEventListener("click", async () => {
  await profiles.loadMore();
  fillProfiles();
});

$("#conversation-members").addEventListener("click", () => {
  form.reset();
  $("#add-member").hidden = !mayModerate(open.conversation, open.member);
  members.open(`/conversations/${open.conversation.id}/members`);
  openDialog(dialog, async ({ profile_id, role }, options) => {
    const member = await open.call("PUT", pathOf(profile_id), { body: { role }, ...options });
    members.add(member);
    show(member);
    announce(`${member.profile.full_name} added`);
    return true;
  });
});

function setRole(member, select) {
  runIn(form, async (options) => {
    try {
      const body = { role: select.value };
      const changed = await open.call("PUT", pathOf(member.profile_id), { body, ...options });
      show(changed);
      members.update(changed);
      announce("Role changed");
    } catch (error) {
      select.value = member.role;
      throw error;
    }
  });
}

function remove(member) {
  runIn(form, async (options) => {
    await open.call("DELETE", pathOf(member.profile_id), options);
    members.remove(member.profile_id);
    $("h2", dialog).focus();
    announce(`${member.profile.full_name} removed`);
  });
}

function leave(member) {
  const { call, conversation } = open;
  const { id, subject, visibility } = conversation;
  const staysVisible = visibility === "public" || mayModerate(conversation, null);
  dialog.close();
  openDeletion(member, {
    call,
    path: pathOf(member.profile_id),
    verb: "Leave",
    titleOf: () => `Leave “${subject}”?`,
    text: staysVisible
      ? "It leaves your inbox. You can join again."
      : "You will not see it any more. A moderator can add you again.",
    onDeleted() {
      inbox.remove(id);
      if (open?.conversation.id === id) takeMember(null);
      if (!staysVisible) location.hash = "#/conversations";
      announce("Left the conversation");
    },
    getFocus: () => $("#conversation-members"),
  });
}
