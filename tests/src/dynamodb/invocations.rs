//! Invocations of functions: what each sends to DynamoDB, and where it dies.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::select;
use tokio::sync::Notify;
use tokio::task_local;
use tokio::time::sleep;

use super::Request;

task_local! {
    static CURRENT: Arc<Invocation>;
}

/// When a function dies. Requests that it has sent are still executed.
#[derive(Clone, Copy, Debug, Default)]
pub enum Crash {
    /// Not at all.
    #[default]
    Never,
    /// After this time.
    After(Duration),
    /// When the response to its request with this number arrives; the first has number 1.
    AtResponse(u32),
}

/// One invocation of a function.
#[derive(Debug, Default)]
pub struct Invocation {
    function: String,
    crash: Crash,
    requests: AtomicU32,
    writes: AtomicU32,
    transactions: AtomicU32,
    stored: AtomicU32,
    died: Notify,
}

impl Invocation {
    /// Creates an invocation that dies at this point.
    #[must_use]
    pub fn new(function: &str, crash: Crash) -> Arc<Self> {
        Arc::new(Self { function: function.to_owned(), crash, ..Self::default() })
    }

    /// Returns the invocation that this code is called from.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs the function. Returns `None` if it dies.
    pub async fn run<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> Option<T> {
        select! {
            biased;
            () = self.death() => None,
            output = CURRENT.scope(self.clone(), work) => Some(output),
        }
    }

    async fn death(&self) {
        match self.crash {
            Crash::Never => pending().await,
            Crash::After(time) => sleep(time).await,
            Crash::AtResponse(_) => self.died.notified().await,
        }
    }

    /// Counts a request. Returns its number.
    pub(super) fn count(&self, request: &Request) -> u32 {
        match request.operation() {
            "BatchGetItem" | "Query" => {}
            "TransactWriteItems" => {
                self.transactions.fetch_add(1, Ordering::Relaxed);
                self.writes.fetch_add(1, Ordering::Relaxed);
            }
            _ => drop(self.writes.fetch_add(1, Ordering::Relaxed)),
        }
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Ends the function if it dies at the response to the request with this number.
    pub(super) fn respond(&self, number: u32) {
        if matches!(self.crash, Crash::AtResponse(last) if last == number) {
            self.died.notify_one();
        }
    }

    /// Counts a write that was executed.
    pub(super) fn store(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of its writes that were executed so far, however late.
    #[must_use]
    pub fn stored(&self) -> u32 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Returns the name of the function.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.function
    }

    /// Returns the number of requests that write, transactions included.
    #[must_use]
    pub fn writes(&self) -> u32 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Returns the number of transactions.
    #[must_use]
    pub fn transactions(&self) -> u32 {
        self.transactions.load(Ordering::Relaxed)
    }
}
