//! A clock that a test moves forward, so that it need not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::{Table, Time};

/// A clock with an offset that only grows. Clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// When it was stopped; `None` if it runs.
    stopped_at: Option<Time>,
    /// The offset in milliseconds.
    offset: Arc<AtomicU64>,
}

impl Clock {
    /// Returns a clock that moves only when a test moves it. The default one shows the real time plus
    /// its offset.
    #[must_use]
    pub fn stopped() -> Self {
        Self { stopped_at: Some(Time::now()), ..Self::default() }
    }

    /// Moves the clock forward, by whole milliseconds.
    pub fn advance(&self, duration: Duration) {
        let duration = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.offset.fetch_add(duration, Ordering::Relaxed);
    }

    /// Returns the table with this clock.
    #[must_use]
    pub fn drive(&self, table: Table) -> Table {
        let clock = self.clone();
        table.with_clock(move || clock.now())
    }

    fn now(&self) -> Time {
        let time = self.stopped_at.unwrap_or_else(Time::now);
        time.after(Duration::from_millis(self.offset.load(Ordering::Relaxed)))
    }
}
