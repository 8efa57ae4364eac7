// Profiles: the list, the selector of the acting profile, and the view of one profile.

import { accessChanged, isUnlimited, mayActAs, onAccess, ownProfiles } from "./access.js";
import { Problem } from "./api.js";
import { openDeletion, openEditor } from "./dialogs.js";
import { PagedList } from "./list.js";
import {
  $, announce, notice, onSubmit, pluralize, requester, setContentVisible, setTitle, showRetries,
  time,
} from "./ui.js";

const POINTS_PER_REWARD = 10;

export const nameOf = (profile) => profile?.full_name ?? "Deleted profile";

/** Fills an avatar: initials, and one of eight colours, chosen by the id. */
export function fillAvatar(element, profile) {
  const names = [profile?.first_name, profile?.last_name];
  const initials = names.map((name) => [...(name ?? "")][0] ?? "");
  element.textContent = initials.join("").toLocaleUpperCase() || "–";
  element.classList.remove(...Array.from({ length: 8 }, (_, hue) => `hue-${hue}`));
  if (profile) element.classList.add(`hue-${parseInt(profile.id.slice(-4), 16) % 8}`);
}

// The list

const newProfile = $("#new-profile");
const panel = $("#profiles-panel");

export const profiles = new PagedList(panel, {
  call: requester(panel),
  template: "profile-row",
  route: "/profiles",
  empty: "No profiles yet. Create the first one below.",
  fillRow(row, profile) {
    fillAvatar($(".avatar", row), profile);
    $(".name", row).textContent = profile.full_name;
    $(".meta", row).textContent = profile.job_title;
    $(".count", row).textContent = pluralize(profile.points, "point");
  },
  onChange: updateSelector,
});

$('[data-action="refresh"]', panel).addEventListener("click", () => profiles.refresh());

const withoutEmpty = (values) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));

onSubmit(newProfile, async (values, options) => {
  const body = withoutEmpty(values);
  const profile = await profiles.call("POST", "/profiles", { body, ...options });
  newProfile.reset();
  ownProfiles?.set(profile.id, profile);
  profiles.add(profile);
  if (!selector.value) setActing(profile);
  announce(`Profile ${profile.full_name} created`);
});

/** Shows the newer state of these profiles in the list and in the view. */
export function updateProfiles(...updated) {
  const latest = new Map(updated.filter(Boolean).map((profile) => [profile.id, profile]));
  for (const [id, profile] of latest) {
    profiles.update(newer(profile, profiles.items.get(id)));
    if (id === shownProfile?.id) showProfile(newer(profile, shownProfile));
  }
}

/** Returns the newer state of a profile: responses arrive in any order. Points never fall. */
function newer(profile, known = profile) {
  const latest = profile.version >= known.version ? profile : known;
  return { ...latest, points: Math.max(profile.points, known.points) };
}

// The acting profile

const ACTING_KEY = "acting-as";
const selector = $("#acting-as");

const storedActing = () => JSON.parse(localStorage.getItem(ACTING_KEY));

/**
 * Updates the options: the profiles that the caller may act as. On a service without authentication
 * the acting profile is an option even if the list has not loaded it.
 */
function updateSelector() {
  const acting = storedActing();
  const first = acting ? [acting.id, acting] : ["", { full_name: "No profile" }];
  const others = isUnlimited() ? profiles.items : (ownProfiles ?? []);
  const options = [...new Map([first, ...others])].map(([id, profile]) => {
    const label = [profile.full_name, profile.job_title].filter(Boolean).join(", ");
    return new Option(label, id);
  });
  const labels = (list) => Array.from(list, ({ value, text }) => `${value} ${text}`).join("\n");
  // Replace them only after a change: the selector may be open.
  if (labels(options) !== labels(selector.options)) selector.replaceChildren(...options);
  selector.value = acting?.id ?? "";
}

function setActing(profile) {
  if (profile) localStorage.setItem(ACTING_KEY, JSON.stringify(profile));
  else localStorage.removeItem(ACTING_KEY);
  accessChanged();
}

selector.addEventListener("change", () => {
  const id = selector.value;
  setActing(profiles.items.get(id) ?? ownProfiles?.get(id) ?? storedActing());
});

onAccess(() => {
  const isForeign = ownProfiles && !isUnlimited() && !ownProfiles.has(storedActing()?.id);
  const own = isForeign && ownProfiles.values().next().value;
  if (own) localStorage.setItem(ACTING_KEY, JSON.stringify(own));
  else if (isForeign) localStorage.removeItem(ACTING_KEY);
  updateSelector();
  if (shownProfile) showProfile(shownProfile);
});

/** Returns the acting profile, or null. */
export const actingProfile = () => (selector.value ? storedActing() : null);

/** Returns the id of the acting profile. Throws a `Problem` if none is selected. */
export function actingId() {
  if (selector.value) return selector.value;
  const reason = "create a profile, or select one under “Act as” at the top of the page";
  throw Problem.invalid({ author_id: [reason] });
}

// One profile

export const profileView = $("#profile-view");
const call = requester(profileView);
let shownProfile = null;

/** Loads and shows a profile. */
export async function openProfile(id, signal) {
  const profile = await call("GET", `/profiles/${id}`, { signal, ...showRetries(profileView) });
  notice(profileView, "");
  showProfile(profile);
}

export function closeProfile() {
  shownProfile = null;
}

function showProfile(profile) {
  shownProfile = profile;
  const progress = profile.points % POINTS_PER_REWARD;
  setTitle(profile.full_name);
  $("#profile-title").textContent = profile.full_name;
  $("#profile-job").textContent = profile.job_title || "No job title";
  fillAvatar($(".avatar", profileView), profile);
  $("#profile-points").textContent = profile.points.toLocaleString("en");
  $("#profile-points-unit").textContent = profile.points === 1 ? "point" : "points";
  $("#profile-progress").value = progress;
  const missing = pluralize(POINTS_PER_REWARD - progress, "point");
  $("#profile-next").textContent = `${missing} to the next congratulation`;
  $("#profile-id").textContent = profile.id;
  $("#profile-created").replaceChildren(time(profile.created_at));
  $("#profile-admin").textContent = profile.is_admin ? "Yes" : "No";
  setContentVisible(profileView, true);
  const isChangeable = mayActAs(profile.id);
  for (const id of ["edit", "delete", "act"]) $(`#profile-${id}`).hidden = !isChangeable;
}

$("#profile-act").addEventListener("click", () => {
  setActing(shownProfile);
  announce(`Acting as ${shownProfile.full_name}`);
});

$("#profile-edit").addEventListener("click", () => {
  openEditor($("#edit-profile-dialog"), shownProfile, {
    call,
    path: `/profiles/${shownProfile.id}`,
    valuesOf: ({ first_name, last_name, job_title }) => ({ first_name, last_name, job_title }),
    show: (profile) => updateProfiles(profile),
    onSaved: () => announce("Profile saved"),
  });
});

$("#profile-delete").addEventListener("click", () => {
  const { id } = shownProfile;
  openDeletion(shownProfile, {
    call,
    path: `/profiles/${id}`,
    titleOf: ({ full_name }) => `Delete ${full_name}?`,
    text: "Its messages remain, without a name. This cannot be undone.",
    show: (profile) => updateProfiles(profile),
    onDeleted() {
      shownProfile = null;
      ownProfiles?.delete(id);
      if (selector.value === id) setActing(null);
      profiles.remove(id);
      location.hash = "#/profiles";
      announce("Profile deleted");
    },
  });
});
