//! Everything that can go wrong with one request to DynamoDB.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Backend, Request, Response, cancellation, error_body};

/// The fault of one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request is executed and answered.
    None,
    /// Not executed. The response is this error with status 400.
    Refused(&'static str),
    /// Not executed. The response is this error with this status.
    Failed(u16, &'static str),
    /// Not executed: a transaction is cancelled with these reasons, one for each write.
    Cancelled(Vec<&'static str>),
    /// Not executed. The connection ends.
    RequestLost,
    /// Executed, but the response is an internal error.
    AnswerLost,
    /// Executed, but the connection ends.
    ConnectionLost,
    /// The connection ends, and the request is executed later.
    Late(Duration),
    /// Executed only when this is notified.
    Held(Arc<Notify>),
    /// The response cannot be read, whether the request was executed or not.
    Unreadable {
        /// True if the engine executes the request.
        executed: bool,
        /// The response.
        form: Unreadable,
    },
    /// Only a random part of a batch or a page is processed; the number is the seed.
    Partial(u64),
    /// The keys of a `BatchGetItem` are read one after the other, with pauses; the number is the
    /// seed.
    OneByOne(u64),
}

/// A response that the SDK cannot read as DynamoDB's, for example from a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// 200 with half a body.
    BrokenBody,
    /// 302 Found.
    Redirect,
    /// 408 Request Timeout.
    Timeout,
    /// 400 without a DynamoDB error type.
    Untyped,
}

impl Unreadable {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::BrokenBody, Self::Redirect, Self::Timeout, Self::Untyped];

    fn response(self) -> (u16, String) {
        let (status, body) = match self {
            Self::BrokenBody => (200, r#"{"ConsumedCapacity":[{"Tab"#),
            Self::Redirect => (302, ""),
            Self::Timeout => (408, "<h1>Request Timeout</h1>"),
            Self::Untyped => (400, "{}"),
        };
        (status, body.to_owned())
    }
}

/// Answers a request with this fault.
pub async fn respond<B: Backend>(backend: &Arc<B>, request: &Request, fault: Fault) -> Response {
    match fault {
        Fault::None => answer(backend, request).await,
        Fault::Refused(error) => Some((400, error_body(error, json!({})).to_string())),
        Fault::Failed(status, error) => Some((status, error_body(error, json!({})).to_string())),
        Fault::Cancelled(codes) => Some((400, cancellation(&codes).to_string())),
        Fault::RequestLost => None,
        Fault::AnswerLost => {
            backend.execute(request).await;
            Some((500, error_body("InternalServerError", json!({})).to_string()))
        }
        Fault::ConnectionLost => {
            backend.execute(request).await;
            None
        }
        Fault::Late(delay) => {
            let (backend, request) = (backend.clone(), request.clone());
            tokio::spawn(async move {
                sleep(delay).await;
                backend.execute(&request).await;
            });
            None
        }
        Fault::Held(until) => {
            until.notified().await;
            answer(backend, request).await
        }
        Fault::Unreadable { executed, form } => {
            if executed {
                backend.execute(request).await;
            }
            Some(form.response())
        }
        Fault::Partial(seed) => partial(backend, request, &mut Rng::with_seed(seed)).await,
        Fault::OneByOne(seed) => one_by_one(backend, request, &mut Rng::with_seed(seed)).await,
    }
}

/// Executes a request, and answers when its writes are visible.
async fn answer(backend: &Arc<impl Backend>, request: &Request) -> Response {
    let executed = backend.execute(request).await;
    sleep(executed.settles_in).await;
    Some((executed.status, executed.body.to_string()))
}

/// Processes a random part of a batch or a page, and reports the rest as unprocessed.
async fn partial(backend: &Arc<impl Backend>, request: &Request, rng: &mut Rng) -> Response {
    let mut body = request.body.clone();
    let (rest_name, rest) = match request.operation() {
        "BatchGetItem" => {
            let rest = split(&mut body["RequestItems"], |keys| &mut keys["Keys"], rng);
            ("UnprocessedKeys", rest)
        }
        "BatchWriteItem" => {
            ("UnprocessedItems", split(&mut body["RequestItems"], |writes| writes, rng))
        }
        _ => {
            if let Some(limit) = body["Limit"].as_u64().filter(|limit| *limit > 1) {
                body["Limit"] = json!(rng.u64(1..limit));
            }
            return answer(backend, &request.with_body(body)).await;
        }
    };
    let mut executed = backend.execute(&request.with_body(body)).await;
    merge(&mut executed.body[rest_name], rest);
    Some((executed.status, executed.body.to_string()))
}

/// Keeps a random first part, at least one entry, of each table's list. Returns the rest.
fn split(tables: &mut Value, list: impl Fn(&mut Value) -> &mut Value, rng: &mut Rng) -> Value {
    let mut rest = tables.clone();
    let names: Vec<String> = tables.as_object().expect("tables").keys().cloned().collect();
    for name in names {
        let entries = list(&mut tables[&name]).as_array_mut().expect("a list");
        let left = entries.split_off(rng.usize(1..=entries.len()));
        if left.is_empty() {
            rest.as_object_mut().expect("tables").remove(&name);
        } else {
            *list(&mut rest[&name]) = json!(left);
        }
    }
    rest
}

/// Adds unprocessed entries to those that the engine left itself.
fn merge(left: &mut Value, rest: Value) {
    for (name, rest) in rest.as_object().into_iter().flatten() {
        match (left.get_mut(name).and_then(Value::as_array_mut), rest.as_array()) {
            (Some(left), Some(rest)) => left.extend(rest.iter().cloned()),
            _ => left[name] = rest.clone(),
        }
    }
}

/// Reads each key separately, so that the response is not of one moment.
async fn one_by_one(backend: &Arc<impl Backend>, request: &Request, rng: &mut Rng) -> Response {
    let tables = request.body["RequestItems"].as_object();
    let (name, table) = tables.and_then(|tables| tables.iter().next()).expect("a table");
    let mut items: Vec<Value> = Vec::new();
    for key in table["Keys"].as_array().expect("keys") {
        let mut one = table.clone();
        one["Keys"] = json!([key]);
        let one = request.with_body(json!({ "RequestItems": { name: one } }));
        let mut executed = backend.execute(&one).await;
        let found = executed.body["Responses"][name].as_array_mut().map(std::mem::take);
        items.extend(found.unwrap_or_default());
        sleep(Duration::from_millis(rng.u64(..40))).await;
    }
    let body = json!({ "Responses": { name: items }, "UnprocessedKeys": {} });
    Some((200, body.to_string()))
}
