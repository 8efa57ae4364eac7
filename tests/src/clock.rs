//! A clock that a test moves forward, so that it need not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::{Table, Time};

/// The real time plus an offset that only grows. Clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// Moves the clock forward, by whole seconds.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(duration.as_secs(), Ordering::Relaxed);
    }

    /// Returns the table with this clock.
    #[must_use]
    pub fn drive(&self, table: Table) -> Table {
        let clock = self.clone();
        table.with_clock(move || clock.now())
    }

    fn now(&self) -> Time {
        Time::now().after(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}
