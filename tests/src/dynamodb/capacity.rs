//! Latencies and the throughput of a partition, to measure contention in virtual time.
//!
//! Each operation takes a random time. Reads see the table, and writes of one item change it, in the
//! middle of that time. A transaction holds its items for all of its time: any other write to one of
//! them is a conflict. Writes of one item never conflict with each other. Writes draw on the write
//! units of their partition, and are throttled when it has none left.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::HeaderMap;
use dynoxide::Database;
use fastrand::Rng;
use serde_json::{Value, json};
use shared::{Table, Time};
use tokio::time::{Instant, sleep};

use super::transactions::{Delays, Transactions};
use super::{Backend, ItemKey, Request, cancellation, error_body, in_process};

/// A latency: median and 99th percentile, in seconds, of a lognormal distribution.
type Latency = (f64, f64);
/// Published measurements of transactions give medians of 16 to 25 ms and a 99th percentile of 90 ms.
const TRANSACTION: Latency = (0.020, 0.090);
/// A write of one item.
const WRITE: Latency = (0.007, 0.030);
const READ: Latency = (0.005, 0.020);
/// Write units per second of one partition. The bucket holds as many. DynamoDB often grants more for a
/// while.
const PARTITION: f64 = 1000.0;
/// Write units of one item of up to 1 KB, also if its condition fails.
const UNIT: f64 = 1.0;
/// The same in a transaction, also in a cancelled one.
const TRANSACTION_UNITS: f64 = 2.0;
/// The time of the clock when the simulation starts.
const EPOCH: &str = "2026-01-01T00:00:00Z";

/// A DynamoDB with latencies and limits.
#[derive(Clone)]
pub struct Capacity(Arc<Inner>);

struct Inner {
    transactions: Transactions,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    /// Write units left and the time of that count, by partition key.
    partitions: HashMap<String, (f64, Instant)>,
    used: Used,
}

/// The transactions that were sent, and the write units that all writes used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Transactions sent, including repeats.
    pub transactions: u32,
    /// Write units, including those of refused writes.
    pub units: f64,
}

impl Capacity {
    /// Creates an empty DynamoDB whose latencies are drawn from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let rng = Rng::with_seed(seed);
        let state = State { rng, partitions: HashMap::new(), used: Used::default() };
        let database = Database::memory().expect("a database");
        let transactions = Transactions::new(database, Delays::None);
        let (started, state) = (Instant::now(), Mutex::new(state));
        Self(Arc::new(Inner { transactions, started, state }))
    }

    /// Returns the service's table on this DynamoDB. Its clock is the runtime's, which may be paused.
    #[must_use]
    pub fn table(&self) -> Table {
        let (capacity, clock) = (self.clone(), self.clone());
        let client = in_process(move |request| {
            let capacity = capacity.clone();
            async move {
                let (status, body) = capacity.answer(request).await;
                Some((status, body.to_string()))
            }
        });
        Table::with_http_client(client, "chat").with_clock(move || clock.now())
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> Time {
        let epoch = Time::try_from(EPOCH.to_owned()).expect("a time");
        epoch.after(self.0.started.elapsed())
    }

    /// Sends a request as a client without the SDK. Returns status and body of the response.
    pub async fn send(&self, operation: &str, body: Value) -> (u16, Value) {
        self.answer(request(operation, body)).await
    }

    /// Executes a request at once and free of charge, to prepare a measurement.
    pub fn prepare(&self, operation: &str, body: Value) -> Value {
        let executed = self.0.transactions.run(&request(operation, body));
        assert_eq!(executed.status, 200, "{}", executed.body);
        executed.body
    }

    /// Returns all items.
    #[must_use]
    pub fn all_items(&self) -> Vec<Value> {
        self.0.transactions.all_items("chat")
    }

    /// Returns the capacity used so far.
    #[must_use]
    pub fn used(&self) -> Used {
        self.state().used
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic")
    }

    fn latency(&self, (median, p99): Latency) -> Duration {
        let rng = &mut self.state().rng;
        // Box and Muller: two uniform draws make a normal one. The 99th percentile is 2.326 standard
        // deviations above the mean.
        let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos();
        Duration::from_secs_f64(median * ((p99 / median).ln() / 2.326 * normal).exp())
    }

    async fn answer(&self, request: Request) -> (u16, Value) {
        let latency = match request.operation() {
            "TransactWriteItems" => return self.transact(&request).await,
            "BatchGetItem" | "Query" => self.latency(READ),
            "UpdateItem" | "PutItem" | "DeleteItem" => self.latency(WRITE),
            "CreateTable" | "UpdateTimeToLive" => Duration::ZERO,
            other => panic!("{other} has no latency"),
        };
        sleep(latency / 2).await;
        let throttled = request.written_item().is_some_and(|key| !self.state().charge(key, UNIT));
        let (status, body) = if throttled {
            (400, error_body("ProvisionedThroughputExceededException", json!({})))
        } else {
            let executed = self.0.transactions.execute(&request).await;
            (executed.status, executed.body)
        };
        sleep(latency / 2).await;
        (status, body)
    }

    /// Executes a transaction, which holds its items until its response. A cancelled transaction needs
    /// one of the protocol's two rounds.
    async fn transact(&self, request: &Request) -> (u16, Value) {
        let latency = self.latency(TRANSACTION);
        let codes = self.state().charge_transaction(request);
        if codes.contains(&"ThrottlingError") {
            sleep(latency / 2).await;
            return (400, cancellation(&codes));
        }
        let executed = self.0.transactions.transact(request, &vec![latency; codes.len()]);
        sleep(if executed.status == 200 { latency } else { latency / 2 }).await;
        (executed.status, executed.body)
    }
}

impl State {
    /// Takes the units of a transaction from its partitions. Returns the reason for each write.
    fn charge_transaction(&mut self, request: &Request) -> Vec<&'static str> {
        self.used.transactions += 1;
        let mut charge = |key| match self.charge(key, TRANSACTION_UNITS) {
            true => "None",
            false => "ThrottlingError",
        };
        request.written_keys().into_iter().map(&mut charge).collect()
    }

    /// Takes units from the partition of an item. Returns whether it had them.
    fn charge(&mut self, key: ItemKey, units: f64) -> bool {
        let now = Instant::now();
        let (left, since) = self.partitions.entry(key.pk).or_insert((PARTITION, now));
        *left = (*left + since.elapsed().as_secs_f64() * PARTITION).min(PARTITION);
        *since = now;
        if *left < units {
            return false;
        }
        *left -= units;
        self.used.units += units;
        true
    }
}

fn request(operation: &str, body: Value) -> Request {
    let target = format!("DynamoDB_20120810.{operation}");
    Request { target, headers: HeaderMap::new(), body, sender: None }
}
