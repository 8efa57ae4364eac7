//! One line for each request, and nothing of what was said in it. In a process of its own, because the log is one for a process.

#[allow(dead_code, unreachable_pub, reason = "this target needs a part of what the other one does")]
mod support;

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

use tracing::Level;
use uuid::Uuid;

use support::{Api, Value, json};

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
        let lines: Vec<Value> = self.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        lines.into_iter().filter(|line| !line["target"].as_str().is_some_and(|target| target.starts_with("dynoxide"))).collect()
    }

    /// What the lines say that tell of a request.
    fn requests(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["target"] == "functions::http").map(|line| line["fields"].clone()).collect()
    }
}

#[tokio::test]
async fn a_request_is_one_line_that_says_what_it_did_and_never_what_was_said() {
    let api = Api::own().await;
    let log = Log::default();
    let writer = log.clone();
    // Every level: what a library tells at the lowest is in the log once somebody turns it on.
    let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::TRACE).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only one");

    let (author_id, id) = api.profile_and_conversation().await;
    let key = Uuid::new_v4().to_string();
    let body = json!({ "author_id": author_id, "text": "canary-text", "metadata": { "canary-name": "canary-value" } });
    let path = format!("/conversations/{id}/messages");
    api.post_with_key(&path, &key, &body).await.with(201);
    api.post(&path, &json!({ "author_id": author_id, "text": "canary-text", "canary-field": 1 })).await.problem(422);
    api.get(&path).await.with(200);

    let requests = log.requests();
    assert_eq!(requests.len(), 5);
    let post = &requests[2];
    assert_eq!(
        (&post["function"], &post["route"]),
        (&json!("create-message"), &json!("POST /conversations/{conversation_id}/messages"))
    );
    assert_eq!((&post["status"], &post["requests"], &post["transactions"]), (&json!(201), &json!(2), &json!(1)));
    assert!(post["latency_ms"].is_number() && post["cold_start"].is_boolean(), "{post}");
    assert!(Uuid::parse_str(post["request_id"].as_str().expect("an id")).is_ok());
    assert!(post["read_units"].is_number() && post["write_units"].is_number(), "{post}");
    assert_eq!(requests[3]["status"], 422);
    for line in log.lines() {
        assert!(!line.to_string().contains("canary") && !line.to_string().contains(&key), "{line}");
    }
}
