//! How the tests start the service and talk to it.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use functions::http::Auth;
use local::authorizer::Authorizer;
use local::template::{TEMPLATE, Template};
use local::{Gateway, engine};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
pub use serde_json::{Value, json};
use shared::Table;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use uuid::Uuid;

/// A running service.
#[derive(Clone)]
pub struct Api {
    client: Client,
    url: String,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON, whatever the status.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// Fails unless the answer has this status.
    #[track_caller]
    pub fn with_status(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn with(&self, status: u16) -> Value {
        self.with_status(status);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Problem details that must have this status and the shape of RFC 9457.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        let problem = self.with(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }

    /// The fields that a 422 complains about.
    #[track_caller]
    pub fn invalid_fields(&self) -> Vec<String> {
        let problem = self.problem(422);
        let errors = problem["errors"].as_object().unwrap_or_else(|| panic!("{problem}"));
        assert!(
            errors.values().all(|why| why.as_array().is_some_and(|why| !why.is_empty())),
            "{problem}"
        );
        let mut fields: Vec<String> = errors.keys().cloned().collect();
        fields.sort();
        fields
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of ASCII"))
    }
}

impl Api {
    /// The service: the one at `CHAT_API_URL`, or one that belongs to this test.
    pub async fn start() -> Self {
        match env::var("CHAT_API_URL") {
            Ok(url) if !url.is_empty() => Self::at(url.trim_end_matches('/')),
            _ => Self::own().await,
        }
    }

    /// A service that belongs to this test, with an empty table.
    pub async fn own() -> Self {
        Self::on(&engine_endpoint().await).await
    }

    /// A service on an engine, with an empty table.
    pub async fn on(endpoint: &str) -> Self {
        let (template, table) = new_table(endpoint).await;
        Self::serve(&template, table).await
    }

    /// A service that answers only those who are signed in, without a table behind it.
    pub async fn closed() -> Self {
        let template = Template::parse(TEMPLATE).expect("the template");
        Self::serve_as(Auth::Jwt, &template, Table::connect("http://127.0.0.1:1", "none")).await
    }

    /// A service on this table.
    pub async fn serve(template: &Template, table: Table) -> Self {
        Self::serve_as(Auth::Open, template, table).await
    }

    /// A service on this table that is closed, behind this authorizer.
    pub async fn behind(authorizer: Arc<Authorizer>, template: &Template, table: Table) -> Self {
        Self::behind_for(authorizer, template, table, &[]).await
    }

    /// The same, for pages of these origins too.
    pub async fn behind_for(
        authorizer: Arc<Authorizer>,
        template: &Template,
        table: Table,
        origins: &[String],
    ) -> Self {
        let gateway = Gateway::new(template, table, Auth::Jwt)
            .expect("a gateway")
            .with_authorizer(authorizer);
        Self::listen(gateway.with_cors_origins(origins, &template.cors).expect("origins")).await
    }

    async fn serve_as(auth: Auth, template: &Template, table: Table) -> Self {
        Self::listen(Gateway::new(template, table, auth).expect("a gateway")).await
    }

    async fn listen(gateway: Gateway) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(gateway.serve(listener, std::future::pending()));
        Self::at(&url)
    }

    pub fn at(url: &str) -> Self {
        Self { client: Client::new(), url: url.to_owned() }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request with these headers and this body, as they are.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request =
            self.client.request(method, format!("{}{path}", self.url)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("a body").to_vec();
        Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned(), bytes }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.send("POST", path, &headers, body.to_string()).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "PATCH",
            path,
            &[("content-type", "application/merge-patch+json")],
            body.to_string(),
        )
        .await
    }

    /// Creates a profile, and answers its id.
    pub async fn profile(&self, first_name: &str) -> String {
        let profile = self.post("/profiles", &json!({ "first_name": first_name })).await.with(201);
        profile["id"].as_str().expect("an id").to_owned()
    }

    /// Opens a conversation, and answers its id.
    pub async fn conversation(&self, author_id: &str) -> String {
        let conversation = json!({ "subject": "A subject", "author_id": author_id });
        let conversation = self.post("/conversations", &conversation).await.with(201);
        conversation["id"].as_str().expect("an id").to_owned()
    }

    /// A profile and its conversation.
    pub async fn profile_and_conversation(&self) -> (String, String) {
        let profile = self.profile("Ada").await;
        let conversation = self.conversation(&profile).await;
        (profile, conversation)
    }

    /// Posts a text, and answers the posted message.
    pub async fn say(&self, conversation_id: &str, author_id: &str, text: &str) -> Value {
        let message = json!({ "author_id": author_id, "text": text });
        self.post(&format!("/conversations/{conversation_id}/messages"), &message).await.with(201)
    }

