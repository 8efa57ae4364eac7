//! The function `deliver`: sends what the records of the table's stream say to the connections.
//!
//! Each conversation of a batch is delivered by itself, so one that fails does not stop the others. The
//! failures are reported when all others are delivered; frames that are sent again do no harm.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use shared::live::ConnectionId;
use shared::table::{Batch, Notice, Parcel, Subscriber, parse_record};
use shared::{ConversationId, Error, Result, Table};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::publisher::{Posted, Publisher};

/// The conversations that are delivered at the same time.
const CONVERSATIONS: usize = 8;
/// The frames that are sent at the same time.
const POSTS: usize = 64;

/// A batch of records. Source:
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    /// Each is read by itself, so that one that cannot be read loses no other.
    #[serde(rename = "Records")]
    pub records: Vec<Value>,
}

/// What a batch says about one conversation.
struct Share {
    id: ConversationId,
    batch: Batch,
    /// The sequence number of its first record.
    first: String,
}

/// What became of the frames of a batch.
#[derive(Debug, Default)]
struct Outcome {
    sent: usize,
    gone: usize,
    throttled: usize,
    failed: usize,
    too_large: usize,
    /// The cause of the last failure.
    cause: Option<Error>,
}

/// Delivers a batch. Returns the failures in Lambda's form (`batchItemFailures`).
pub async fn deliver(table: Table, publisher: Publisher, event: StreamEvent) -> Value {
    let records = event.records.len();
    let (shares, mut failures) = group(&event.records);
    let limits = (Arc::new(Semaphore::new(CONVERSATIONS)), Arc::new(Semaphore::new(POSTS)));
    let (mut tasks, mut outcome) = (JoinSet::new(), Outcome::default());
    for Share { id, batch, first } in shares {
        let (table, publisher, limits) = (table.clone(), publisher.clone(), limits.clone());
        tasks.spawn(async move {
            let _permit = limits.0.acquire().await;
            let delivered = deliver_conversation(&table, &publisher, &limits.1, id, &batch).await;
            (first, delivered)
        });
    }
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok((_, Ok(part))) => outcome.add(part),
            Ok((first, Err(error))) => {
                tracing::error!(error = error.chain(), "conversation not delivered");
                failures.push(first);
            }
            // An empty number reports the whole batch.
            Err(_) => failures.push(String::new()),
        }
    }
    let Outcome { sent, gone, throttled, too_large, failed, .. } = outcome;
    let usage = table.usage();
    tracing::info!(
        records,
        sent,
        gone,
        throttled,
        too_large,
        failed,
        failures = failures.len(),
        requests = usage.requests,
        read_units = usage.read_units,
        write_units = usage.write_units,
        "records delivered"
    );
    let failures = failures.into_iter().map(|number| json!({ "itemIdentifier": number }));
    json!({ "batchItemFailures": failures.collect::<Vec<_>>() })
}

/// Collects what the records say about each conversation. Also returns the sequence numbers of the
/// records that cannot be read.
fn group(records: &[Value]) -> (Vec<Share>, Vec<String>) {
    let (mut shares, mut failures): (Vec<Share>, Vec<String>) = Default::default();
    for record in records {
        let number = record["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default();
        match notice(record) {
            Ok(None) => {}
            Ok(Some((id, notice))) => {
                let index = shares.iter().position(|share| share.id == id);
                let index = index.unwrap_or_else(|| {
                    let (batch, first) = (Batch::default(), number.to_owned());
                    shares.push(Share { id, batch, first });
                    shares.len() - 1
                });
                shares[index].batch.add(notice);
            }
            Err(error) => {
                tracing::error!(error, "record not readable");
                failures.push(number.to_owned());
            }
        }
    }
    (shares, failures)
}

fn notice(record: &Value) -> Result<Option<(ConversationId, Notice)>, &'static str> {
    let keys = &record["dynamodb"]["Keys"];
    let part = |name: &str| keys[name]["S"].as_str().ok_or("a record without its key");
    let event = record["eventName"].as_str().ok_or("a record without its event")?;
    parse_record(event, part("pk")?, part("sk")?)
}

/// Delivers what happened in one conversation.
///
/// # Errors
/// The table could not be read, or no frame could be sent.
async fn deliver_conversation(
    table: &Table,
    publisher: &Publisher,
    posts: &Arc<Semaphore>,
    id: ConversationId,
    batch: &Batch,
) -> Result<Outcome> {
    let parcels = table.delivery(id, batch).await?;
    let mut tasks = JoinSet::new();
    let mut removed: Vec<Subscriber> = Vec::new();
    for Parcel { frames, to, last } in parcels {
        let frames: Arc<[String]> = frames.into();
        for subscriber in to {
            let (publisher, posts, frames) = (publisher.clone(), posts.clone(), frames.clone());
            if last {
                removed.push(subscriber.clone());
            }
            tasks.spawn(async move {
                let _permit = posts.acquire().await;
                let posted = post_all(&publisher, &subscriber.connection, &frames).await;
                (subscriber, posted)
            });
        }
    }
    let mut outcome = Outcome::default();
    while let Some(task) = tasks.join_next().await {
        let (subscriber, posted) = task.map_err(Error::internal)?;
        if matches!(posted, Ok(Posted::Gone)) {
            removed.push(subscriber);
        }
        outcome.count(posted);
    }
    table.remove_subscriptions(removed).await?;
    match outcome.cause.take() {
        Some(cause) if outcome.sent == 0 => Err(cause),
        _ => Ok(outcome),
    }
}

/// Sends frames in their order, until one is not sent.
async fn post_all(
    publisher: &Publisher,
    connection: &ConnectionId,
    frames: &[String],
) -> Result<Posted> {
    for frame in frames {
        match publisher.post(connection, frame).await? {
            Posted::Sent => {}
            posted => return Ok(posted),
        }
    }
    Ok(Posted::Sent)
}

impl Outcome {
    fn count(&mut self, posted: Result<Posted>) {
        match posted {
            Ok(Posted::Sent) => self.sent += 1,
            Ok(Posted::Gone) => self.gone += 1,
            Ok(Posted::Throttled) => self.throttled += 1,
            Ok(Posted::TooLarge) => self.too_large += 1,
            Err(error) => {
                self.failed += 1;
                self.cause = Some(error);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.gone += other.gone;
        self.throttled += other.throttled;
        self.too_large += other.too_large;
        self.failed += other.failed;
    }
}
