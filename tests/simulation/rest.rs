//! The members at rest: what is stored, and what the API shows of it.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::Value;
use shared::text::hash;

use crate::members::{activity, read_inbox};
use crate::requests::{Ask, SUBJECTS, USERS};
use crate::standing::{Candidate, Standings};
use crate::stored::{Stored, of};
use crate::world::World;

/// The profiles that are not deleted, and their owners' `sub`.
type Owners<'s> = BTreeMap<&'s str, &'s str>;

impl Stored {
    /// Returns the items of all live conversations that start with `prefix`, by the conversation's
    /// id and the rest of the sort key.
    fn of_conversations<'s>(
        &'s self,
        prefix: &'s str,
    ) -> impl Iterator<Item = (&'s str, &'s str, &'s Value)> {
        self.live_conversations().flat_map(move |(id, items)| {
            let rest =
                move |(sk, item): (&'s String, _)| Some((id, sk.strip_prefix(prefix)?, item));
            items.iter().filter_map(rest)
        })
    }

    /// Returns the profiles that are not marked deleted.
    fn owners(&self) -> Owners<'_> {
        let profiles = self.starting_with("PROFILE#").filter_map(|(id, items)| {
            let item = items.get("PROFILE").filter(|item| item["deleted_at"].is_null())?;
            Some((id, item["owner"]["S"].as_str()?))
        });
        profiles.collect()
    }

    /// Checks that the counters of each caller equal the members, and that each member fits its
    /// conversation and its profile. `purged` is true if deleted profiles have no memberships any
    /// more.
    fn member_violations(&self, purged: bool) -> Vec<String> {
        let mut violations = Vec::new();
        let mut counts: BTreeMap<(&str, String), (u64, u64)> = BTreeMap::new();
        let owners = self.owners();
        for (id, profile, item) in self.of_conversations("MEMBER#") {
            let owner = item["owner"]["S"].as_str().unwrap_or_default();
            let moderates = u64::from(item["role"]["S"] == "moderator");
            let count = counts.entry((id, hash(owner))).or_default();
            *count = (count.0 + 1, count.1 + moderates);
            let last_seq = self.conversation(id).map_or(0, |item| of(item, "last_seq"));
            let known = owners.get(profile);
            let fits = item["id"]["S"] == id
                && item["listing"] == item["sk"]
                && of(item, "read_seq") <= last_seq
                && known.map_or(!purged, |known| *known == owner);
            if !fits {
                violations.push(format!("a member of {known:?}, last_seq {last_seq}: {item}"));
            }
        }
        let stored = self.of_conversations("ACCESS#").map(|(id, caller, item)| {
            ((id, caller.to_owned()), (of(item, "members"), of(item, "moderators")))
        });
        let stored: BTreeMap<_, _> = stored.collect();
        if stored != counts {
            violations.push(format!("ACCESS has {stored:?}, but the members are {counts:?}"));
        }
        violations
    }

    /// Checks that every owner's list has exactly the profiles that are not deleted, and, after the
    /// purge, that nothing deleted is left.
    fn leftover_violations(&self, purged: bool) -> Vec<String> {
        let mut violations = Vec::new();
        let mut listed: BTreeSet<(String, &str)> = BTreeSet::new();
        for (caller, items) in self.starting_with("OWNER#") {
            let ids = items.keys().filter_map(|sk| sk.strip_prefix("PROFILE#"));
            listed.extend(ids.map(|id| (caller.to_owned(), id)));
        }
        let owners = self.owners();
        let expected = owners.iter().map(|(id, owner)| (hash(owner), *id)).collect();
        if listed != expected && (purged || !expected.is_subset(&listed)) {
            violations.push(format!("owners have {listed:?} instead of {expected:?}"));
        }
        for (id, _) in self.starting_with("PROFILE#").filter(|(id, _)| !owners.contains_key(id)) {
            if purged {
                violations.push(format!("profile {id} is deleted, but not removed"));
            }
        }
        for (id, items) in self.starting_with("CONVERSATION#") {
            if !items.contains_key("CONVERSATION") {
                violations.push(format!("{id} is gone, but has {:?}", items.keys()));
            }
        }
        violations
    }
}

