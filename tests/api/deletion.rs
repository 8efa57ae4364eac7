//! A deleted conversation is marked at first; `purge-deleted` removes it 10 minutes later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dynoxide::Database;
use functions::jobs;
use local::engine;
use shared::table::Purged;
use tokio::net::TcpListener;

use tests::clock::Clock;
use tests::recorder::{Fault, Recorder};
use tests::service::{Service, Setup, Value, json};

const RETENTION: Duration = Duration::from_secs(600);

/// A service whose table, clock and requests to DynamoDB the test controls.
struct Purging {
    database: Database,
    recorder: Recorder,
    clock: Clock,
    service: Service,
}

impl Purging {
    async fn start() -> Self {
        let database = engine::open(None).expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let engine = engine::serve(listener, database.clone()).expect("an engine");
        let (recorder, clock) = (Recorder::start(engine).await, Clock::default());
        let service = Setup::new().engine(&recorder.endpoint).clock(&clock).start().await;
        Self { database, recorder, clock, service }
    }

    /// Creates a conversation with three messages and deletes it. Returns its id.
    async fn deleted_conversation(&self) -> String {
        let api = &self.service.api;
        let (author_id, id) = api.profile_and_conversation().await;
        for _ in 0..3 {
            api.say(&id, &author_id, "x").await;
        }
        api.delete(&format!("/conversations/{id}")).await.expect(204);
        id
    }

    async fn purge(&self) -> Purged {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
        self.service.table.for_request(deadline).purge_deleted().await.expect("a list")
    }

    /// Returns the sort keys of the items that a conversation has.
    fn items(&self, id: &str) -> Vec<String> {
        let mut tables = self.database.list_tables(Default::default()).expect("tables").table_names;
        let query = json!({
            "TableName": tables.pop().expect("a table"),
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": { ":pk": { "S": format!("CONVERSATION#{id}") } },
        });
        let query = serde_json::from_value(query).expect("a request");
        let page = json!(self.database.query(query).expect("a page"));
        let items = page["Items"].as_array().expect("items").iter();
        items.map(|item| item["sk"]["S"].as_str().expect("a key").to_owned()).collect()
    }
}

#[tokio::test]
async fn a_deleted_conversation_is_kept_for_ten_minutes_and_then_removed() {
    let purging = Purging::start().await;
    let id = purging.deleted_conversation().await;
    assert_eq!(purging.purge().await, Purged { removed: 0, failed: 0 });
    purging.clock.advance(RETENTION - Duration::from_secs(1));
    assert_eq!(purging.purge().await, Purged { removed: 0, failed: 0 });
    assert_eq!(purging.items(&id).len(), 4, "the conversation and its messages");
    purging.clock.advance(Duration::from_secs(1));
    assert_eq!(purging.purge().await, Purged { removed: 1, failed: 0 });
    assert_eq!(purging.items(&id), [""; 0]);
    assert_eq!(purging.purge().await, Purged { removed: 0, failed: 0 });
}

#[tokio::test]
async fn the_purge_removes_more_messages_than_one_query_returns() {
    let purging = Purging::start().await;
    let api = &purging.service.api;
    let (author_id, id) = api.profile_and_conversation().await;
    // 60 messages of 20 kB each are more than the 1 MB that one Query returns.
    for _ in 0..60 {
        api.say(&id, &author_id, &"👍".repeat(5000)).await;
    }
    api.delete(&format!("/conversations/{id}")).await.expect(204);
    purging.clock.advance(RETENTION);
    assert_eq!(purging.purge().await.removed, 1);
    assert_eq!(purging.items(&id), [""; 0]);
}

#[tokio::test]
async fn the_purge_removes_the_conversation_last() {
    let purging = Purging::start().await;
    purging.deleted_conversation().await;
    purging.clock.advance(RETENTION);
    let _ = purging.recorder.take();
    purging.purge().await;
    let sent = purging.recorder.take();
    let last = sent.last().expect("a request");
    assert_eq!(last.operation, "DeleteItem");
    assert_eq!(last.request["Key"]["sk"]["S"], "CONVERSATION");
}

/// A message of an unfinished post may become visible after the conversation was marked.
#[tokio::test]
async fn the_purge_removes_messages_that_become_visible_late() {
    let purging = Purging::start().await;
    let id = purging.deleted_conversation().await;
    purging.clock.advance(RETENTION);
    let first = AtomicBool::new(true);
    purging.recorder.inject(move |operation, request| {
        let of_items = operation == "Query" && request.get("IndexName").is_none();
        let hide = of_items && first.swap(false, Ordering::Relaxed);
        if hide { Fault::Hidden("MESSAGE#000000000002".into()) } else { Fault::None }
    });
    assert_eq!(purging.purge().await, Purged { removed: 1, failed: 0 });
    assert_eq!(purging.items(&id), [""; 0]);
}

#[tokio::test]
async fn a_conversation_that_cannot_be_purged_does_not_stop_the_others() {
    let purging = Purging::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(purging.deleted_conversation().await);
    }
    purging.clock.advance(RETENTION);
    // The newest conversation is purged first, so an error there would stop all others.
    let broken: Arc<str> = ids[2].as_str().into();
    purging.recorder.inject(move |operation, request| {
        let refuse = operation == "BatchWriteItem" && request.to_string().contains(&*broken);
        if refuse { Fault::Refused("AccessDeniedException") } else { Fault::None }
    });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
    let job = jobs::purge_deleted(purging.service.table.for_request(deadline)).await;
    let error = job.expect_err("the job reports the failure").chain();
    assert!(error.contains("1 conversations could not be purged"), "{error}");
    let left: Vec<usize> = ids.iter().map(|id| purging.items(id).len()).collect();
    assert_eq!(left, [0, 0, 4]);

    purging.recorder.clear();
    assert_eq!(purging.purge().await, Purged { removed: 1, failed: 0 });
    assert_eq!(purging.items(&ids[2]), [""; 0]);
}

#[tokio::test]
async fn a_post_in_flight_stores_nothing_after_its_conversation_was_deleted() {
    let purging = Purging::start().await;
    let api = &purging.service.api;
    let (author_id, id) = api.profile_and_conversation().await;
    let gate = tests::recorder::Gate::default();
    let (held, first) = (gate.clone(), AtomicBool::new(true));
    purging.recorder.inject(move |operation, _| {
        let hold = operation == "TransactWriteItems" && first.swap(false, Ordering::Relaxed);
        if hold { Fault::Held(held.clone()) } else { Fault::None }
    });
    let post = tokio::spawn({
        let (api, path) = (api.clone(), format!("/conversations/{id}/messages"));
        let body = json!({ "author_id": author_id, "text": "x" });
        async move { api.post(&path, &body).await }
    });
    gate.arrival().await;
    api.delete(&format!("/conversations/{id}")).await.expect(204);
    gate.open();
    post.await.expect("a response").problem(404);
    let profile: Value = api.get(&format!("/profiles/{author_id}")).await.expect(200);
    assert_eq!(profile["points"], 0);
}
