//! The log has one line for each request, in the form that Lambda reads, and nothing that a client
//! sent. This is a target of its own, because a process has one log.

use std::io::{Result, Write};
use std::panic;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::authorizer::{AUDIENCE, Authorizer};
use local::live::Limits;
use shared::Time;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use uuid::Uuid;

use tests::recorder::{Fault, Recorder};
use tests::service::{Api, Setup, Value, embedded_engine, json};
use tests::socket::{Socket, ticket};

/// The log, as JSON lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Log {
    /// Starts logging at every level: an operator may turn on the lowest.
    fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = functions::log::subscriber(LevelFilter::TRACE, move || writer.clone())
            .with(
                // The engine is not part of a function.
                filter_fn(|metadata| !metadata.target().starts_with("dynoxide")),
            );
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
        log
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Returns the fields of the lines with this message.
    fn fields(&self, message: &str) -> Vec<Value> {
        let lines = self.lines().into_iter();
        let lines = lines.filter(|line| line["fields"]["message"] == message);
        lines.map(|line| line["fields"].clone()).collect()
    }
}

/// The secrets of a client: everything that it sends contains `canary`, except these.
struct Client {
    api: Api,
    token: String,
    expired: String,
    key: String,
}

impl Client {
    fn new(api: Api, authorizer: &Authorizer) -> Self {
        let token = |lifetime| {
            let scopes = "chat/read chat/write";
            authorizer.token("canary-subject", scopes, lifetime).expect("a token")
        };
        let (token, expired) = (token(Duration::from_secs(60)), token(Duration::ZERO));
        Self { api, token, expired, key: Uuid::new_v4().to_string() }
    }

    /// Sends a request with the valid token and checks its status. Returns the location of what it
    /// created.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        status: u16,
    ) -> String {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        let response = self.api.send(method, path, &all, body).await;
        response.expect_status(status);
        response.header("location").to_owned()
    }

    /// Sends fifteen requests that reach a function, each with a canary, and three that do not. The
    /// fourth posts a message.
    async fn send_canaries(&self) {
        let json = ("content-type", "application/json");
        let keyed = [json, ("idempotency-key", self.key.as_str())];
        let profile = json!({ "first_name": "canary-name", "job_title": "canary-title" });
        let profile = self.send("POST", "/profiles", &keyed, &profile.to_string(), 201).await;
        let author_id = profile.rsplit('/').next().expect("an id");
        let opening = json!({ "subject": "canary-subject", "author_id": author_id }).to_string();
        self.send("POST", "/conversations", &keyed, &opening, 422).await;
        let conversation = self.send("POST", "/conversations", &[json], &opening, 201).await;
        let messages = format!("{conversation}/messages");
        let message = json!({
            "author_id": author_id, "text": "canary-text",
            "metadata": { "canary-name": "canary-value" },
        });
        let message = self.send("POST", &messages, &[json], &message.to_string(), 201).await;
        self.send("PATCH", &message, &[json], r#"{"text":"canary-edit"}"#, 200).await;
        let unknown = json!({ "author_id": author_id, "text": "canary-text", "canary-field": 1 });
        self.send("POST", &messages, &keyed, &unknown.to_string(), 422).await;
        self.send("GET", &messages, &[], "", 200).await;
        self.send("GET", &format!("{conversation}/members"), &[], "", 200).await;
        let read = format!("{conversation}/members/{author_id}/read");
        self.send("PUT", &read, &[json], r#"{"seq":1}"#, 200).await;
        self.send("GET", &format!("{profile}/conversations"), &[], "", 200).await;
        self.send("GET", "/profiles/canary-id", &[], "", 400).await;
        self.send("GET", "/profiles?canary-query=canary", &[], "", 400).await;
        self.send("POST", "/profiles", &[json], "{\"canary-malformed", 400).await;
        let media_type = ("content-type", "canary/type");
        self.send("POST", "/profiles", &[media_type], "canary-body", 415).await;
        let key = ("idempotency-key", "canary key");
        self.send("POST", "/profiles", &[json, key], "{}", 400).await;
        let truncated = &self.token[..self.token.len() - 1];
        for token in [self.expired.as_str(), "canary-token", truncated] {
            let headers = [("authorization", token)];
            self.api.send("GET", "/profiles", &headers, "").await.expect_status(401);
        }
    }
}

/// Panics as a function would, with the hook that functions install.
fn panic_in_a_function() {
    let hook = panic::take_hook();
    functions::log::log_panics();
    panic::catch_unwind(|| panic!("canary-panic")).expect_err("a panic");
    panic::set_hook(hook);
}

/// The hash of `canary-subject`: `printf canary-subject | openssl dgst -sha256 -binary | basenc
/// --base64url`, without the padding.
const HASHED_SUBJECT: &str = "2H4dfhwHXq1zbPNL9v8saBosUqikZpQH7ncXwBrmA6M";

/// Follows a conversation through a WebSocket, with canaries in every frame. Returns the secret of the
/// ticket.
async fn follow_canaries(authorizer: &Arc<Authorizer>, log: &Log) -> String {
    let setup = Setup::new().authorizer(authorizer.clone());
    let client = Client::new(setup.start_live(Limits::default()).await.api, authorizer);
    let json = ("content-type", "application/json");
    let profile = r#"{"first_name":"canary-name"}"#;
    let profile = client.send("POST", "/profiles", &[json], profile, 201).await;
    let author_id = profile.rsplit('/').next().expect("an id");
    let opening = json!({ "subject": "canary-subject", "author_id": author_id }).to_string();
    let conversation = client.send("POST", "/conversations", &[json], &opening, 201).await;
    let id = conversation.rsplit('/').next().expect("an id");

    let url = ticket(&client.api, Some(&client.token)).await;
    let (address, secret) = url.split_once('=').expect("a ticket");
    assert!(Socket::connect(&format!("{address}=canary-ticket")).await.is_err());
    let mut socket = Socket::connect(&url).await.expect("a connection");
    for frame in [
        json!({ "action": "canary-action" }),
        json!({ "action": "subscribe", "conversation_id": "canary-id", "canary": 1 }),
    ] {
        socket.send(&frame).await;
        socket.next().await;
    }
    assert_eq!(socket.subscribe(id, "0.0").await["type"], "changes");
    let message = json!({ "author_id": author_id, "text": "canary-text" }).to_string();
    client.send("POST", &format!("{conversation}/messages"), &[json], &message, 201).await;
    assert_eq!(socket.next().await["results"][0]["text"], "canary-text");
    assert!(log.fields("event handled").len() >= 4, "one line for each event");
    secret.to_owned()
}

/// Lets a request fail, and checks that one id identifies it for the client, in the access log, and
/// in both lines of the function.
async fn check_failure(client: &Client, recorder: &Recorder, log: &Log) {
    recorder.inject(|_, _| Fault::Refused("ValidationException"));
    let bearer = format!("Bearer {}", client.token);
    let response = client.api.send("GET", "/profiles", &[("authorization", &bearer)], "").await;
    let problem = response.expect_code(500, "internal");
    recorder.clear();
    assert_eq!(problem["request_id"], response.header("apigw-requestid"), "{problem}");
    let failed = log.fields("request failed");
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["request_id"], problem["request_id"]);
    assert!(failed[0]["error"].to_string().contains("ValidationException"), "{failed:?}");
    let completed = log.fields("request completed").pop().expect("a line");
    for id in ["request_id", "lambda_request_id"] {
        assert_eq!(completed[id], failed[0][id], "{id}");
    }
    assert_ne!(completed["request_id"], completed["lambda_request_id"]);
}

