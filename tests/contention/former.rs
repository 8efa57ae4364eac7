//! The former algorithm, for comparison, without the SDK.
//!
//! A post was one transaction that raised `last_seq` and `points` from the values that were read. So
//! posts into one conversation excluded each other. There was no admission, no limit of transactions
//! and no rate limit. An edit was one plain update, which no follower noticed.

use std::time::Duration;

use serde_json::{Value, json};
use shared::message::is_rewarded;
use shared::table::{SHORTEST_ATTEMPT, Setback, Usage};
use shared::{ConversationId, ProfileId};
use tests::dynamodb::capacity::Capacity;
use tokio::time::{Instant, sleep};

use crate::load::{Answer, Verdict};

/// A request of the former algorithm.
pub(crate) struct Former<'d> {
    pub(crate) dynamodb: &'d Capacity,
    pub(crate) deadline: Instant,
    pub(crate) usage: Usage,
}

/// The values that a post advances.
#[derive(Clone, Copy)]
struct Basis {
    last_seq: u64,
    points: u64,
}

/// Returns the former pause: as today, but after a conflict at most 1/24 of the time left.
fn backoff(Setback { made, left, throttled }: Setback) -> Option<Duration> {
    let spare = left.checked_sub(SHORTEST_ATTEMPT)?;
    let doubled = Duration::from_millis(40).saturating_mul(2_u32.saturating_pow(made - 1));
    let bound = if throttled { left / 3 } else { doubled.min(left / 24) };
    Some(bound.min(spare).mul_f64(fastrand::f64()))
}

impl Former<'_> {
    /// Posts a message.
    pub(crate) async fn post(mut self, author: ProfileId, to: ConversationId) -> Answer {
        let (author, conversation) = (format!("PROFILE#{author}"), format!("CONVERSATION#{to}"));
        let mut known: Option<Basis> = None;
        let mut raced = false;
        loop {
            let basis = match known.take() {
                Some(basis) => basis,
                None => self.read(&author, &conversation).await,
            };
            if self.left() < SHORTEST_ATTEMPT {
                return self.answer(Verdict::Unavailable);
            }
            self.usage.transactions += 1;
            let body = transaction(basis, &author, &conversation);
            let (status, body) = self.send("TransactWriteItems", body).await;
            if status == 200 {
                return self.answer(Verdict::Stored);
            }
            // After a lost race the returned items are current, so the post continues immediately.
            // After a second one in a row it pauses and reads again.
            known = if raced { None } else { basis.after(&body) };
            raced = known.is_some();
            if !raced && !self.pause(is_throttled(&body)).await {
                return self.answer(Verdict::Unavailable);
            }
        }
    }

    /// Edits the message at `key`.
    pub(crate) async fn edit(mut self, key: Value) -> Answer {
        let request =
            json!({ "RequestItems": { "chat": { "Keys": [key], "ConsistentRead": true } } });
        self.send("BatchGetItem", request).await;
        loop {
            let request = json!({
                "TableName": "chat",
                "Key": key,
                "UpdateExpression": "SET #text = :text, edited_at = :now",
                "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(deleted_at)",
                "ExpressionAttributeNames": { "#text": "text" },
                "ExpressionAttributeValues": {
                    ":text": { "S": "Edited" },
                    ":now": { "S": self.dynamodb.now().to_string() },
                },
            });
            let (status, body) = self.send("UpdateItem", request).await;
            if status == 200 {
                return self.answer(Verdict::Stored);
            }
            if !self.pause(is_throttled(&body)).await {
                return self.answer(Verdict::Unavailable);
            }
        }
    }

    async fn read(&mut self, author: &str, conversation: &str) -> Basis {
        let keys = json!([item_key(author, "PROFILE"), item_key(conversation, "CONVERSATION")]);
        let request =
            json!({ "RequestItems": { "chat": { "Keys": keys, "ConsistentRead": true } } });
        let (_, body) = self.send("BatchGetItem", request).await;
        let items = body["Responses"]["chat"].as_array().into_iter().flatten();
        let basis = Basis { last_seq: 0, points: 0 };
        items.fold(basis, |basis, item| basis.with(item))
    }

    async fn send(&mut self, operation: &str, body: Value) -> (u16, Value) {
        self.usage.requests += 1;
        self.dynamodb.send(operation, body).await
    }

    /// Pauses. Returns whether there is time for another attempt.
    async fn pause(&self, throttled: bool) -> bool {
        let made = self.usage.transactions.max(1);
        let Some(pause) = backoff(Setback { made, left: self.left(), throttled }) else {
            return false;
        };
        sleep(pause).await;
        true
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn answer(self, verdict: Verdict) -> Answer {
        Answer { verdict, usage: self.usage }
    }
}

impl Basis {
    fn with(self, item: &Value) -> Self {
        let number = |name: &str| item[name]["N"].as_str().and_then(|number| number.parse().ok());
        Self {
            last_seq: number("last_seq").unwrap_or(self.last_seq),
            points: number("points").unwrap_or(self.points),
        }
    }

    /// Returns the values that failed conditions returned. `None` after a conflict or throttling, which
    /// return none.
    fn after(self, cancelled: &Value) -> Option<Self> {
        let reasons = cancelled["CancellationReasons"].as_array()?;
        let expected = |reason: &Value| {
            matches!(reason["Code"].as_str(), Some("None" | "ConditionalCheckFailed"))
        };
        let current = reasons.iter().fold(self, |basis, reason| basis.with(&reason["Item"]));
        reasons.iter().all(expected).then_some(current)
    }
}

/// Builds the transaction: conversation and author advance, and the new items are put.
fn transaction(basis: Basis, author: &str, conversation: &str) -> Value {
    let update = |key: Value, name: &str, old: u64, new: u64| {
        json!({ "Update": {
            "TableName": "chat",
            "Key": key,
            "UpdateExpression": format!("SET {name} = :new"),
            "ConditionExpression": format!("{name} = :old AND attribute_not_exists(deleted_at)"),
            "ExpressionAttributeValues": {
                ":old": { "N": old.to_string() },
                ":new": { "N": new.to_string() },
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        } })
    };
    let Basis { last_seq, points } = basis;
    let messages = if is_rewarded(points + 1) { 2 } else { 1 };
    let mut writes = vec![
        update(item_key(conversation, "CONVERSATION"), "last_seq", last_seq, last_seq + messages),
        update(item_key(author, "PROFILE"), "points", points, points + 1),
    ];
    for seq in last_seq + 1..=last_seq + messages {
        let mut item = item_key(conversation, &format!("MESSAGE#{seq:012}"));
        item["text"] = json!({ "S": "Contention" });
        writes.push(json!({ "Put": { "TableName": "chat", "Item": item } }));
    }
    json!({ "TransactItems": writes, "ClientRequestToken": uuid::Uuid::new_v4() })
}

fn is_throttled(error: &Value) -> bool {
    let codes = error["CancellationReasons"].as_array().into_iter().flatten();
    codes.into_iter().any(|reason| reason["Code"] == "ThrottlingError")
}

fn item_key(pk: &str, sk: &str) -> Value {
    json!({ "pk": { "S": pk }, "sk": { "S": sk } })
}
