//! Latencies and the throughput of a partition, to measure contention in virtual time.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dynoxide::Database;
use fastrand::Rng;
use shared::Table;
use tokio::time::{Instant, sleep};

use super::transactions::{Delays, Transactions};
use super::{Backend, Request, Response, cancellation, in_process};

/// A latency: median and 99th percentile, in seconds, of a lognormal distribution.
type Latency = (f64, f64);
/// Published measurements of transactions give medians of 16 to 25 ms and a 99th percentile of 90
/// ms.
const TRANSACTION: Latency = (0.020, 0.090);
const READ: Latency = (0.005, 0.020);
/// Write units per second of one partition. The bucket holds as many. DynamoDB often grants more
/// for a while.
const PARTITION: f64 = 1000.0;
/// Write units of one item of up to 1 KB in a transaction, also in a cancelled one.
const UNITS: f64 = 2.0;

/// A DynamoDB with latencies and limits.
#[derive(Clone)]
pub struct Capacity(Arc<Inner>);

struct Inner {
    transactions: Transactions,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    /// Write units left and the time of that count, by partition key.
    partitions: HashMap<String, (f64, Instant)>,
    used: Used,
}

/// The transactions that were sent, and the write units that they used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Transactions sent, including repeats.
    pub transactions: u32,
    /// Write units of their items.
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
        Self(Arc::new(Inner { transactions, state: Mutex::new(state) }))
    }

    /// Returns the service's table on this DynamoDB.
    #[must_use]
    pub fn table(&self) -> Table {
        let capacity = self.clone();
        let client = in_process(move |request| capacity.clone().answer(request));
        Table::with_http_client(client, "chat")
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
        // Box and Muller: two uniform draws make a normal one. The 99th percentile is 2.326
        // standard deviations above the mean.
        let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos();
        Duration::from_secs_f64(median * ((p99 / median).ln() / 2.326 * normal).exp())
    }

    async fn answer(self, request: Request) -> Response {
        let (status, body) = match request.operation() {
            "TransactWriteItems" => return self.transact(&request).await,
            "BatchGetItem" | "Query" => {
                // In the middle of its latency the read sees the table.
                let latency = self.latency(READ) / 2;
                sleep(latency).await;
                let executed = self.0.transactions.execute(&request).await;
                sleep(latency).await;
                (executed.status, executed.body)
            }
            _ => {
                let executed = self.0.transactions.execute(&request).await;
                (executed.status, executed.body)
            }
        };
        Some((status, body.to_string()))
    }

    /// Executes a transaction, which holds its items until its response. A cancelled transaction
    /// needs one of the protocol's two rounds.
    async fn transact(&self, request: &Request) -> Response {
        let latency = self.latency(TRANSACTION);
        let codes = self.state().charge(request);
        if codes.contains(&"ThrottlingError") {
            sleep(latency / 2).await;
            return Some((400, cancellation(&codes).to_string()));
        }
        let executed = self.0.transactions.transact(request, &vec![latency; codes.len()]);
        sleep(if executed.status == 200 { latency } else { latency / 2 }).await;
        Some((executed.status, executed.body.to_string()))
    }
}

impl State {
    /// Takes the units of a transaction from its partitions. Returns the reason for each write.
    fn charge(&mut self, request: &Request) -> Vec<&'static str> {
        self.used.transactions += 1;
        let mut codes = Vec::new();
        for key in request.written_keys() {
            let now = Instant::now();
            let (left, since) = self.partitions.entry(key.pk).or_insert((PARTITION, now));
            *left = (*left + since.elapsed().as_secs_f64() * PARTITION).min(PARTITION);
            *since = now;
            if *left < UNITS {
                codes.push("ThrottlingError");
            } else {
                *left -= UNITS;
                self.used.units += UNITS;
                codes.push("None");
            }
        }
        codes
    }
}
