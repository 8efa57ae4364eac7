//! The rate limit: a token bucket per profile. A post takes one token; tokens return at a fixed rate.

use crate::Time;

/// A full bucket holds the tokens of this many seconds.
const BURST_SECONDS: u32 = 10;

/// The number of posts that a profile may send per second; unlimited if 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit(pub u32);

/// The tokens of a profile, at some time. A profile that never posted has none recorded: it is full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The number of tokens. Concurrent posts may take it below 0.
    pub tokens: f64,
    /// When it had this number.
    pub at: Time,
}

/// The posts that a client has left: the values of the headers `RateLimit` and `RateLimit-Policy`. Source:
/// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Posts per window.
    pub limit: u32,
    /// The window, in seconds.
    pub window: u32,
    /// Posts that are left now.
    pub remaining: u32,
    /// Seconds until all posts of the window are available again.
    pub reset: u32,
}

impl RateLimit {
    fn burst(self) -> f64 {
        f64::from(self.0 * BURST_SECONDS)
    }

    /// Returns the bucket's state now; `None` if the rate is unlimited.
    #[must_use]
    pub fn refill(self, bucket: Option<Bucket>, now: Time) -> Option<Bucket> {
        if self.0 == 0 {
            return None;
        }
        let refilled = bucket.map_or(self.burst(), |bucket| {
            bucket.tokens + now.since(bucket.at).as_secs_f64() * f64::from(self.0)
        });
        Some(Bucket { tokens: refilled.min(self.burst()), at: now })
    }

    /// Returns what a client may still post.
    #[must_use]
    pub fn quota(self, bucket: Bucket) -> Quota {
        let missing = (self.burst() - bucket.tokens).max(0.0);
        Quota {
            limit: self.0 * BURST_SECONDS,
            window: BURST_SECONDS,
            remaining: bucket.tokens.max(0.0) as u32,
            reset: (missing / f64::from(self.0)).ceil() as u32,
        }
    }

    /// Returns after how many seconds one token is available.
    #[must_use]
    pub fn retry_after(self, bucket: Bucket) -> u32 {
        (((1.0 - bucket.tokens) / f64::from(self.0)).ceil() as u32).max(1)
    }
}

impl Bucket {
    /// Returns the bucket with one token less; `None` if it has none.
    #[must_use]
    pub fn take(self) -> Option<Self> {
        (self.tokens >= 1.0).then_some(self.spend())
    }

    /// Returns the bucket with one token less, below 0 if it has none.
    #[must_use]
    pub fn spend(self) -> Self {
        Self { tokens: self.tokens - 1.0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_bucket_takes_a_burst_and_then_one_post_per_interval() {
        let (limit, start) = (RateLimit(5), Time::now());
        let mut bucket = limit.refill(None, start).expect("a limit");
        for _ in 0..50 {
            bucket = bucket.take().expect("a token");
        }
        assert_eq!((bucket.take(), limit.retry_after(bucket)), (None, 1));
        let later = start.after(Duration::from_millis(200));
        assert!(limit.refill(Some(bucket), later).expect("a limit").take().is_some());
        let full = limit.refill(Some(bucket), start.after(Duration::from_secs(99)));
        assert_eq!(full.expect("a limit").tokens, 50.0);
        assert_eq!(RateLimit(0).refill(Some(bucket), later), None);
    }

    #[test]
    fn a_quota_says_how_many_posts_are_left_and_when_all_are_back() {
        let bucket = Bucket { tokens: 12.5, at: Time::now() };
        let quota = Quota { limit: 50, window: 10, remaining: 12, reset: 8 };
        assert_eq!(RateLimit(5).quota(bucket), quota);
        let overdrawn = Bucket { tokens: -5.0, ..bucket };
        assert_eq!(RateLimit(5).quota(overdrawn).remaining, 0);
        assert_eq!(RateLimit(5).retry_after(overdrawn), 2);
    }
}