/// Checks that Lambda finds the level of each line: it takes a line without a valid `timestamp` for
/// INFO.
fn check_levels(lines: &[Value]) {
    for line in lines {
        let timestamp = line["timestamp"].as_str().unwrap_or_default().to_owned();
        let time = Time::try_from(timestamp.clone()).unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(time.to_string(), timestamp, "UTC, milliseconds");
        let level = line["level"].as_str().unwrap_or_default();
        assert!(["INFO", "WARN", "ERROR"].contains(&level), "{line}");
    }
}

fn check_request(post: &Value) {
    assert_eq!(post["caller"], HASHED_SUBJECT);
    assert_eq!(post["client_id"], AUDIENCE);
    assert_eq!(post["function"], "create-message");
    assert_eq!(post["route"], "POST /conversations/{conversation_id}/messages");
    assert_eq!(post["status"], 201);
    assert_eq!(post["requests"], 3);
    assert_eq!(post["transactions"], 1);
    for number in ["latency_ms", "read_units", "write_units"] {
        assert!(post[number].is_number(), "{number}: {post}");
    }
    assert!(post["cold_start"].is_boolean(), "{post}");
    assert!(Uuid::parse_str(post["request_id"].as_str().expect("an id")).is_ok());
}

#[tokio::test]
async fn each_request_is_one_line_without_anything_that_the_client_sent() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let recorder = Recorder::start(embedded_engine().await).await;
    let setup = Setup::new().engine(&recorder.endpoint).authorizer(authorizer.clone());
    let client = Client::new(setup.start().await.api, &authorizer);
    let log = Log::start();
    client.send_canaries().await;
    panic_in_a_function();

    let errors = log.lines().into_iter().filter(|line| line["level"] == "ERROR");
    let locations: String = errors.map(|line| line["fields"]["location"].to_string()).collect();
    assert!(locations.contains(file!()), "a panic is one line with its location: {locations}");
    let requests = log.fields("request completed");
    assert_eq!(requests.len(), 15);
    check_request(&requests[3]);
    assert_eq!(requests[1]["status"], 422);
    check_failure(&client, &recorder, &log).await;
    let ticket = follow_canaries(&authorizer, &log).await;
    check_levels(&log.lines());
    let signature = |token: &str| token.rsplit('.').next().expect("a signature").to_owned();
    let secrets = [
        "canary".to_owned(),
        client.key.clone(),
        signature(&client.token),
        signature(&client.expired),
        ticket,
    ];
    for line in log.lines() {
        let line = line.to_string();
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
}
