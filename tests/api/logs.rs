//! One line for each request, and nothing of what was said in it. In a process of its own, because the log is one for a process.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "this target needs a part of what the other one does"
)]
use std::io::{Result, Write};
use std::panic;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::authorizer::Authorizer;
use tracing::Level;
use uuid::Uuid;

use tests::service::{Api, Value, embedded_engine, json, new_table};

/// All that is logged, as JSON lines.
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
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }

    /// All lines but those of the engine, which no function has.
    fn lines(&self) -> Vec<Value> {
        let lines: Vec<Value> =
            self.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        lines
            .into_iter()
            .filter(|line| {
                !line["target"].as_str().is_some_and(|target| target.starts_with("dynoxide"))
            })
            .collect()
    }

    /// What the lines say that tell of a request.
    fn requests(&self) -> Vec<Value> {
        self.lines()
            .into_iter()
            .filter(|line| line["target"] == "functions::http")
            .map(|line| line["fields"].clone())
            .collect()
    }
}

#[tokio::test]
async fn a_request_is_one_line_that_says_what_it_did_and_never_what_was_said() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let (template, table) = new_table(&embedded_engine().await).await;
    let api = Api::behind(authorizer.clone(), &template, table).await;
    let log = Log::default();
    let writer = log.clone();
    // Every level: what a library tells at the lowest is in the log once somebody turns it on.
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only one");

    let lifetime = Duration::from_secs(60);
    let token =
        authorizer.token("canary-subject", "chat/read chat/write", lifetime).expect("a token");
    let expired = authorizer
        .token("canary-subject", "chat/read chat/write", Duration::ZERO)
        .expect("a token");
    let bearer = format!("Bearer {token}");
    let key = Uuid::new_v4().to_string();
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
        ("idempotency-key", key.as_str()),
    ];
    let send = |method, path: String, body: Value| {
        let api = api.clone();
        async move { api.send(method, &path, &headers, body.to_string()).await }
    };
    let profile = send(
        "POST",
        "/profiles".into(),
        json!({ "first_name": "canary-name", "job_title": "canary-title" }),
    )
    .await;
    let author_id = profile.with(201)["id"].clone();
    let opening = json!({ "subject": "canary-subject", "author_id": author_id });
    // The key is used: what is said of it is not for the log either.
    send("POST", "/conversations".into(), opening.clone()).await.problem(422);
    let opened = api.send("POST", "/conversations", &headers[..2], opening.to_string()).await;
    opened.with_status(201);
    let messages = format!("{}/messages", opened.header("location"));
    let message = json!({ "author_id": author_id, "text": "canary-text", "metadata": { "canary-name": "canary-value" } });
    let posted = api.send("POST", &messages, &headers[..2], message.to_string()).await;
    posted.with_status(201);
    api.send("PATCH", posted.header("location"), &headers[..2], r#"{"text":"canary-edit"}"#)
        .await
        .with_status(200);
    send(
        "POST",
        messages.clone(),
        json!({ "author_id": author_id, "text": "canary-text", "canary-field": 1 }),
    )
    .await
    .problem(422);
    for (path, status) in [
        (messages.as_str(), 200),
        ("/profiles/canary-id", 400),
        ("/profiles?canary-query=canary", 400),
    ] {
        api.send("GET", path, &headers[1..2], "").await.with_status(status);
    }
    api.send("POST", "/profiles", &headers[..2], "{\"canary-malformed").await.problem(400);
    api.send("POST", "/profiles", &[("content-type", "canary/type"), headers[1]], "canary-body")
        .await
        .problem(415);
    api.send(
        "POST",
        "/profiles",
        &[headers[0], headers[1], ("idempotency-key", "canary-key")],
        "{}",
    )
    .await
    .problem(400);
    for token in [expired.as_str(), "canary-token", &token[..token.len() - 1]] {
        api.send("GET", "/profiles", &[("authorization", token)], "").await.with_status(401);
    }

    let hook = panic::take_hook();
    functions::log::log_panics();
    panic::catch_unwind(|| panic!("canary-panic")).expect_err("a panic");
    panic::set_hook(hook);
    let panics = log
        .lines()
        .into_iter()
        .filter(|line| line["level"] == "ERROR")
        .map(|line| line["fields"]["location"].to_string());
    assert!(panics.collect::<String>().contains(file!()), "a panic is a line that says where");

    let requests = log.requests();
    assert_eq!(requests.len(), 12);
    let post = &requests[3];
    assert_eq!(
        (&post["function"], &post["route"]),
        (&json!("create-message"), &json!("POST /conversations/{conversation_id}/messages"))
    );
    assert_eq!(
        (&post["status"], &post["requests"], &post["transactions"]),
        (&json!(201), &json!(2), &json!(1))
    );
    assert!(post["latency_ms"].is_number() && post["cold_start"].is_boolean(), "{post}");
    assert!(Uuid::parse_str(post["request_id"].as_str().expect("an id")).is_ok());
    assert!(post["read_units"].is_number() && post["write_units"].is_number(), "{post}");
    assert_eq!(requests[1]["status"], 422);
    let signature = |token: &str| token.rsplit('.').next().expect("a signature").to_owned();
    for line in log.lines() {
        for secret in ["canary", &key, &signature(&token), &signature(&expired)] {
            assert!(!line.to_string().contains(secret), "{secret}: {line}");
        }
    }
}
