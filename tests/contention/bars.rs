//! The bars that an outcome must reach.

use std::fmt;

use crate::outcome::Outcome;

/// A bar.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// At least this number of requests is stored per second.
    LeastRate(f64),
    /// This number of requests is stored per second, within 10 %.
    Rate(f64),
    /// The 99th percentile of the latency of stored requests, in seconds.
    P99(f64),
    /// The share of requests that are refused, with any status.
    Refused(f64),
    /// No request is answered 503 or 500.
    NoFailure,
    /// Write units per stored request.
    WriteUnits(f64),
    /// The most transactions of one request.
    Transactions(u32),
    /// Each client stores this number of requests in ten seconds.
    StoredByEach(usize),
    /// A request that is answered 429 sends one read of this number of units, and nothing else.
    ReadOf429(f64),
}

impl Bar {
    /// Returns whether an outcome reaches the bar. An outcome without stored requests reaches none that
    /// is about them.
    pub(crate) fn holds(self, outcome: &Outcome) -> bool {
        match self {
            Self::LeastRate(least) => outcome.rate() >= least,
            Self::Rate(rate) => (outcome.rate() - rate).abs() <= rate * 0.1,
            Self::P99(most) => outcome.quantile(0.99).is_some_and(|p99| p99 <= most),
            Self::Refused(most) => outcome.too_many() + outcome.failed() <= most,
            Self::NoFailure => outcome.failed() == 0.0,
            Self::WriteUnits(most) => outcome.write_units().is_some_and(|units| units <= most),
            Self::Transactions(most) => outcome.most_transactions() <= most,
            Self::StoredByEach(least) => {
                outcome.stored_by_one().is_none_or(|(fewest, _)| fewest >= least)
            }
            Self::ReadOf429(units) => {
                outcome.units_of_429() == Some((units, 0.0)) && outcome.only_read_before_429()
            }
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastRate(least) => write!(f, "≥ {least} stored/s"),
            Self::Rate(rate) => write!(f, "{rate} stored/s ± 10 %"),
            Self::P99(most) => write!(f, "p99 ≤ {most} s"),
            Self::Refused(share) => write!(f, "≤ {} % refused", share * 100.0),
            Self::NoFailure => write!(f, "no 5xx"),
            Self::WriteUnits(most) => write!(f, "≤ {most} write units"),
            Self::Transactions(most) => write!(f, "≤ {most} transactions"),
            Self::StoredByEach(least) => write!(f, "≥ {least} posts by each"),
            Self::ReadOf429(units) => write!(f, "{units} read units per 429, no write"),
        }
    }
}
