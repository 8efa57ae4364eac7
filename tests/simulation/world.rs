//! The service under test, its virtual clock, and what its clients remember.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use functions::http::Auth;
use lambda_http::http::Method;
use lambda_http::{Body, Context, Request, RequestExt};
use serde_json::Value;
use shared::{Table, Time};
use tests::dynamodb::seeded::Seeded;
use tests::guarantees::{Change, Post};
use tokio::time::{Instant, sleep};

/// The service and its clients.
pub(crate) struct World {
    pub(crate) table: Table,
    pub(crate) dynamodb: Arc<Seeded>,
    pub(crate) authors: Vec<String>,
    pub(crate) conversations: Vec<String>,
    /// Pauses are divided by this, for runs in real time.
    pub(crate) haste: u32,
    /// True if the followers stop.
    pub(crate) done: AtomicBool,
    known: Mutex<Known>,
}

/// The memory of the clients.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) posts: Vec<Post>,
    pub(crate) edits: Vec<Change>,
    pub(crate) deletions: Vec<Change>,
    /// The messages that the poller of each conversation saw.
    pub(crate) polled: Vec<Vec<Value>>,
    pub(crate) deleted_conversations: Vec<usize>,
    pub(crate) deleted_profiles: Vec<usize>,
    pub(crate) creations: Vec<Creation>,
    /// Responses that contradict each other.
    pub(crate) violations: Vec<String>,
    /// Conversations that were removed from the table.
    pub(crate) purged: usize,
}

/// A profile or conversation that a client created.
pub(crate) struct Creation {
    /// Its first name or subject.
    pub(crate) name: String,
    pub(crate) keyed: bool,
    /// The number of undecided requests before the first 201.
    pub(crate) undecided: usize,
    /// True if a client tried to delete it, and whether the response confirmed that.
    pub(crate) deleted: Option<bool>,
}

/// A response of the service.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) replayed: bool,
}

/// A request to an operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) function: &'a str,
    pub(crate) path: Vec<(&'static str, String)>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
}

/// Returns a clock that follows the runtime's time, which is virtual in a simulation, `haste` times as
/// fast.
pub(crate) fn clock(haste: u32) -> impl Fn() -> Time + Send + Sync + Clone + 'static {
    let start = Time::try_from("2026-01-01T00:00:00.000Z".to_owned()).expect("RFC 3339");
    let started = Instant::now();
    move || start.after(started.elapsed() * haste)
}

impl World {
    pub(crate) fn new(table: Table, dynamodb: Arc<Seeded>, haste: u32) -> Self {
        let (authors, conversations, known) = (Vec::new(), Vec::new(), Mutex::default());
        let done = AtomicBool::new(false);
        Self { table, dynamodb, authors, conversations, haste, done, known }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic")
    }

    pub(crate) fn violation(&self, what: String) {
        self.known().violations.push(what);
    }

    /// Remembers that a client tried to delete a resource.
    pub(crate) fn mark_deleted(&self, name: &str, confirmed: bool) {
        let mut known = self.known();
        let creation = known.creations.iter_mut().find(|creation| creation.name == name);
        creation.expect("a creation").deleted = Some(confirmed);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// Returns the path parameter of a conversation.
    pub(crate) fn path(&self, conversation: usize) -> (&'static str, String) {
        ("conversation_id", self.conversations[conversation].clone())
    }

    /// Pauses for a random time of up to `longest` milliseconds.
    pub(crate) async fn pause(&self, rng: &mut Rng, longest: u64) {
        sleep(Duration::from_micros(rng.u64(..=longest * 1000)) / self.haste).await;
    }

    /// Calls the function of an operation, as API Gateway would.
    ///
    /// The event has no deadline, because that would be a time of the machine's clock.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Answer {
        let Ask { function, path, query, key, body } = ask;
        let method = match function.split_once('-').map(|(verb, _)| verb) {
            Some("create") => Method::POST,
            Some("update") => Method::PATCH,
            Some("delete") => Method::DELETE,
            _ => Method::GET,
        };
        let body = if body.is_null() { Body::Empty } else { Body::Text(body.to_string()) };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        request.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
        if let Some(key) = key {
            request.headers_mut().insert("idempotency-key", key.parse().expect("a value"));
        }
        let parameters = |pairs: Vec<(&str, String)>| -> HashMap<String, Vec<String>> {
            pairs.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect()
        };
        let request = request
            .with_path_parameters(parameters(path))
            .with_query_string_parameters(parameters(query))
            .with_lambda_context(Context::default());
        let response = local::invoke(function, &self.table, Auth::Open, request).await;
        let response = response.expect("a function");
        let (status, headers) = (response.status().as_u16(), response.headers());
        self.dynamodb.note(&format!("{function} {status}"));
        if status == 503 && headers.get("retry-after").is_none_or(|value| value != "1") {
            self.violation(format!("{function}: a 503 without Retry-After"));
        }
        let body = serde_json::from_slice(response.body()).unwrap_or_default();
        Answer { status, body, replayed: headers.contains_key("idempotency-replayed") }
    }
}
