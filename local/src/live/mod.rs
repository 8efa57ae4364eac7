//! API Gateway's WebSocket API and the table's stream: live delivery on this machine.
//!
//! - [`sockets`]: opens connections at `/live`, and runs the functions of their frames
//! - [`connections`]: the open connections, and `@connections`, through which functions reach them
//! - [`stream`]: the records of the table's stream, and their batches

mod connections;
mod sockets;
pub mod stream;

use std::sync::Arc;
use std::time::Duration;

use functions::live::{Publisher, deliver};
use shared::Table;
use tokio::time::Instant;

pub use connections::Connections;
pub(crate) use sockets::router;
use stream::Records;

/// The time for a function of live delivery.
const TIMEOUT: Duration = Duration::from_secs(8);

/// When API Gateway closes a connection. Source:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html>
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without a frame for this time.
    pub idle: Duration,
    /// After this time.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self { idle: minutes(10), lifetime: minutes(120) }
    }
}

/// The WebSocket API.
#[derive(Clone, Debug)]
pub struct Live {
    table: Table,
    publisher: Publisher,
    connections: Arc<Connections>,
    limits: Limits,
}

impl Live {
    /// Creates the WebSocket API over a table, and delivers the records of its stream in the
    /// background.
    #[must_use]
    pub fn start(table: Table, records: Records) -> Self {
        let connections = Arc::<Connections>::default();
        let publisher = Publisher::with_http_client(connections::client(connections.clone()));
        let live = Self { table, publisher, connections, limits: Limits::default() };
        let function = live.clone();
        tokio::spawn(stream::run(records, move |event| {
            let (table, publisher) = (function.table(), function.publisher.clone());
            async move { drop(deliver(table, publisher, event).await) }
        }));
        live
    }

    /// Closes connections after other times.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the table for one invocation of a function.
    fn table(&self) -> Table {
        self.table.for_request(Instant::now() + TIMEOUT)
    }
}
