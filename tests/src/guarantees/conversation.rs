//! The guarantees that the messages of one conversation show.

use std::collections::HashMap;

use serde_json::{Value, json};

/// Checks that `seq` counts 1, 2, 3 … up to `last_seq`.
pub(super) fn sequence_violations(messages: &[Value], last_seq: u64) -> Vec<String> {
    let pairs = messages.iter().zip(1_u64..);
    let wrong = pairs.filter(|(message, seq)| message["seq"] != *seq);
    let mut violations: Vec<String> =
        wrong.map(|(message, seq)| format!("seq {} in place of {seq}", message["seq"])).collect();
    if last_seq != messages.len() as u64 {
        violations.push(format!("last_seq {last_seq} of {} messages", messages.len()));
    }
    violations
}

/// Checks that each tenth point is followed by its congratulation, and nothing else is.
pub(super) fn reward_violations(messages: &[Value]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut due: Option<Value> = None;
    for message in messages {
        let expected = due.take();
        if message["type"] == "action" {
            if expected.as_ref() != Some(&message["metadata"]) || !message["author_id"].is_null() {
                violations.push(format!("a congratulation that is not due: {message}"));
            }
            continue;
        }
        if let Some(expected) = expected {
            violations.push(format!("no congratulation {expected}"));
        }
        if message["type"] == "void" {
            continue;
        }
        let (author, points) = (&message["author_id"], &message["points"]);
        due = is_tenth(message).then(|| json!({ "profile_id": author, "points": points }));
    }
    violations.extend(due.map(|due| format!("no congratulation {due}")));
    violations
}

/// Checks that a client that polled saw each message once, in order.
pub(super) fn polling_violation(polled: &[Value], messages: &[Value]) -> Option<String> {
    let identity = |message: &Value| {
        (message["seq"].clone(), message["points"].clone(), message["author_id"].clone())
    };
    if polled.iter().map(identity).eq(messages.iter().map(identity)) {
        return None;
    }
    let seqs: Vec<&Value> = polled.iter().map(|message| &message["seq"]).collect();
    Some(format!("a poller saw {seqs:?} of {} messages", messages.len()))
}

/// Returns the message at a place.
pub(super) fn at(messages: &[Value], seq: u64) -> Option<&Value> {
    messages.get(usize::try_from(seq).ok()?.checked_sub(1)?)
}

pub(super) fn is_tenth(message: &Value) -> bool {
    message["points"].as_u64().is_some_and(|points| points > 0 && points.is_multiple_of(10))
}

/// Fails unless the messages of a conversation, read in full, hold the guarantees that one
/// conversation can show: no gap, no duplicate, points from 1 for each author, and a congratulation
/// for each tenth.
#[track_caller]
pub fn check_conversation(messages: &[Value]) {
    let mut violations = sequence_violations(messages, messages.len() as u64);
    violations.extend(reward_violations(messages));
    let mut points: HashMap<&str, Vec<u64>> = HashMap::new();
    for message in messages.iter().filter(|message| message["type"] == "text") {
        let author = message["author_id"].as_str().unwrap_or_default();
        points.entry(author).or_default().extend(message["points"].as_u64());
    }
    for (author, mut points) in points {
        points.sort_unstable();
        if !points.iter().copied().eq(1..=points.len() as u64) {
            violations.push(format!("author {author}: points {points:?}"));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
