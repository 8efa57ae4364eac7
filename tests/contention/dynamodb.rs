//! DynamoDB as it behaves when transactions meet: its conflict rule, its latencies and the limit of a partition, on top of the
//! embedded engine, which has none of them.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dynoxide::Database;
use fastrand::Rng;
use local::engine;
use serde_json::{Value, json};
use shared::Table;
use tokio::time::{Instant, sleep};

/// A latency: its median and its 99th percentile, in seconds, of a lognormal distribution.
type Latency = (f64, f64);
/// A transaction's. Published measurements give medians of 16 to 25 ms and a 99th percentile of 90 ms.
const TRANSACTION: Latency = (0.020, 0.090);
/// A read's.
const READ: Latency = (0.005, 0.020);
/// How many write units one partition takes in a second. A bucket holds as many; DynamoDB itself often grants more for a while.
const PARTITION: f64 = 1000.0;
/// What the write of one item of up to 1 KB costs in a transaction, also in one that is cancelled.
const UNITS: f64 = 2.0;

/// A DynamoDB to measure against, in the virtual time of the runtime it is used in.
#[derive(Clone)]
pub(crate) struct DynamoDb(Arc<Inner>);

struct Inner {
    engine: Database,
    state: Mutex<State>,
}

struct State {
    random: Rng,
    /// Items that a transaction under way writes, by key, with what a read still sees of them.
    held: HashMap<String, Option<Value>>,
    /// Write units left, and when that was so, by partition key.
    partitions: HashMap<String, (f64, Instant)>,
    spent: Spent,
}

/// What has been sent so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) transactions: u32,
    pub(crate) units: f64,
}

/// A status and a body.
type Answer = (u16, Value);

impl DynamoDb {
    pub(crate) fn new(seed: u64) -> Self {
        let random = Rng::with_seed(seed);
        let state = State {
            random,
            held: HashMap::new(),
            partitions: HashMap::new(),
            spent: Spent::default(),
        };
        Self(Arc::new(Inner {
            engine: Database::memory().expect("a database"),
            state: Mutex::new(state),
        }))
    }

    /// The service's own table on this DynamoDB.
    pub(crate) fn table(&self) -> Table {
        let dynamodb = self.clone();
        let client = engine::answered_by(move |target, body| {
            // In a task of its own: what has been sent is carried out, though nobody waits for the answer any longer.
            let answer = tokio::spawn(dynamodb.clone().answer(target, body));
            async { answer.await.ok().map(|(status, body)| (status, body.to_string())) }
        });
        Table::with_http_client(client, "chat")
    }

    pub(crate) fn spent(&self) -> Spent {
        self.state().spent
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic")
    }

    fn latency(&self, (median, p99): Latency) -> Duration {
        let random = &mut self.state().random;
        // Box and Muller: two even draws make a normal one. 2.326 standard deviations above the mean is the 99th percentile.
        let normal = (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (TAU * random.f64()).cos();
        Duration::from_secs_f64(median * ((p99 / median).ln() / 2.326 * normal).exp())
    }

    async fn answer(self, target: String, body: Vec<u8>) -> Answer {
        let request = serde_json::from_slice(&body).expect("JSON");
        match target.rsplit('.').next() {
            Some("TransactWriteItems") => self.transact(request).await,
            Some("BatchGetItem") => self.read(request).await,
            _ => self.carry_out(&target, &request),
        }
    }

    fn carry_out(&self, target: &str, request: &Value) -> Answer {
        let (status, answer) =
            engine::answer(&self.0.engine, target, request.to_string().as_bytes());
        (status, serde_json::from_str(&answer).expect("JSON"))
    }

    /// A read in the middle of its latency: what a transaction under way writes is not there yet.
    async fn read(&self, request: Value) -> Answer {
        let latency = self.latency(READ) / 2;
        sleep(latency).await;
        let (status, mut answer) = self.carry_out("DynamoDB_20120810.BatchGetItem", &request);
        for items in
            answer["Responses"].as_object_mut().into_iter().flat_map(|tables| tables.values_mut())
        {
            let held = &self.state().held;
            for item in items.as_array_mut().into_iter().flatten() {
                if let Some(Some(before)) = held.get(&key(item)) {
                    *item = before.clone();
                }
            }
        }
        sleep(latency).await;
        (status, answer)
    }

    /// A transaction holds its items from its arrival until it is answered, and is cancelled when another holds one. What is
    /// cancelled needs one of the protocol's two rounds.
    async fn transact(&self, request: Value) -> Answer {
        let latency = self.latency(TRANSACTION);
        let writes: Vec<Value> =
            request["TransactItems"].as_array().expect("writes").iter().map(written).collect();
        let reasons = self.state().refuse(&writes);
        if reasons.iter().any(|reason| *reason != "None") {
            sleep(latency / 2).await;
            let reasons: Vec<Value> =
                reasons.iter().map(|reason| json!({ "Code": reason })).collect();
            let error = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
            return (
                400,
                json!({ "__type": error, "Message": "Transaction cancelled", "CancellationReasons": reasons }),
            );
        }
        let before: Vec<(String, Option<Value>)> =
            writes.iter().map(|write| (key(write), self.stored(write))).collect();
        let answer = self.carry_out("DynamoDB_20120810.TransactWriteItems", &request);
        if answer.0 != 200 {
            sleep(latency / 2).await;
            return answer;
        }
        self.state().held.extend(before.iter().cloned());
        sleep(latency).await;
        let held = &mut self.state().held;
        for (key, _) in before {
            held.remove(&key);
        }
        answer
    }

    fn stored(&self, write: &Value) -> Option<Value> {
        let keys = json!([{ "pk": write["pk"], "sk": write["sk"] }]);
        let request = json!({ "RequestItems": { "chat": { "Keys": keys } } });
        self.carry_out("DynamoDB_20120810.BatchGetItem", &request).1["Responses"]["chat"]
            .get(0)
            .cloned()
    }
}

impl State {
    /// Why each of these writes is refused before its condition is looked at: `None` where it is not.
    fn refuse(&mut self, writes: &[Value]) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        self.spent.transactions += 1;
        for write in writes {
            let partition = write["pk"]["S"].as_str().expect("a partition key").to_owned();
            let (left, since) =
                self.partitions.entry(partition).or_insert_with(|| (PARTITION, Instant::now()));
            *left = (*left + since.elapsed().as_secs_f64() * PARTITION).min(PARTITION);
            *since = Instant::now();
            if *left < UNITS {
                reasons.push("ThrottlingError");
                continue;
            }
            *left -= UNITS;
            self.spent.units += UNITS;
            reasons.push(if self.held.contains_key(&key(write)) {
                "TransactionConflict"
            } else {
                "None"
            });
        }
        reasons
    }
}

/// The item, or the key of the item, that an element of a transaction writes.
fn written(element: &Value) -> Value {
    let put = element.get("Put").map(|put| &put["Item"]);
    put.or_else(|| element.get("Update").map(|update| &update["Key"]))
        .expect("a Put or an Update")
        .clone()
}

fn key(item: &Value) -> String {
    format!("{} {}", item["pk"]["S"], item["sk"]["S"])
}
