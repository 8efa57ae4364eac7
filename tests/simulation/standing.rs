//! Requests to change the members of conversations, and what follows from them: when a user
//! certainly may, and when certainly may not, see a private conversation.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};
use tests::dynamodb::invocations::Crash;
use tokio::time::Instant;

use crate::requests::{Answer, Ask};
use crate::world::World;

/// After an unknown outcome, a request is stored within this time or never.
const LATENESS: Duration = Duration::from_secs(10);

/// A profile that can be a member.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    /// The user who owns it.
    pub(crate) owner: usize,
}

/// A request to change a member.
#[derive(Clone, Debug)]
pub(crate) struct MemberRequest {
    pub(crate) conversation: usize,
    pub(crate) candidate: Candidate,
    /// The caller.
    by: Option<usize>,
    pub(crate) change: MemberChange,
    pub(crate) outcome: MemberOutcome,
    started: Instant,
    ended: Instant,
}

/// What a request changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberChange {
    /// Add the profile or set its role, if the request names one.
    Put(Option<&'static str>),
    Remove,
}

/// The response to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberOutcome {
    /// 201.
    Added,
    /// 200.
    Present,
    /// 204.
    Removed,
    /// It stored nothing.
    Refused,
    /// It may be stored.
    Unknown,
}

impl MemberRequest {
    /// Returns when it is stored at the latest.
    fn over(&self) -> Instant {
        match self.outcome {
            MemberOutcome::Unknown => self.ended + LATENESS,
            _ => self.ended,
        }
    }

    /// Returns whether it has an effect that clients can rely on.
    fn is_confirmed(&self) -> bool {
        !matches!(self.outcome, MemberOutcome::Refused | MemberOutcome::Unknown)
    }

    fn may_add(&self) -> bool {
        self.change != MemberChange::Remove && self.outcome != MemberOutcome::Refused
    }

    fn may_remove(&self) -> bool {
        self.change == MemberChange::Remove && self.outcome != MemberOutcome::Refused
    }

    /// Returns whether this role, or `None` for no member, can be its effect.
    fn may_cause(&self, role: Option<&str>) -> bool {
        match self.change {
            _ if self.outcome == MemberOutcome::Refused => false,
            MemberChange::Remove => role.is_none(),
            MemberChange::Put(named) => role == Some(named.unwrap_or("member")),
        }
    }

    /// Returns whether this role, or `None` for no member, cannot be what it left.
    fn excludes(&self, role: Option<&str>) -> bool {
        match self.change {
            _ if !self.is_confirmed() => false,
            MemberChange::Remove => role.is_some(),
            MemberChange::Put(named) => role.is_none() || named.is_some() && named != role,
        }
    }
}

/// Sends a request to change a member, and records it.
pub(crate) async fn change_member(
    world: &World,
    by: Option<usize>,
    conversation: usize,
    candidate: &Candidate,
    change: MemberChange,
) -> Answer {
    let path = vec![world.path(conversation), ("profile_id", candidate.id.clone())];
    let (function, body) = match change {
        MemberChange::Put(None) => ("put-member", Value::Null),
        MemberChange::Put(Some(role)) => ("put-member", json!({ "role": role })),
        MemberChange::Remove => ("delete-member", Value::Null),
    };
    let started = Instant::now();
    let ask = Ask { function, user: by, path, body, ..Ask::default() };
    // Whoever may not see a conversation must not have an unknown outcome, which would count as a
    // member.
    let crash = match world.may_hide(conversation, by) {
        true => Crash::Never,
        false => world.draw_crash(function),
    };
    let answer = world.ask_until(ask, crash).await;
    let outcome = match answer.status {
        201 => MemberOutcome::Added,
        200 => MemberOutcome::Present,
        204 => MemberOutcome::Removed,
        500 => MemberOutcome::Unknown,
        status => {
            let moderates = by.is_none_or(|user| user == world.owner(conversation));
            let allowed = match status {
                503 => true,
                404 => world.is_deleted(conversation) || world.may_hide(conversation, by),
                403 => !moderates,
                422 => world.known().ended_profiles.contains_key(&candidate.id),
                _ => false,
            };
            if !allowed {
                world.violation(format!("{function} by {by:?}: {answer:?}"));
            }
            MemberOutcome::Refused
        }
    };
    let (candidate, ended) = (candidate.clone(), Instant::now());
    let request = MemberRequest { conversation, candidate, by, change, outcome, started, ended };
    world.known().member_requests.push(request);
    answer
}

