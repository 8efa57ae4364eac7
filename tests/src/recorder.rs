//! A proxy between the service and an engine: records every request, and injects faults.

use std::fmt;
use std::sync::{Arc, Mutex, RwLock};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

const MEDIA_TYPE: &str = "application/x-amz-json-1.0";

/// A request that reached the engine.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its operation, such as `Query`.
    pub operation: String,
    /// Its body.
    pub request: Value,
    /// The body of the engine's response.
    pub response: Value,
}

impl Sent {
    /// Returns the capacity units that the engine reports.
    #[must_use]
    pub fn units(&self) -> f64 {
        let one = |consumed: &Value| consumed["CapacityUnits"].as_f64().unwrap_or_default();
        match &self.response["ConsumedCapacity"] {
            Value::Array(consumed) => consumed.iter().map(one).sum(),
            consumed => one(consumed),
        }
    }
}

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: it is executed and answered.
    None,
    /// It is executed, but the response is an internal error.
    ResponseLost,
    /// It is executed, but the response has this status and body.
    ResponseReplaced(u16, &'static str),
    /// It is executed, but the response lacks the items with this sort key.
    Hidden(String),
    /// It is refused with this error, and not executed.
    Refused(&'static str),
    /// It is executed once the gate opens.
    Held(Gate),
}

/// Holds one request until the test opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    arrived: Arc<Notify>,
    opened: Arc<Notify>,
}

impl Gate {
    /// Waits until a request is held.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Lets the held request pass.
    pub fn open(&self) {
        self.opened.notify_one();
    }
}

type Decide = dyn Fn(&str, &Value) -> Fault + Send + Sync;

/// The proxy. Clones share its records and faults.
#[derive(Clone)]
pub struct Recorder {
    /// Where the service reaches it.
    pub endpoint: String,
    state: Arc<State>,
}

struct State {
    engine: String,
    client: Client,
    sent: Mutex<Vec<Sent>>,
    decide: RwLock<Arc<Decide>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recorder").field("endpoint", &self.endpoint).finish()
    }
}

impl Recorder {
    /// Starts a proxy in front of the engine at this endpoint, without faults.
    ///
    /// # Panics
    /// If it cannot start.
    pub async fn start(engine: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State {
            engine,
            client: Client::new(),
            sent: Mutex::default(),
            decide: RwLock::new(Arc::new(|_, _| Fault::None)),
        });
        let shared = state.clone();
        let app = Router::new().fallback(move |request: Request| {
            let state = shared.clone();
            async move {
                let (status, body) = state.answer(request).await;
                (status, [("content-type", MEDIA_TYPE)], body)
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, state }
    }

    /// Decides what happens to each following request, by its operation and its body.
    ///
    /// # Panics
    /// If another use of the recorder has panicked.
    pub fn inject(&self, decide: impl Fn(&str, &Value) -> Fault + Send + Sync + 'static) {
        *self.state.decide.write().expect("no panic") = Arc::new(decide);
    }

    /// Injects no more faults.
    pub fn clear(&self) {
        self.inject(|_, _| Fault::None);
    }

    /// Returns the requests that reached the engine since the last call.
    ///
    /// # Panics
    /// If another use of the recorder has panicked.
    #[must_use]
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.state.sent.lock().expect("no panic"))
    }
}

impl State {
    async fn answer(&self, request: Request) -> (StatusCode, Bytes) {
        let (parts, body) = request.into_parts();
        let target = parts.headers["x-amz-target"].to_str().expect("a target");
        let operation = target.rsplit('.').next().expect("an operation").to_owned();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        let request: Value = serde_json::from_slice(&body).expect("JSON");
        let decide = self.decide.read().expect("no panic").clone();
        let fault = decide(&operation, &request);
        match &fault {
            Fault::Refused(error) => return refusal(StatusCode::BAD_REQUEST, error),
            Fault::Held(gate) => {
                gate.arrived.notify_one();
                gate.opened.notified().await;
            }
            _ => {}
        }
        let (status, body) = self.forward(parts, body).await;
        let mut response: Value = serde_json::from_slice(&body).expect("JSON");
        let sent = Sent { operation, request, response: response.clone() };
        self.sent.lock().expect("no panic").push(sent);
        match fault {
            Fault::ResponseLost => {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
            }
            Fault::ResponseReplaced(status, body) => {
                (StatusCode::from_u16(status).expect("a status"), body.into())
            }
            Fault::Hidden(sort_key) => {
                hide(&mut response, &sort_key);
                (status, response.to_string().into())
            }
            _ => (status, body),
        }
    }

    async fn forward(&self, parts: Parts, body: Bytes) -> (StatusCode, Bytes) {
        let request = self.client.post(&self.engine).headers(parts.headers).body(body);
        let response = request.send().await.expect("a response of the engine");
        (response.status(), response.bytes().await.expect("a body"))
    }
}

/// Removes the items with this sort key from the response to a `Query` or `BatchGetItem`.
fn hide(response: &mut Value, sort_key: &str) {
    let visible = |item: &Value| item["sk"]["S"] != sort_key;
    if let Some(items) = response.get_mut("Items").and_then(Value::as_array_mut) {
        items.retain(visible);
    }
    if let Some(tables) = response.get_mut("Responses").and_then(Value::as_object_mut) {
        for items in tables.values_mut().filter_map(Value::as_array_mut) {
            items.retain(visible);
        }
    }
}

fn refusal(status: StatusCode, error: &str) -> (StatusCode, Bytes) {
    let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{error}") });
    (status, body.to_string().into())
}
