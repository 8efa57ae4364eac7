//! The service's backoff, and others to compare it with.

use std::time::Duration;

use shared::table::{Backoff, SHORTEST_ATTEMPT, Setback, backoff};

/// The service's own.
pub(crate) const SHIPPED: (&str, Backoff) =
    ("**as shipped**: 40 ms doubled, up to 1/24 of the time left; throttled, up to 1/3", backoff);

/// The backoffs to compare.
pub(crate) const BACKOFFS: [(&str, Backoff); 12] = [
    SHIPPED,
    ("from 20 ms", |setback| either(setback, doubled(20, setback, 24), setback.left / 3)),
    ("from 80 ms", |setback| either(setback, doubled(80, setback, 24), setback.left / 3)),
    ("up to 1/12", |setback| either(setback, doubled(40, setback, 12), setback.left / 3)),
    ("up to 1/48", |setback| either(setback, doubled(40, setback, 48), setback.left / 3)),
    ("throttled, 320 ms doubled, up to 1/3", |setback| {
        either(setback, doubled(40, setback, 24), doubled(320, setback, 3))
    }),
    ("throttled, up to 1/6", |setback| either(setback, doubled(40, setback, 24), setback.left / 6)),
    ("throttled, up to 1/2", |setback| either(setback, doubled(40, setback, 24), setback.left / 2)),
    ("throttled, the same pauses", |setback| full(setback, doubled(40, setback, 24))),
    ("throttled, the same pauses; up to 1/12", |setback| full(setback, doubled(40, setback, 12))),
    ("40 ms doubled, without a bound", |setback| full(setback, doubled(40, setback, 1))),
    ("20 ms doubled, up to 80 ms, 12 attempts", |setback| {
        let pause = full(setback, doubled(20, setback, 1).min(Duration::from_millis(80)));
        pause.filter(|_| setback.made < 12)
    }),
];

/// Draws a pause up to the first bound, or up to the second after throttling.
fn either(setback: Setback, conflict: Duration, throttled: Duration) -> Option<Duration> {
    full(setback, if setback.throttled { throttled } else { conflict })
}

/// Draws a pause from zero to `bound` that leaves time for another attempt.
fn full(setback: Setback, bound: Duration) -> Option<Duration> {
    let spare = setback.left.checked_sub(SHORTEST_ATTEMPT)?;
    Some(bound.min(spare).mul_f64(fastrand::f64()))
}

/// Returns `first` milliseconds, doubled with each attempt, up to a share of the time left.
fn doubled(first: u64, Setback { made, left, .. }: Setback, share: u32) -> Duration {
    Duration::from_millis(first)
        .saturating_mul(2_u32.saturating_pow(made.saturating_sub(1)))
        .min(left / share)
}