/// What is certain about who may see the private conversations.
pub(crate) struct Standings<'w> {
    pub(crate) world: &'w World,
    pub(crate) requests: Vec<MemberRequest>,
    /// When the deletion of profiles began.
    pub(crate) ended_profiles: HashMap<String, Instant>,
}

impl Standings<'_> {
    /// Returns the requests about a user's profiles in a conversation, by profile. Those that the
    /// user sent at `own` are left out: nobody lets themselves in.
    fn by_profile(
        &self,
        conversation: usize,
        user: usize,
        own: Option<Instant>,
    ) -> Vec<Vec<&MemberRequest>> {
        let here = self.requests.iter().filter(|request| {
            let is_own = request.by == Some(user) && own == Some(request.started);
            request.conversation == conversation && request.candidate.owner == user && !is_own
        });
        let mut profiles: BTreeMap<&str, Vec<&MemberRequest>> = BTreeMap::new();
        for request in here {
            profiles.entry(&request.candidate.id).or_default().push(request);
        }
        profiles.into_values().collect()
    }

    /// Returns whether a user certainly could not see a private conversation between these times.
    pub(crate) fn is_out(
        &self,
        conversation: usize,
        user: usize,
        (from, to): (Instant, Instant),
        own: Instant,
    ) -> bool {
        let is_absent = |requests: &Vec<&MemberRequest>| {
            let mut removals = requests
                .iter()
                .filter(|one| one.outcome == MemberOutcome::Removed && one.ended < from);
            let added = |since: Option<Instant>| {
                requests
                    .iter()
                    .filter(|one| one.may_add())
                    .any(|one| one.started <= to && since.is_none_or(|since| one.over() >= since))
            };
            !added(None) || removals.any(|removal| !added(Some(removal.started)))
        };
        self.world.owner(conversation) != user
            && self.by_profile(conversation, user, Some(own)).iter().all(is_absent)
    }

    /// Returns whether a user certainly could see a private conversation between these times.
    pub(crate) fn is_in(
        &self,
        conversation: usize,
        user: usize,
        (from, to): (Instant, Instant),
    ) -> bool {
        let is_present = |requests: &Vec<&MemberRequest>| {
            let ended = self.ended_profiles.get(&requests[0].candidate.id);
            let mut additions = requests
                .iter()
                .filter(|one| one.outcome == MemberOutcome::Added && one.ended < from);
            let removed = |since: Instant| {
                let mut removals = requests.iter().filter(|one| one.may_remove());
                removals.any(|one| one.started <= to && one.over() >= since)
            };
            ended.is_none_or(|ended| *ended > to)
                && additions.any(|addition| !removed(addition.started))
        };
        self.world.owner(conversation) == user
            || self.by_profile(conversation, user, None).iter().any(is_present)
    }

    /// Returns whether a profile may be what it is in the end: a role, or `None` for no member.
    pub(crate) fn may_end_as(
        &self,
        conversation: usize,
        profile: &str,
        first: Option<&str>,
        role: Option<&str>,
    ) -> bool {
        let here = self
            .requests
            .iter()
            .filter(|one| one.conversation == conversation && one.candidate.id == profile);
        let here: Vec<&MemberRequest> = here.collect();
        let excluded_after = |time: Option<Instant>| {
            here.iter().any(|one| one.excludes(role) && time.is_none_or(|time| one.started > time))
        };
        (first == role && !excluded_after(None))
            || here.iter().any(|one| one.may_cause(role) && !excluded_after(Some(one.over())))
    }
}
