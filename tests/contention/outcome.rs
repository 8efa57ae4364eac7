//! The outcome of a measurement: what was answered within it, and what that cost.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use tests::dynamodb::capacity::Used;
use tokio::time::Instant;

use crate::load::{Answer, Verdict};

/// The period in which each client of a closed loop must store some requests.
const PERIOD: Duration = Duration::from_secs(10);

/// The responses so far.
pub(crate) struct Record {
    /// Responses count if they are sent within this time.
    measured: Range<Instant>,
    outcome: RefCell<Outcome>,
}

/// The responses of a measurement.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    seconds: f64,
    /// The latencies of the stored requests, shortest first.
    latencies: Vec<Duration>,
    /// The requests that were answered 429.
    too_many: usize,
    /// The capacity that they used.
    refusals: Refusals,
    /// The requests that were answered 503 or 500.
    failed: usize,
    used: Used,
    most_transactions: u32,
    /// The number of requests that each client stored, by period.
    stored: Vec<Vec<usize>>,
}

/// The capacity used by requests that were answered 429.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    read_units: f64,
    write_units: f64,
    most_requests: u32,
}

impl Record {
    pub(crate) fn new(measured: Range<Instant>, clients: usize) -> Self {
        let length = measured.end - measured.start;
        // A period that is not complete does not count.
        let periods = (length.as_secs() / PERIOD.as_secs()) as usize;
        let outcome = Outcome {
            seconds: length.as_secs_f64(),
            stored: vec![vec![0; clients]; periods],
            ..Outcome::default()
        };
        Self { measured, outcome: RefCell::new(outcome) }
    }

    pub(crate) fn add(&self, client: usize, begun: Instant, answer: &Answer) {
        let now = Instant::now();
        if !self.measured.contains(&now) {
            return;
        }
        let mut outcome = self.outcome.borrow_mut();
        outcome.most_transactions = outcome.most_transactions.max(answer.usage.transactions);
        match answer.verdict {
            Verdict::Stored => {
                outcome.latencies.push(begun.elapsed());
                let period = (now - self.measured.start).as_secs() / PERIOD.as_secs();
                if let Some(stored) = outcome.stored.get_mut(period as usize) {
                    stored[client] += 1;
                }
            }
            Verdict::TooMany { .. } => {
                outcome.too_many += 1;
                let refusals = &mut outcome.refusals;
                refusals.read_units += answer.usage.read_units;
                refusals.write_units += answer.usage.write_units;
                refusals.most_requests = refusals.most_requests.max(answer.usage.requests);
            }
            Verdict::Unavailable | Verdict::Unknown => outcome.failed += 1,
        }
    }

    /// Returns the outcome, from what was used before and after the measurement.
    pub(crate) fn finish(&self, before: Used, after: Used) -> Outcome {
        let mut outcome = self.outcome.take();
        outcome.used.transactions = after.transactions - before.transactions;
        outcome.used.units = after.units - before.units;
        outcome.latencies.sort_unstable();
        outcome
    }
}

impl Outcome {
    /// Returns the number of requests that were stored per second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// Returns the quantile of the latency of stored requests, in seconds.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.latencies.len().checked_sub(1)?;
        let index = (self.latencies.len() as f64 * share) as usize;
        Some(self.latencies[index.min(last)].as_secs_f64())
    }

    /// Returns the share of requests that were answered 429.
    pub(crate) fn too_many(&self) -> f64 {
        self.share(self.too_many)
    }

    /// Returns the share of requests that were answered 503 or 500.
    pub(crate) fn failed(&self) -> f64 {
        self.share(self.failed)
    }

    fn share(&self, count: usize) -> f64 {
        count as f64 / (self.latencies.len() + self.too_many + self.failed).max(1) as f64
    }

    /// Returns the number of transactions per stored request.
    pub(crate) fn transactions(&self) -> Option<f64> {
        self.per_stored(self.used.transactions.into())
    }

    /// Returns the number of write units per stored request, those of refused ones included.
    pub(crate) fn write_units(&self) -> Option<f64> {
        self.per_stored(self.used.units)
    }

    fn per_stored(&self, count: f64) -> Option<f64> {
        (!self.latencies.is_empty()).then(|| count / self.latencies.len() as f64)
    }

    /// Returns the most transactions that one request sent.
    pub(crate) fn most_transactions(&self) -> u32 {
        self.most_transactions
    }

    /// Returns the least and the most that a client stored in a period.
    pub(crate) fn stored_by_one(&self) -> Option<(usize, usize)> {
        let counts = || self.stored.iter().flatten().copied();
        Some((counts().min()?, counts().max()?))
    }

    /// Returns the read and write units of a request that was answered 429.
    pub(crate) fn units_of_429(&self) -> Option<(f64, f64)> {
        let count = self.too_many as f64;
        let Refusals { read_units, write_units, .. } = self.refusals;
        (self.too_many > 0).then(|| (read_units / count, write_units / count))
    }

    /// Returns whether each request that was answered 429 sent one request, a read.
    pub(crate) fn only_read_before_429(&self) -> bool {
        self.refusals.most_requests <= 1 && self.refusals.write_units == 0.0
    }
}
