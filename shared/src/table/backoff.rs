//! The pause between two attempts at one request.

use std::time::Duration;

/// The least time for an attempt. With less time left none is sent: it might end undecided.
pub const SHORTEST_ATTEMPT: Duration = Duration::from_millis(400);

/// The facts that the pause before the next attempt depends on.
#[derive(Clone, Copy, Debug)]
pub struct Setback {
    /// The number of attempts so far.
    pub made: u32,
    /// The time until the deadline.
    pub left: Duration,
    /// True if the attempt was a transaction that DynamoDB throttled.
    pub throttled: bool,
}

/// Returns how long to wait before the next attempt; `None` if none must follow.
pub type Backoff = fn(Setback) -> Option<Duration>;

/// Returns a random pause from zero to a bound ("full jitter"), so that requests that collided do not
/// collide again.
///
/// The bound starts at 40 ms after a conflict, which is about the time of two transactions, and at
/// 100 ms after throttling, because failed attempts use the partition's capacity too. It doubles with
/// each attempt, up to a share of the time left, so the requests that have waited longest pause
/// shortest. `tests/contention` measures it.
#[must_use]
pub fn backoff(Setback { made, left, throttled }: Setback) -> Option<Duration> {
    // The next attempt must have its time, even after the longest pause.
    let spare = left.checked_sub(SHORTEST_ATTEMPT)?;
    let (first, most) = if throttled { (100, left / 3) } else { (40, left / 6) };
    let doubled = 2_u32.saturating_pow(made.saturating_sub(1));
    let bound = Duration::from_millis(first).saturating_mul(doubled).min(most);
    Some(bound.min(spare).mul_f64(fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_leaves_time_for_an_attempt() {
        for left in (0..=8000).step_by(10).map(Duration::from_millis) {
            for (made, throttled) in (1..40).flat_map(|made| [(made, false), (made, true)]) {
                let pause = backoff(Setback { made, left, throttled });
                assert_eq!(pause.is_some(), left >= SHORTEST_ATTEMPT);
                let fits = |pause| pause + SHORTEST_ATTEMPT <= left;
                assert!(pause.is_none_or(fits), "{pause:?} of {left:?}");
            }
        }
    }
}