    /// All messages of a conversation, oldest first, as a poller sees them from the start.
    pub async fn messages(&self, conversation_id: &str) -> Vec<Value> {
        let mut messages = Vec::new();
        let mut next = Some(format!("/conversations/{conversation_id}/messages?limit=100&after=0"));
        while let Some(path) = next {
            let page = self.get(&path).await.with(200);
            messages.extend(page["results"].as_array().expect("results").iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
        }
        messages
    }
}

/// An engine in memory, or the one that all tests share.
pub async fn engine_endpoint() -> String {
    match env::var("AWS_ENDPOINT_URL_DYNAMODB") {
        Ok(endpoint) if !endpoint.is_empty() => endpoint,
        _ => embedded_engine().await,
    }
}

/// An embedded engine in memory, whatever the others use.
pub async fn embedded_engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    engine::serve(listener, engine::open(None).expect("a database")).expect("an engine")
}

/// A request that the service sent to DynamoDB, and the answer.
#[derive(Clone, Debug)]
pub struct Sent {
    pub operation: String,
    pub request: Value,
    pub answer: Value,
}

impl Sent {
    /// The capacity units that the engine says this consumed.
    pub fn units(&self) -> f64 {
        let one = |consumed: &Value| consumed["CapacityUnits"].as_f64().unwrap_or_default();
        match &self.answer["ConsumedCapacity"] {
            Value::Array(consumed) => consumed.iter().map(one).sum(),
            consumed => one(consumed),
        }
    }
}

/// What goes wrong between the service and an engine.
#[derive(Clone, Debug)]
pub enum Fault {
    None,
    /// The engine carries the request out, but an internal error is answered.
    AnswerLost,
    /// This error is answered, and the engine never sees the request.
    Refused(&'static str),
    /// The engine sees the request only once this is notified.
    Held(Arc<Notify>),
}

fn refusal(
    status: StatusCode,
    error: &str,
) -> (StatusCode, [(&'static str, &'static str); 1], Bytes) {
    let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{error}") }).to_string();
    (status, [("content-type", "application/x-amz-json-1.0")], body.into())
}

/// Stands between the service and an engine, and keeps all that passes.
#[derive(Clone)]
pub struct Recorder {
    pub endpoint: String,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Recorder {
    pub async fn start(engine: String) -> Self {
        Self::with_faults(engine, |_| Fault::None).await
    }

    /// One that for each operation asks what shall go wrong.
    pub async fn with_faults(
        engine: String,
        fault: impl Fn(&str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let fault = Arc::new(fault);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let (client, log) = (Client::new(), sent.clone());
        let app = Router::new().fallback(move |request: Request| {
            let (client, engine, log, fault) =
                (client.clone(), engine.clone(), log.clone(), fault.clone());
            async move {
                let (parts, body) = request.into_parts();
                let target = parts.headers["x-amz-target"].to_str().expect("a target");
                let operation = target.rsplit('.').next().expect("an operation").to_owned();
                let fault = fault(&operation);
                match &fault {
                    Fault::Refused(error) => return refusal(StatusCode::BAD_REQUEST, error),
                    Fault::Held(until) => until.notified().await,
                    Fault::None | Fault::AnswerLost => {}
                }
                let body: Bytes = to_bytes(body, usize::MAX).await.expect("a body");
                let forwarded = client
                    .post(engine)
                    .headers(parts.headers.clone())
                    .body(body.clone())
                    .send()
                    .await;
                let forwarded = forwarded.expect("an answer of the engine");
                let status = forwarded.status();
                let answer = forwarded.bytes().await.expect("a body");
                log.lock().expect("no panic").push(Sent {
                    operation,
                    request: serde_json::from_slice(&body).expect("JSON"),
                    answer: serde_json::from_slice(&answer).expect("JSON"),
                });
                if matches!(fault, Fault::AnswerLost) {
                    return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError");
                }
                (status, [("content-type", "application/x-amz-json-1.0")], answer)
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, sent }
    }

    /// What was sent since the last call.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().expect("no panic"))
    }
}

/// The service's template, and an empty table as it declares on this engine.
pub async fn new_table(endpoint: &str) -> (Template, Table) {
    let template = Template::parse(TEMPLATE).expect("the template");
    let table = Table::connect(endpoint, &format!("test-{}", Uuid::new_v4()));
    table.create(&template.table).await.expect("a table");
    (template, table)
}

/// Checks that two places say the same, and names what stands in one of them only.
#[track_caller]
pub fn assert_same<T: Ord + Debug>(
    here: &str,
    ours: &BTreeSet<T>,
    there: &str,
    theirs: &BTreeSet<T>,
) {
    let only_here: Vec<&T> = ours.difference(theirs).collect();
    let only_there: Vec<&T> = theirs.difference(ours).collect();
    assert!(
        only_here.is_empty() && only_there.is_empty(),
        "only in {here}: {only_here:?}; only in {there}: {only_there:?}"
    );
}
