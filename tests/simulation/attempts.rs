//! Requests to change a message, a conversation or a profile, and the checks that no late attempt
//! undoes a later change.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::Instant;

use crate::observed::{Observed, value};
use crate::requests::{Answer, Ask};
use crate::stored::Stored;
use crate::world::World;

/// A request to change or delete something.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The thing that it changes, as in [`Observed`].
    thing: String,
    /// The new value, different in every request; `None`: a deletion.
    value: Option<String>,
    /// The version in `If-Match`.
    expected: Option<u64>,
    started: Instant,
    ended: Instant,
    pub(crate) outcome: Outcome,
}

/// The response to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Stored as this version. A deletion does not say which.
    Confirmed(Option<u64>),
    /// This request stored nothing.
    Refused(u16),
    /// It may be stored.
    Unknown,
}

/// Sends a request that changes something, and records it.
pub(crate) async fn attempt(
    world: &World,
    ask: Ask,
    thing: &str,
    value: Option<String>,
) -> (Outcome, Answer) {
    let (started, expected, function) = (Instant::now(), ask.expected, ask.function);
    let hidden = world.is_hidden(&ask);
    let by_user = ask.user.is_some();
    let answer = world.ask(ask).await;
    let version = answer.body["change"].as_u64().or(answer.body["version"].as_u64());
    let outcome = match answer.status {
        200 => Outcome::Confirmed(version),
        204 => Outcome::Confirmed(None),
        // A user who may not see the conversation, or not change this.
        404 if hidden => Outcome::Refused(403),
        403 if by_user => Outcome::Refused(403),
        412 if expected.is_some() => Outcome::Refused(412),
        status @ (404 | 409 | 503) => Outcome::Refused(status),
        500 => Outcome::Unknown,
        _ => {
            world.violation(format!("{function}: {answer:?}"));
            Outcome::Unknown
        }
    };
    let (thing, ended) = (thing.to_owned(), Instant::now());
    world.known().attempts.push(Attempt { thing, value, expected, started, ended, outcome });
    (outcome, answer)
}

/// Returns everything that does not hold for the attempts.
pub(crate) fn violations(
    attempts: &[Attempt],
    observed: &Observed,
    stored: &Stored,
) -> Vec<String> {
    let mut things: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        things.entry(&attempt.thing).or_default().push(attempt);
    }
    let mut violations = Vec::new();
    for (thing, attempts) in things {
        let history = History { thing, attempts, observed, stored };
        let here = history.value_violations().into_iter();
        let here = here.chain(history.order_violations()).chain(history.refusal_violations());
        let here = here.chain(history.count_violations());
        violations.extend(here.map(|what| format!("{thing}: {what}")));
    }
    violations
}

/// All attempts at one thing, and what it was.
struct History<'h> {
    thing: &'h str,
    attempts: Vec<&'h Attempt>,
    observed: &'h Observed,
    stored: &'h Stored,
}

impl History<'_> {
    /// Returns the versions that show the value of an attempt.
    fn versions(&self, attempt: &Attempt) -> Vec<u64> {
        let shows = |content: &Value| attempt.value.is_some() && value(content) == attempt.value();
        let contents = self.observed.contents(self.thing);
        contents.filter(|(_, content)| shows(content)).map(|(version, _)| version).collect()
    }

    /// Checks that each version shows the value of a request that was not refused, each value once.
    fn value_violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for (version, content) in self.observed.contents(self.thing) {
            let value = value(content);
            let mut those = self.attempts.iter().filter(|attempt| attempt.value() == value);
            let known = self.attempts.iter().any(|attempt| attempt.value() == value);
            let possible = those.any(|attempt| attempt.may_be_stored());
            let is_first = version == self.stored.first_version(self.thing);
            if (known || !is_first) && !possible {
                violations.push(format!("version {version} is {value:?}, which no request set"));
            }
        }
        for attempt in &self.attempts {
            let versions = self.versions(attempt);
            let wrong = match attempt.outcome {
                Outcome::Confirmed(Some(version)) => versions != [version],
                _ => versions.len() > 1,
            };
            if wrong {
                violations.push(format!("shown as {versions:?}: {attempt:?}"));
            }
        }
        violations
    }

    /// Checks that a request that began after another had ended was stored after it.
    fn order_violations(&self) -> Vec<String> {
        let version = |attempt: &Attempt| self.versions(attempt).first().copied();
        let placed: Vec<(&Attempt, u64)> =
            self.attempts.iter().filter_map(|one| Some((*one, version(one)?))).collect();
        let mut violations = Vec::new();
        for (early, first) in &placed {
            let late = placed.iter().filter(|(late, _)| late.started > early.ended);
            for (late, second) in late.filter(|(_, second)| second < first) {
                violations.push(format!("{first} and {second}: {early:?} undid {late:?}"));
            }
        }
        violations
    }

    /// Checks that 412 and 409 have a reason, and that `If-Match` was kept.
    fn refusal_violations(&self) -> Vec<String> {
        let changes = self.stored.changes(self.thing);
        let is_deleted = self.attempts.iter().any(|attempt| attempt.value.is_none());
        let mut violations = Vec::new();
        for attempt in &self.attempts {
            let holds = match (attempt.outcome, attempt.expected, &changes) {
                (Outcome::Refused(412), Some(expected), Some(changes)) => {
                    let next = changes.iter().find(|change| **change > expected);
                    next.is_some_and(|next| !self.versions(attempt).contains(next))
                }
                (Outcome::Refused(409), ..) => is_deleted && attempt.value.is_some(),
                (Outcome::Confirmed(Some(version)), Some(expected), Some(changes)) => {
                    let before = changes.iter().rev().find(|change| **change < version);
                    let first = self.stored.first_version(self.thing);
                    before.copied().unwrap_or(first) == expected
                }
                (Outcome::Refused(404), ..) => changes.is_none(),
                _ => true,
            };
            if !holds {
                violations.push(format!("{attempt:?} without a reason, changes {changes:?}"));
            }
        }
        violations
    }

    /// Checks that the versions count the stored changes.
    fn count_violations(&self) -> Option<String> {
        let stored = self.stored.changes(self.thing)?.len();
        let count = |outcome: fn(Outcome) -> bool| {
            self.attempts.iter().filter(|attempt| outcome(attempt.outcome)).count()
        };
        let least = count(|outcome| matches!(outcome, Outcome::Confirmed(Some(_))));
        let unknown = count(|outcome| outcome == Outcome::Unknown);
        // Deleting twice is confirmed twice and stored once.
        let deletions = count(|outcome| outcome == Outcome::Confirmed(None)).min(1);
        let counts = least..=least + unknown + deletions;
        (!counts.contains(&stored)).then(|| format!("{stored} changes instead of {counts:?}"))
    }
}

impl Attempt {
    /// A change that was stored before a deletion may be answered with 404.
    fn may_be_stored(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused(status) if status != 404)
    }

    fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}
