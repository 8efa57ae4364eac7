//! The contents that responses show: each version of a message, conversation or profile has one
//! content, and no answer goes back in time.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use tokio::time::Instant;

/// The contents that the responses showed.
#[derive(Default)]
pub(crate) struct Observed {
    things: HashMap<String, Thing>,
}

/// A message, conversation or profile.
#[derive(Default)]
struct Thing {
    /// The content of each version.
    contents: BTreeMap<u64, Value>,
    /// The highest version shown so far, with the time of the response; both rise.
    shown: Vec<(Instant, u64)>,
}

/// Returns what identifies a message here.
pub(crate) fn message_id(conversation_id: &str, seq: u64) -> String {
    format!("{conversation_id}/{seq}")
}

/// Returns a message without what is read from other items.
pub(crate) fn content(message: &Value) -> Value {
    let names = [
        "seq",
        "type",
        "author_id",
        "text",
        "metadata",
        "points",
        "change",
        "created_at",
        "edited_at",
        "deleted_at",
    ];
    names.iter().map(|name| ((*name).to_owned(), message[*name].clone())).collect()
}

impl Observed {
    /// Records the response to a request that was sent at `started`. Returns what contradicts
    /// earlier responses.
    pub(crate) fn record(&mut self, started: Instant, body: &Value) -> Vec<String> {
        let mut violations = Vec::new();
        if let Some(change) = body["change"].as_u64() {
            let id = body["conversation_id"].as_str().unwrap_or_default();
            let id = message_id(id, body["seq"].as_u64().unwrap_or_default());
            violations.extend(self.add(started, id, change, content(body)));
            violations.extend(self.record(started, &body["reward"]));
        } else if let (Some(joined_at), Some(read_seq)) =
            (body["joined_at"].as_str(), body["read_seq"].as_u64())
        {
            // A read position counts as a version, so it never goes back.
            let [conversation, profile] = ["conversation_id", "profile_id"]
                .map(|name| body[name].as_str().unwrap_or_default());
            let id = format!("{profile} in {conversation} since {joined_at}");
            violations.extend(self.add(started, id, read_seq, Value::Null));
            violations.extend(unread_violation(body));
        } else if let (Some(id), Some(version)) = (body["id"].as_str(), body["version"].as_u64()) {
            let names = ["subject", "first_name", "last_name", "job_title"];
            let names = names.iter().filter(|name| body[**name].is_string());
            let content = names.map(|name| ((*name).to_owned(), body[*name].clone())).collect();
            violations.extend(self.add(started, id.to_owned(), version, content));
            violations.extend(self.record(started, &body["messages"]));
        } else if let Some(results) = body["results"].as_array() {
            for result in results {
                violations.extend(self.record(started, result));
            }
            violations.extend(self.record(started, &body["conversation"]));
        }
        violations
    }

    fn add(&mut self, started: Instant, id: String, version: u64, new: Value) -> Vec<String> {
        let mut violations = Vec::new();
        let thing = self.things.entry(id.clone()).or_default();
        let before = thing.shown.iter().rev().find(|(shown_at, _)| *shown_at < started);
        if let Some((_, earlier)) = before.filter(|(_, earlier)| *earlier > version) {
            violations.push(format!("{id}: version {version} after {earlier}"));
        }
        if thing.shown.last().is_none_or(|(_, highest)| *highest < version) {
            thing.shown.push((Instant::now(), version));
        }
        let known = thing.contents.entry(version).or_insert_with(|| new.clone());
        if *known != new {
            violations.push(format!("{id}: version {version} is {known} and {new}"));
        }
        violations
    }

    /// Returns the contents that responses showed, by version.
    pub(crate) fn contents(&self, id: &str) -> impl Iterator<Item = (u64, &Value)> {
        let contents = self.things.get(id).map(|thing| &thing.contents);
        contents.into_iter().flatten().map(|(version, content)| (*version, content))
    }

    /// Returns the highest version that a response showed.
    pub(crate) fn version(&self, id: &str) -> Option<u64> {
        Some(self.things.get(id)?.shown.last()?.1)
    }
}

/// Checks the unread messages of an entry of an inbox.
fn unread_violation(body: &Value) -> Option<String> {
    let last_seq = body["conversation"]["last_seq"].as_u64()?;
    let unread = last_seq.saturating_sub(body["read_seq"].as_u64()?);
    (body["unread"] != unread).then(|| format!("unread is not {unread}: {body}"))
}

/// Returns the value that requests change; `None` if the message is deleted.
pub(crate) fn value(content: &Value) -> Option<&str> {
    if content["deleted_at"].is_string() {
        return None;
    }
    ["text", "subject", "job_title"].iter().find_map(|name| content[*name].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_response_that_goes_back_in_time_is_found() {
        let message = |change: u64, text: &str| json!({ "conversation_id": "c", "seq": 1, "change": change, "text": text });
        let mut observed = Observed::default();
        let started = Instant::now();
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        assert_eq!(observed.record(started, &message(2, "new")), Vec::<String>::new());
        // It overlaps the first request.
        assert_eq!(observed.record(started, &message(0, "old")), Vec::<String>::new());
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        let late = observed.record(Instant::now(), &message(1, "between"));
        assert_eq!(late, ["c/1: version 1 after 2"]);
        let other = observed.record(started, &message(2, "other"));
        assert!(other[0].starts_with("c/1: version 2 is"), "{other:?}");
    }
}
