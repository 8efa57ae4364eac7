//! Records every request of the service to DynamoDB, and injects faults by operation: the fault engine
//! behind a port.

use std::fmt;
use std::sync::{Arc, Mutex, RwLock};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::dynamodb::remote::Remote;
use crate::dynamodb::{Backend, Executed, Request, Response, error_body, listen};

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

/// The fault of one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: it is executed and answered.
    None,
    /// It is not executed, and the response is an internal error.
    RequestLost,
    /// It is executed, but the response is an internal error.
    ResponseLost,
    /// It is executed, but the response has this status and body.
    ResponseReplaced(u16, &'static str),
    /// It is executed, but the response lacks the items with this sort key.
    Hidden(String),
    /// It is executed, but the response shows this earlier version of an item.
    Outdated(Value),
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
    engine: Remote,
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
        let state = Arc::new(State {
            engine: Remote::new(engine),
            sent: Mutex::default(),
            decide: RwLock::new(Arc::new(|_, _| Fault::None)),
        });
        let shared = state.clone();
        let endpoint = listen(move |request| {
            let state = shared.clone();
            async move { state.answer(request).await }
        });
        Self { endpoint: endpoint.await, state }
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
    async fn answer(&self, request: Request) -> Response {
        let operation = request.operation();
        let decide = self.decide.read().expect("no panic").clone();
        let fault = decide(operation, &request.body);
        match &fault {
            Fault::Refused(error) => return Some((400, error_body(error, json!({})).to_string())),
            Fault::RequestLost => {
                return Some((500, error_body("InternalServerError", json!({})).to_string()));
            }
            Fault::Held(gate) => {
                gate.arrived.notify_one();
                gate.opened.notified().await;
            }
            _ => {}
        }
        let Executed { status, mut body, .. } = self.engine.execute(&request).await;
        self.sent.lock().expect("no panic").push(Sent {
            operation: operation.to_owned(),
            request: request.body.clone(),
            response: body.clone(),
        });
        match fault {
            Fault::ResponseLost => {
                Some((500, error_body("InternalServerError", json!({})).to_string()))
            }
            Fault::ResponseReplaced(status, body) => Some((status, body.to_owned())),
            Fault::Hidden(sort_key) => {
                for items in items(&mut body) {
                    items.retain(|item| item["sk"]["S"] != sort_key);
                }
                Some((status, body.to_string()))
            }
            Fault::Outdated(earlier) => {
                let items = items(&mut body).into_iter().flatten();
                for item in items.filter(|item| item["sk"] == earlier["sk"]) {
                    *item = earlier.clone();
                }
                Some((status, body.to_string()))
            }
            _ => Some((status, body.to_string())),
        }
    }
}

/// Returns the lists of items in the response to a `Query` or `BatchGetItem`.
fn items(response: &mut Value) -> Vec<&mut Vec<Value>> {
    let Some(response) = response.as_object_mut() else { return Vec::new() };
    let mut lists = Vec::new();
    for (name, part) in response {
        match (name.as_str(), part) {
            ("Items", Value::Array(items)) => lists.push(items),
            ("Responses", Value::Object(tables)) => {
                lists.extend(tables.values_mut().filter_map(Value::as_array_mut));
            }
            _ => {}
        }
    }
    lists
}
