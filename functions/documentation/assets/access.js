// What the caller may do, as far as the page can tell. It decides which buttons are shown; the
// service decides what happens. Independent of the DOM, except for its event.

import { prepare, send, token } from "./api.js";

/** The profiles of the caller, by id; null while they are unknown. */
export let ownProfiles = null;

/** Calls `action` when the access of the caller or the acting profile may have changed. */
export const onAccess = (action) => document.addEventListener("access", action);
export const accessChanged = () => document.dispatchEvent(new Event("access"));

/** Loads the profiles of the caller. They stay unknown if that fails. */
export async function loadOwnProfiles() {
  ownProfiles = null;
  const current = token.get();
  const own = new Map();
  try {
    for (let next = current && "/profiles?owner=me&limit=100"; next; ) {
      const { data } = await send(prepare("GET", next));
      for (const profile of data.results) own.set(profile.id, profile);
      next = data.next;
    }
    if (current === token.get()) ownProfiles = own;
  } catch (error) {
    if (error.status === undefined) throw error; // A bug. The lists of the page show failures.
  }
  if (current === token.get()) accessChanged();
}

/**
 * Returns whether the caller may do everything: administrators, and everyone if the service needs
 * no token.
 */
export function isUnlimited() {
  if (!token.get()) return true;
  const claims = parseClaims(token.get());
  const scopes = String(claims.scope ?? "").split(" ");
  return scopes.includes("chat/admin") || [claims["cognito:groups"]].flat().includes("admin");
}

function parseClaims(jwt) {
  try {
    return JSON.parse(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))) ?? {};
  } catch {
    return {};
  }
}

/** Returns whether the caller may act as a profile, and change what it has made. */
export const mayActAs = (profileId) => isUnlimited() || Boolean(ownProfiles?.has(profileId));

/** Returns whether the caller moderates a conversation. `member` is the acting profile there. */
export const mayModerate = ({ author_id }, member) =>
  mayActAs(author_id) || member?.role === "moderator";
