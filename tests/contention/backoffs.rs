//! The service's backoff, and others that it is compared with.

use std::time::Duration;

use shared::table::{Backoff, SHORTEST_ATTEMPT, backoff};

/// The one that the service has.
pub(crate) const SHIPPED: (&str, Backoff) = ("**as shipped**: 40 ms doubled, at most 1/12 of the time left", backoff);

/// All that are compared.
pub(crate) const BACKOFFS: [(&str, Backoff); 12] =
    [
        SHIPPED,
        ("20 ms doubled, at most 1/12 of the time left", |made, left| full(20, made, left, left / 12)),
        ("80 ms doubled, at most 1/12 of the time left", |made, left| full(80, made, left, left / 12)),
        ("40 ms doubled, at most 1/6 of the time left", |made, left| full(40, made, left, left / 6)),
        ("160 ms doubled, at most 1/6 of the time left", |made, left| full(160, made, left, left / 6)),
        ("40 ms doubled, at most 1/24 of the time left", |made, left| full(40, made, left, left / 24)),
        ("40 ms doubled, without a bound", |made, left| full(40, made, left, left)),
        ("20 ms doubled, at most 80 ms, 12 attempts", |made, left| {
            if made < 12 { full(20, made, left, Duration::from_millis(80)) } else { None }
        }),
        ("20 ms doubled, at most 80 ms", |made, left| full(20, made, left, Duration::from_millis(80))),
        ("40 ms doubled, at most 640 ms", |made, left| full(40, made, left, Duration::from_millis(640))),
        ("1/12 of the time left from the start", |_, left| full(10_000, 1, left, left / 12)),
        ("40 ms doubled, at most 1/12 of the time left; never less than half", |made, left| {
            let half = bound(40, made, left / 12) / 2;
            enough(left).then(|| half + half.mul_f64(fastrand::f64()))
        }),
    ];

/// Drawn evenly from nothing to the bound.
fn full(first: u64, made: u32, left: Duration, longest: Duration) -> Option<Duration> {
    enough(left).then(|| bound(first, made, longest).mul_f64(fastrand::f64()))
}

fn bound(first: u64, made: u32, longest: Duration) -> Duration {
    Duration::from_millis(first).saturating_mul(2_u32.saturating_pow(made.saturating_sub(1))).min(longest)
}

fn enough(left: Duration) -> bool {
    left >= SHORTEST_ATTEMPT
}
