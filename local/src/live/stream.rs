//! The table's stream: records of the writes that the embedded engine has executed.
//!
//! The engine has a stream of its own, but it makes each write slower the more records it has.

use std::future::Future;
use std::time::Duration;

use functions::live::StreamEvent;
use serde_json::{Value, json};
use shared::table::parse_record;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

/// The time from one batch to the next.
const INTERVAL: Duration = Duration::from_millis(250);
/// The most records of a batch.
const BATCH: usize = 1000;

/// Where the engine sends records.
#[derive(Clone, Debug)]
pub struct Tap(UnboundedSender<Value>);

/// The records of a [`Tap`].
#[derive(Debug)]
pub struct Records(UnboundedReceiver<Value>);

/// Creates a stream.
#[must_use]
pub fn stream() -> (Tap, Records) {
    let (sender, receiver) = unbounded_channel();
    (Tap(sender), Records(receiver))
}

impl Tap {
    /// Sends the records of a request that has been executed.
    pub(crate) fn record(&self, operation: &str, body: &[u8]) {
        if !["PutItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"].contains(&operation) {
            return;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        for record in records(operation, &body) {
            // The receiver is gone if nothing is delivered.
            let _ = self.0.send(record);
        }
    }
}

/// Returns the records of a write that live delivery receives.
fn records(operation: &str, body: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let writes: Vec<(&str, Value)> = match operation {
        "PutItem" => vec![("Put", body.clone())],
        "DeleteItem" => vec![("Delete", body.clone())],
        "TransactWriteItems" => {
            let items = list(&body["TransactItems"]);
            let put = items.iter().map(|item| ("Put", item["Put"].clone()));
            put.chain(items.iter().map(|item| ("Delete", item["Delete"].clone()))).collect()
        }
        _ => {
            let tables = body["RequestItems"].as_object().into_iter().flatten();
            let items: Vec<Value> = tables.flat_map(|(_, items)| list(items)).collect();
            let put = items.iter().map(|item| ("Put", item["PutRequest"].clone()));
            put.chain(items.iter().map(|item| ("Delete", item["DeleteRequest"].clone()))).collect()
        }
    };
    writes.iter().filter_map(|(kind, write)| record(kind, write)).collect()
}

/// Returns the record of one write; `None` if the mapping of the stream filters it out.
fn record(kind: &str, write: &Value) -> Option<Value> {
    let condition = write["ConditionExpression"].as_str();
    let (event, item) = match kind {
        "Delete" => ("REMOVE", &write["Key"]),
        // A put with another condition replaces an item.
        _ if condition.is_none_or(|text| text.contains("attribute_not_exists(pk)")) => {
            ("INSERT", &write["Item"])
        }
        _ => return None,
    };
    let (pk, sk) = (item["pk"]["S"].as_str()?, item["sk"]["S"].as_str()?);
    if matches!(parse_record(event, pk, sk), Ok(None)) {
        return None;
    }
    let keys = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
    Some(json!({ "eventName": event, "dynamodb": { "Keys": keys, "SequenceNumber": "1" } }))
}

/// Delivers records in batches, one after the other, at most four a second.
pub(super) async fn run<F>(records: Records, deliver: impl Fn(StreamEvent) -> F)
where
    F: Future<Output = ()>,
{
    let Records(mut receiver) = records;
    loop {
        let mut records = Vec::new();
        if receiver.recv_many(&mut records, BATCH).await == 0 {
            return;
        }
        let next = Instant::now() + INTERVAL;
        deliver(StreamEvent { records }).await;
        sleep_until(next).await;
    }
}
