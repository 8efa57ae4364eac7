//! The fault engine: simulates DynamoDB and the network between it and the service.
//!
//! The service sends its requests to a function, either [`in_process`] or through a port
//! ([`listen`]). That function decides what happens to each request and asks a [`Backend`] to
//! execute it.
//!
//! ```text
//! service → in_process, listen → seeded, recorder, capacity → faults → transactions, remote
//! ```
//!
//! - [`faults`]: everything that can go wrong with one request, and applying it
//! - [`seeded`]: faults and latencies drawn from a seed
//! - [`crate::recorder`]: faults by operation, and a record of requests and responses
//! - [`invocations`]: which invocation of a function sends a request, and where it dies
//! - [`capacity`]: latencies and the throughput of a partition, for measurements
//! - [`transactions`]: the embedded engine with DynamoDB's conflict rule, with transactions that
//!   become visible item by item, and with an index that lags
//! - [`stream`]: the records of the writes that were committed
//! - [`remote`]: an engine at an endpoint
//!
//! DynamoDB's own rules are from
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html> and
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.

pub mod capacity;
pub mod faults;
pub mod invocations;
mod queries;
pub mod remote;
pub mod seeded;
mod sockets;
pub mod stream;
pub mod transactions;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use axum::http::HeaderMap;
use local::engine;
use serde_json::{Value, json};

use invocations::Invocation;
pub use sockets::listen;

/// A request of DynamoDB's JSON protocol.
#[derive(Clone, Debug)]
pub struct Request {
    /// For example `DynamoDB_20120810.Query`.
    pub target: String,
    /// The headers, for an engine that needs them.
    pub headers: HeaderMap,
    /// The parsed body.
    pub body: Value,
    /// The invocation that sends it, if that is known.
    pub sender: Option<Arc<Invocation>>,
}

impl Request {
    /// Parses a request.
    #[must_use]
    pub fn new(target: String, headers: HeaderMap, body: &[u8]) -> Self {
        let body = serde_json::from_slice(body).expect("JSON");
        Self { target, headers, body, sender: None }
    }

    /// Returns the operation, for example `Query`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.target.rsplit('.').next().unwrap_or_default()
    }

    /// Returns the same request with another body.
    #[must_use]
    pub fn with_body(&self, body: Value) -> Self {
        Self { body, ..self.clone() }
    }

    /// Returns the key of the item that a write of one item writes.
    pub(crate) fn written_item(&self) -> Option<ItemKey> {
        match self.operation() {
            "PutItem" => Some(ItemKey::of(&self.body["Item"])),
            "UpdateItem" | "DeleteItem" => Some(ItemKey::of(&self.body["Key"])),
            _ => None,
        }
    }

    /// Returns the keys of the items that a transaction writes, in order.
    pub(crate) fn written_keys(&self) -> Vec<ItemKey> {
        let elements = self.body["TransactItems"].as_array().into_iter().flatten();
        let key = |element: &Value| {
            let change = element.as_object().and_then(|element| element.values().next());
            let change = change.expect("a write");
            ItemKey::of(if change["Item"].is_null() { &change["Key"] } else { &change["Item"] })
        };
        elements.map(key).collect()
    }
}

/// The status and the body of a response. `None`: the connection ends without a response.
pub type Response = Option<(u16, String)>;

/// The primary key of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ItemKey {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl ItemKey {
    /// Returns the key of an item, or of a key object.
    pub(crate) fn of(item: &Value) -> Self {
        let part = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
        Self { pk: part("pk"), sk: part("sk") }
    }

    /// Returns the key of the item that an entry of a `BatchWriteItem` writes.
    pub(crate) fn of_write(write: &Value) -> Self {
        let put = &write["PutRequest"]["Item"];
        Self::of(if put.is_null() { &write["DeleteRequest"]["Key"] } else { put })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "pk": { "S": self.pk }, "sk": { "S": self.sk } })
    }
}

/// The result of a request that an engine has executed.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The status of the response.
    pub status: u16,
    /// The body of the response.
    pub body: Value,
    /// The time until its writes are visible. Its response is not sent before.
    pub settles_in: Duration,
}

/// An engine that executes requests.
pub trait Backend: Send + Sync + 'static {
    /// Executes a request. When the future is ready, its writes are committed.
    fn execute(&self, request: &Request) -> impl Future<Output = Executed> + Send;
}

/// Returns an HTTP client for the SDK whose requests `answer` answers, in the same process.
///
/// Each request is a task: it is executed even if its client gives up or its function dies.
pub fn in_process<A>(answer: impl Fn(Request) -> A + Send + Sync + 'static) -> SharedHttpClient
where
    A: Future<Output = Response> + Send + 'static,
{
    engine::answered_by(move |target, body| {
        let request = Request::new(target, HeaderMap::new(), &body);
        let request = Request { sender: Invocation::current(), ..request };
        let response = tokio::spawn(answer(request));
        async { response.await.ok().flatten() }
    })
}

/// Returns the body of a DynamoDB error.
pub(crate) fn error_body(error: &str, mut body: Value) -> Value {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{error}"));
    body["message"] = json!("simulated");
    body
}

/// Returns the body of a cancelled transaction.
pub(crate) fn cancellation(codes: &[&str]) -> Value {
    let reasons: Vec<Value> = codes.iter().map(|code| json!({ "Code": code })).collect();
    error_body("TransactionCanceledException", json!({ "CancellationReasons": reasons }))
}
