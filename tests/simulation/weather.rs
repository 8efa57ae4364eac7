//! The circumstances of a seed: how much goes wrong, and how far clocks differ.

use std::time::Duration;

use fastrand::Rng;
use tests::dynamodb::invocations::Crash;

/// The largest skew of all clocks in a seed whose readers are timed.
const TIMED_SKEW: u64 = 500;

/// The circumstances of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The share of requests to the table that get a fault, in percent.
    pub(crate) trouble: u32,
    /// The share of invocations that die, in percent.
    pub(crate) crashes: u32,
    /// The clock of an invocation is wrong by up to so many milliseconds, either way.
    skew: u64,
    /// The share of frames that get a fault, in percent.
    pub(crate) frames: u32,
    /// True if clients have live connections.
    pub(crate) live: bool,
    /// The rate limit; 0: none.
    pub(crate) posts_per_second: u32,
    /// The share of transactions that stay invisible for long, in percent.
    pub(crate) slow: u32,
    /// True if more posts arrive in a second than a conversation admits.
    pub(crate) crowd: bool,
}

impl Weather {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let draw = |rng: &mut Rng, values: &[u32]| *rng.choice(values).expect("a value");
        let crowd = rng.u32(..64) == 0;
        let mut weather = Self {
            trouble: draw(rng, &[0, 0, 5, 15, 40]),
            crashes: draw(rng, &[0, 10, 30]),
            skew: draw(rng, &[0, 500, 1000, 3000]).into(),
            posts_per_second: draw(rng, &[0, 0, 0, 1, 2]),
            slow: draw(rng, &[5, 5, 50]),
            crowd,
            frames: draw(rng, &[0, 5, 20, 50]),
            live: rng.u32(..3) > 0,
        };
        if crowd {
            // All in one second.
            weather = Self { skew: 0, trouble: 0, posts_per_second: 0, ..weather };
        }
        if weather.is_timed() {
            weather.slow = 0;
            weather.frames = 0;
        }
        weather
    }

    /// Returns whether a reader never waits long: without faults, and with clocks that agree within
    /// a second.
    pub(crate) fn is_timed(&self) -> bool {
        self.trouble == 0 && self.skew <= TIMED_SKEW && !self.crowd
    }

    /// Draws how far the clock of an invocation is ahead of the slowest clock.
    pub(crate) fn skew(&self, function: &str, rng: &mut Rng) -> Duration {
        // Whether the resource of a key may still be invisible is a question of 10 seconds. Late
        // arrivals and slow visibility use up to 8 of them.
        let most = match function {
            "create-profile" | "create-conversation" => self.skew.min(1000),
            _ => self.skew,
        };
        Duration::from_millis(self.skew - most + rng.u64(..=2 * most))
    }

    /// Draws when an invocation dies. Where readers are timed, only posts die.
    pub(crate) fn crash(&self, function: &str, rng: &mut Rng, haste: u32) -> Crash {
        let spared = self.is_timed() && function != "create-message";
        if rng.u32(..100) >= self.crashes || spared {
            return Crash::Never;
        }
        match rng.u32(..4) {
            0 => Crash::AtResponse(rng.u32(1..=4)),
            1 => Crash::AtResponse(2),
            2 => Crash::After(Duration::from_millis(rng.u64(..4_000)) / haste),
            _ => Crash::After(Duration::from_micros(rng.u64(..80_000)) / haste),
        }
    }
}
