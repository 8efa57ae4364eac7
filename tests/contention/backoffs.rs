//! The service's backoff, and others that it is compared with.

use std::time::Duration;

use shared::table::{Backoff, SHORTEST_ATTEMPT, Setback, backoff};

/// The one that the service has.
pub(crate) const SHIPPED: (&str, Backoff) =
    ("**as shipped**: 40 ms doubled, up to 1/24 of the time left; throttled, up to 1/3", backoff);

/// All that are compared.
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
    ("throttled, no longer than otherwise", |setback| full(setback, doubled(40, setback, 24))),
    ("throttled, no longer than otherwise; up to 1/12", |setback| {
        full(setback, doubled(40, setback, 12))
    }),
    ("40 ms doubled, without a bound", |setback| full(setback, doubled(40, setback, 1))),
    ("20 ms doubled, up to 80 ms, 12 attempts", |setback| {
        let pause = full(setback, doubled(20, setback, 1).min(Duration::from_millis(80)));
        pause.filter(|_| setback.made < 12)
    }),
];

/// Drawn evenly from nothing to the one bound or, for who is throttled, to the other.
fn either(setback: Setback, collided: Duration, throttled: Duration) -> Option<Duration> {
    full(setback, if setback.throttled { throttled } else { collided })
}

/// Drawn evenly from nothing to the bound, or to what leaves time for another attempt.
fn full(setback: Setback, bound: Duration) -> Option<Duration> {
    let spare = setback.left.checked_sub(SHORTEST_ATTEMPT)?;
    Some(bound.min(spare).mul_f64(fastrand::f64()))
}

/// So many milliseconds, doubled with every attempt up to a share of the time left.
fn doubled(first: u64, Setback { made, left, .. }: Setback, share: u32) -> Duration {
    Duration::from_millis(first)
        .saturating_mul(2_u32.saturating_pow(made.saturating_sub(1)))
        .min(left / share)
}
