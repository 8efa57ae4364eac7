//! The table's stream: a record of each committed write that the stream's mapping lets through.
//!
//! A record exists from the commit on. Reads may not see the write yet, because the items of a
//! transaction become visible one by one.

use std::time::Duration;

use serde_json::{Value, json};
use shared::table::parse_record;
use tokio::sync::mpsc::UnboundedSender;

use super::{Executed, ItemKey, Request};

/// A write of an item that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    event: &'static str,
    key: ItemKey,
    /// The time from the commit until reads see the write.
    pub settles_in: Duration,
}

impl Record {
    /// Returns a record that cannot be read.
    #[must_use]
    pub fn poisoned() -> Self {
        let key = ItemKey { pk: "CONVERSATION#x".to_owned(), sk: "MESSAGE#x".to_owned() };
        Self { event: "INSERT", key, settles_in: Duration::ZERO }
    }

    /// Returns the partition key.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.key.pk
    }

    /// Returns whether both records are about one item. The stream has them in order.
    #[must_use]
    pub fn is_of_same_item(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Returns the event and the sort key, for the trace.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} {}", self.event, self.key.sk)
    }

    /// Returns the record as `deliver` gets it.
    #[must_use]
    pub fn to_json(&self, number: usize) -> Value {
        let dynamodb = json!({ "Keys": self.key.to_json(), "SequenceNumber": number.to_string() });
        json!({ "eventName": self.event, "dynamodb": dynamodb })
    }
}

/// Executes a request, and sends the records of what it writes.
pub(super) fn record(
    records: &UnboundedSender<Record>,
    request: &Request,
    exists: impl Fn(&ItemKey) -> bool,
    execute: impl FnOnce() -> Executed,
) -> Executed {
    let before = watched_keys(request).into_iter().map(|key| (exists(&key), key));
    let before: Vec<(bool, ItemKey)> = before.collect();
    let executed = execute();
    for (before, key) in before {
        let after = exists(&key);
        send(records, key, (before, after), executed.settles_in);
    }
    executed
}

/// Returns the keys of the items that a request writes, and whose records the mapping may let through.
fn watched_keys(request: &Request) -> Vec<ItemKey> {
    let mut keys: Vec<ItemKey> = match request.operation() {
        "BatchWriteItem" => {
            let tables = request.body["RequestItems"].as_object().into_iter().flatten();
            let writes = tables.flat_map(|(_, writes)| writes.as_array().into_iter().flatten());
            writes.map(ItemKey::of_write).collect()
        }
        "TransactWriteItems" => request.written_keys(),
        _ => request.written_item().into_iter().collect(),
    };
    let matters = |sk: &str| !matches!(sk, "CONVERSATION" | "CHANGES");
    keys.retain(|key| key.pk.starts_with("CONVERSATION#") && matters(&key.sk));
    keys
}

/// Sends the record of an item that existed before a write, or after it, or both.
fn send(
    records: &UnboundedSender<Record>,
    key: ItemKey,
    existed: (bool, bool),
    settles_in: Duration,
) {
    let event = match existed {
        (false, true) => "INSERT",
        (true, false) => "REMOVE",
        (true, true) => "MODIFY",
        (false, false) => return,
    };
    if !matches!(parse_record(event, &key.pk, &key.sk), Ok(None)) {
        // The receiver is gone if nothing is delivered any more.
        let _ = records.send(Record { event, key, settles_in });
    }
}
