//! The log has one line for each request, and nothing that a client sent. This is a target of its
//! own, because a process has one log.

use std::io::{Result, Write};
use std::panic;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::authorizer::Authorizer;
use tracing::Level;
use uuid::Uuid;

use tests::service::{Api, Setup, Value, embedded_engine, json};

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
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
        log
    }

    /// Returns every line except those of the engine, which is not part of a function.
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let of_engine = |line: &Value| {
            line["target"].as_str().is_some_and(|target| target.starts_with("dynoxide"))
        };
        lines.filter(|line| !of_engine(line)).collect()
    }

    /// Returns the fields of the lines of requests.
    fn requests(&self) -> Vec<Value> {
        let lines = self.lines().into_iter();
        let requests = lines.filter(|line| line["fields"]["message"] == "request completed");
        requests.map(|line| line["fields"].clone()).collect()
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

fn check_request(post: &Value) {
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
    let engine = embedded_engine().await;
    let setup = Setup::new().engine(&engine).authorizer(authorizer.clone());
    let client = Client::new(setup.start().await.api, &authorizer);
    let log = Log::start();
    client.send_canaries().await;
    panic_in_a_function();

    let errors = log.lines().into_iter().filter(|line| line["level"] == "ERROR");
    let locations: String = errors.map(|line| line["fields"]["location"].to_string()).collect();
    assert!(locations.contains(file!()), "a panic is one line with its location: {locations}");
    let requests = log.requests();
    assert_eq!(requests.len(), 15);
    check_request(&requests[3]);
    assert_eq!(requests[1]["status"], 422);
    let signature = |token: &str| token.rsplit('.').next().expect("a signature").to_owned();
    let secrets = [
        "canary".to_owned(),
        client.key.clone(),
        signature(&client.token),
        signature(&client.expired),
    ];
    for line in log.lines() {
        let line = line.to_string();
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
}