/// Returns everything about members that does not hold at rest.
pub(crate) async fn violations(
    world: &World,
    stored: &Stored,
    standings: &Standings<'_>,
    purged: bool,
) -> Vec<String> {
    let mut violations = stored.member_violations(purged);
    violations.extend(stored.leftover_violations(purged));
    let candidates = world.known().candidates.clone();
    let mut rng = Rng::with_seed(candidates.len() as u64);
    let owners = stored.owners();
    for conversation in 0..world.conversations.len() {
        let id = &world.conversations[conversation];
        let Some(item) = stored.conversation(id) else { continue };
        let members: BTreeMap<&str, &Value> = stored
            .of_conversations("MEMBER#")
            .filter(|(there, ..)| there == id)
            .map(|(_, profile, item)| (profile, item))
            .collect();
        for Candidate { id: profile, .. } in &candidates {
            let author = &world.authors[world.origins[conversation].author];
            let first = (author == profile).then_some("moderator");
            let role = members.get(&**profile).and_then(|item| item["role"]["S"].as_str());
            let ended = world.known().ended_profiles.contains_key(profile) && role.is_none();
            if !ended && !standings.may_end_as(conversation, profile, first, role) {
                violations.push(format!("{profile} ends in {conversation} as {role:?}"));
            }
        }
        for (user, subject) in SUBJECTS.iter().enumerate() {
            let mine = candidates.iter().filter(|one| one.owner == user);
            // A deleted profile may be a member until the purge.
            let is_member = members.values().any(|item| item["owner"]["S"] == *subject);
            let sees = !world.may_hide(conversation, Some(user)) || is_member;
            let shown = list_members(world, user, conversation).await;
            let last_seq = of(item, "last_seq");
            let expected = sees.then(|| {
                let is_own = |id: &str| mine.clone().any(|one| one.id == id);
                let live = members.iter().filter(|(id, _)| owners.contains_key(*id));
                let live = live.map(|(id, item)| {
                    let read = is_own(id).then(|| of(item, "read_seq"));
                    let role = item["role"]["S"].as_str().unwrap_or_default().to_owned();
                    ((*id).to_owned(), role, read, read.map(|read| last_seq - read))
                });
                live.collect::<Vec<_>>()
            });
            if shown != expected {
                let what = format!("members {shown:?} instead of {expected:?}");
                violations.push(format!("user {user} sees in {conversation} the {what}"));
            }
        }
    }
    for candidate in candidates.iter().filter(|one| owners.contains_key(&*one.id)) {
        violations.extend(inbox_violation(world, &mut rng, stored, candidate).await);
    }
    for user in 0..USERS {
        let mine = candidates.iter().filter(|one| one.owner == user);
        let mine = mine.filter(|one| owners.contains_key(&*one.id));
        let known: BTreeSet<String> = mine.map(|one| one.id.clone()).collect();
        violations.extend(own_violation(world, stored, user, &known).await);
    }
    violations
}

/// A member as a user sees it: id, role, `read_seq`, `unread`.
type Shown = (String, String, Option<u64>, Option<u64>);

/// Lists the members of a conversation for a user. `None` if it is hidden.
async fn list_members(world: &World, user: usize, conversation: usize) -> Option<Vec<Shown>> {
    let (mut shown, mut after) = (Vec::new(), None);
    loop {
        let mut query = vec![("limit", "2".to_owned())];
        query.extend(after.map(|after: String| ("after", after)));
        let (function, user, path) = ("list-members", Some(user), vec![world.path(conversation)]);
        let answer = world.ask(Ask { function, user, path, query, ..Ask::default() }).await;
        if answer.status != 200 {
            return None;
        }
        for member in answer.results() {
            let text = |name: &str| member[name].as_str().unwrap_or_default().to_owned();
            let number = |name: &str| member[name].as_u64();
            let numbers = (number("read_seq"), number("unread"));
            shown.push((text("profile_id"), text("role"), numbers.0, numbers.1));
        }
        let next = answer.body["next"].as_str().and_then(|next| next.split_once("after="));
        after = match next {
            Some((_, after)) => Some(after.to_owned()),
            None => return Some(shown),
        };
    }
}

/// Checks that an inbox has exactly the memberships of its profile, by activity.
async fn inbox_violation(
    world: &World,
    rng: &mut Rng,
    stored: &Stored,
    candidate: &Candidate,
) -> Option<String> {
    let inbox = read_inbox(world, rng, Some(candidate.owner), candidate).await?;
    let of_profile = stored.of_conversations("MEMBER#").filter(|(_, id, _)| *id == candidate.id);
    let mut expected: Vec<(String, String, u64)> = Vec::new();
    for (id, _, member) in of_profile {
        let item = stored.conversation(id)?;
        let at = item["last_message_at"]["S"].as_str().or(item["created_at"]["S"].as_str());
        let unread = of(item, "last_seq") - of(member, "read_seq");
        expected.push((at.unwrap_or_default().to_owned(), id.to_owned(), unread));
    }
    expected.sort_unstable_by(|one, other| other.cmp(one));
    let shown = inbox.iter().map(|entry| {
        let (at, id) = activity(entry);
        (at, id, entry["unread"].as_u64().unwrap_or(u64::MAX))
    });
    let shown: Vec<(String, String, u64)> = shown.collect();
    (shown != expected).then(|| format!("inbox of {candidate:?}: {shown:?}, not {expected:?}"))
}

/// Checks that `owner=me` lists exactly the caller's profiles, newest first.
async fn own_violation(
    world: &World,
    stored: &Stored,
    user: usize,
    known: &BTreeSet<String>,
) -> Option<String> {
    let (mut shown, mut before) = (Vec::new(), None);
    loop {
        let mut query = vec![("owner", "me".to_owned()), ("limit", "2".to_owned())];
        query.extend(before.map(|before: String| ("before", before)));
        let ask = Ask { function: "list-profiles", user: Some(user), query, ..Ask::default() };
        let answer = world.ask(ask).await;
        let ids = answer.results();
        shown.extend(ids.iter().filter_map(|profile| Some(profile["id"].as_str()?.to_owned())));
        let next = answer.body["next"].as_str().and_then(|next| next.split_once("before="));
        before = match next {
            Some((_, next)) => next.split('&').next().map(str::to_owned),
            None => break,
        };
    }
    let owners = stored.owners();
    // Other profiles of the user come from creations whose response was lost.
    let subject = known.first().and_then(|id| owners.get(&**id))?;
    let mine = owners.iter().filter(|(_, owner)| *owner == subject);
    let expected: Vec<&str> = mine.map(|(id, _)| *id).rev().collect();
    (shown != expected).then(|| format!("user {user} owns {expected:?}, sees {shown:?}"))
}
