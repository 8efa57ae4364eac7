//! DynamoDB as it behaves when transactions meet: its conflict rule, its latencies and the limit of a partition, on top of the
//! embedded engine, which has none of them.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_dynamodb::config::{Credentials, HttpClient, Region, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use dynoxide::Database;
use dynoxide::errors::DynoxideError;
use fastrand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
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
        let state = State { random, held: HashMap::new(), partitions: HashMap::new(), spent: Spent::default() };
        Self(Arc::new(Inner { engine: Database::memory().expect("a database"), state: Mutex::new(state) }))
    }

    /// The service's own table on this DynamoDB.
    pub(crate) fn table(&self) -> Table {
        let config = shared::table::config()
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .http_client(self.clone());
        Table::new(config.build(), "chat")
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

    async fn answer(self, operation: String, request: Value) -> Answer {
        let engine = &self.0.engine;
        match operation.as_str() {
            "TransactWriteItems" => self.transact(request).await,
            "BatchGetItem" => self.read(request).await,
            "CreateTable" => run(request, |request| engine.create_table(request)),
            "UpdateTimeToLive" => run(request, |request| engine.update_time_to_live(request)),
            _ => panic!("posting does not send {operation}"),
        }
    }

    /// A read in the middle of its latency: what a transaction under way writes is not there yet.
    async fn read(&self, request: Value) -> Answer {
        let latency = self.latency(READ) / 2;
        sleep(latency).await;
        let (status, mut answer) = run(request, |request| self.0.engine.batch_get_item(request));
        for items in answer["Responses"].as_object_mut().into_iter().flat_map(|tables| tables.values_mut()) {
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
        let writes: Vec<Value> = request["TransactItems"].as_array().expect("writes").iter().map(written).collect();
        let reasons = self.state().refuse(&writes);
        if reasons.iter().any(|reason| *reason != "None") {
            sleep(latency / 2).await;
            let reasons: Vec<Value> = reasons.iter().map(|reason| json!({ "Code": reason })).collect();
            let error = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
            return (400, json!({ "__type": error, "Message": "Transaction cancelled", "CancellationReasons": reasons }));
        }
        let before: Vec<(String, Option<Value>)> = writes.iter().map(|write| (key(write), self.stored(write))).collect();
        let answer = run(request, |request| self.0.engine.transact_write_items(request));
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
        let request = json!({ "TableName": "chat", "Key": { "pk": write["pk"], "sk": write["sk"] } });
        run(request, |request| self.0.engine.get_item(request)).1.get("Item").cloned()
    }
}

impl State {
    /// Why each of these writes is refused before its condition is looked at: `None` where it is not.
    fn refuse(&mut self, writes: &[Value]) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        self.spent.transactions += 1;
        for write in writes {
            let partition = write["pk"]["S"].as_str().expect("a partition key").to_owned();
            let (left, since) = self.partitions.entry(partition).or_insert_with(|| (PARTITION, Instant::now()));
            *left = (*left + since.elapsed().as_secs_f64() * PARTITION).min(PARTITION);
            *since = Instant::now();
            if *left < UNITS {
                reasons.push("ThrottlingError");
                continue;
            }
            *left -= UNITS;
            self.spent.units += UNITS;
            reasons.push(if self.held.contains_key(&key(write)) { "TransactionConflict" } else { "None" });
        }
        reasons
    }
}

/// The item, or the key of the item, that an element of a transaction writes.
fn written(element: &Value) -> Value {
    let put = element.get("Put").map(|put| &put["Item"]);
    put.or_else(|| element.get("Update").map(|update| &update["Key"])).expect("a Put or an Update").clone()
}

fn key(item: &Value) -> String {
    format!("{} {}", item["pk"]["S"], item["sk"]["S"])
}

/// Lets the engine carry out a request.
fn run<Q: DeserializeOwned, A: Serialize>(request: Value, operation: impl FnOnce(Q) -> Result<A, DynoxideError>) -> Answer {
    match operation(serde_json::from_value(request).expect("a request")) {
        Ok(answer) => (200, serde_json::to_value(answer).expect("JSON")),
        Err(error) => (error.status_code(), serde_json::from_str(&error.to_json()).expect("JSON")),
    }
}

impl fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DynamoDb")
    }
}

impl HttpClient for DynamoDb {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for DynamoDb {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").expect("a target");
        let operation = target.rsplit('.').next().expect("an operation").to_owned();
        let body = serde_json::from_slice(request.body().bytes().expect("a body")).expect("JSON");
        // In a task of its own: what has been sent is carried out, though nobody waits for the answer any longer.
        let answer = tokio::spawn(self.clone().answer(operation, body));
        HttpConnectorFuture::new(async move {
            let (status, body) = answer.await.map_err(|error| ConnectorError::other(error.into(), None))?;
            Ok(HttpResponse::new(status.try_into().expect("a status"), body.to_string().into()))
        })
    }
}
