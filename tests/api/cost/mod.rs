//! Which requests each operation sends to DynamoDB, and what they consume according to the engine.

mod members;

use std::time::Duration;

use dynoxide::Database;
use local::engine;
use shared::{RateLimit, Table};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::stage::{Post, Stage, operations};
use tests::recorder::{Recorder, Sent};
use tests::service::{Api, Setup, Value, embedded_engine, json, parse_template};

/// Returns the read units and the write units of requests.
fn units(sent: &[Sent]) -> (f64, f64) {
    let reads = |sent: &&Sent| ["BatchGetItem", "Query"].contains(&sent.operation.as_str());
    let sum = |reading| sent.iter().filter(|sent| reads(sent) == reading).map(Sent::units).sum();
    (sum(true), sum(false))
}

/// Returns the units of a post that earns the 9th point, one that earns the 10th, and one with an
/// idempotency key: read units, and write units.
async fn post_costs(api: &Api, recorder: &Recorder, conversation_id: &str) -> Vec<(f64, f64)> {
    let author_id = api.profile("Ada").await;
    let path = format!("/conversations/{conversation_id}/messages");
    let body = json!({ "author_id": author_id, "text": "x" });
    for _ in 0..8 {
        api.post(&path, &body).await.expect(201);
    }
    let mut costs = Vec::new();
    let _ = recorder.take();
    for key in [None, None, Some(Uuid::new_v4().to_string())] {
        match key {
            None => api.post(&path, &body).await.expect(201),
            Some(key) => api.post_with_key(&path, &key, &body).await.expect(201),
        };
        let sent = recorder.take();
        assert_eq!(operations(&sent), ["BatchGetItem", "UpdateItem", "TransactWriteItems"]);
        costs.push(units(&sent));
    }
    costs
}

/// Fills a conversation up to this `seq` with copies of its first message, directly in the engine.
fn fill(database: &Database, conversation_id: &str, last: u64) {
    let send = |operation: &str, body: Value| -> Value {
        let target = format!("DynamoDB_20120810.{operation}");
        let (status, response) = engine::answer(database, &target, body.to_string().as_bytes());
        assert_eq!(status, 200, "{response}");
        serde_json::from_str(&response).expect("JSON")
    };
    let pk = json!({ "S": format!("CONVERSATION#{conversation_id}") });
    let query = json!({
        "TableName": "chat", "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": { ":pk": pk },
    });
    let items = send("Query", query);
    let items = items["Items"].as_array().expect("items");
    let of_kind = |sort_key: &str| {
        let mut items = items.iter();
        let found =
            items.find(|item| item["sk"]["S"].as_str().expect("a key").starts_with(sort_key));
        found.expect("an item")
    };
    let (conversation, first) = (of_kind("CONVERSATION"), of_kind("MESSAGE#"));
    let copy = |seq: u64| {
        let mut item = first.clone();
        item["sk"]["S"] = json!(format!("MESSAGE#{seq:012}"));
        json!({ "PutRequest": { "Item": item } })
    };
    let last_seq = conversation["last_seq"]["N"].as_str().and_then(|seq| seq.parse().ok());
    let last_seq: u64 = last_seq.expect("a number");
    for seq in (last_seq + 1..=last).step_by(25) {
        let puts: Vec<Value> = (seq..=last.min(seq + 24)).map(copy).collect();
        send("BatchWriteItem", json!({ "RequestItems": { "chat": puts } }));
    }
    let mut conversation = conversation.clone();
    conversation["last_seq"]["N"] = json!(last.to_string());
    // As if the last of them was posted in another second.
    conversation["window"]["N"] = json!("0");
    let puts = json!([{ "PutRequest": { "Item": conversation } }]);
    send("BatchWriteItem", json!({ "RequestItems": { "chat": puts } }));
}

#[tokio::test]
async fn a_post_costs_the_same_in_a_conversation_of_10_and_of_10_000_messages() {
    let database = engine::open(None).expect("a database");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let engine = engine::serve(listener, database.clone()).expect("an engine");
    let recorder = Recorder::start(engine).await;
    let template = parse_template();
    let table = Table::connect(&recorder.endpoint, "chat");
    table.create(&template.table).await.expect("a table");
    let api = Api::serve(&template, table).await;
    let author_id = api.profile("Ada").await;
    let conversation_id = api.conversation(&author_id).await;
    let expected = vec![(2.0, 5.0), (2.0, 7.0), (3.0, 7.0)];
    assert_eq!(post_costs(&api, &recorder, &conversation_id).await, expected);
    fill(&database, &conversation_id, 10_000);
    let conversation = api.get(&format!("/conversations/{conversation_id}")).await.expect(200);
    assert_eq!(conversation["last_seq"], 10_000);
    assert_eq!(post_costs(&api, &recorder, &conversation_id).await, expected);
}

#[tokio::test]
async fn a_post_with_a_rate_limit_costs_the_same() {
    let adjust = |table: Table| table.with_rate_limit(RateLimit(5));
    let stage = Stage::start_with(adjust, Duration::from_secs(10)).await;
    let id = stage.api().profile_and_conversation().await.1;
    let expected = vec![(2.0, 5.0), (2.0, 7.0), (3.0, 7.0)];
    assert_eq!(post_costs(stage.api(), &stage.recorder, &id).await, expected);
}

#[tokio::test]
async fn a_refused_post_reads_two_units_and_writes_nothing() {
    let adjust = |table: Table| table.with_rate_limit(RateLimit(1));
    let stage = Stage::start_with(adjust, Duration::from_secs(10)).await;
    let (author, id) = stage.api().profile_and_conversation().await;
    for _ in 0..10 {
        stage.api().say(&id, &author, "x").await;
    }
    let bob = stage.api().profile("Bob").await;
    stage.reserve(&id, 300);
    for (author, code) in [(&author, "rate_limited"), (&bob, "conversation_busy")] {
        let post = Post { conversation: &id, author, key: None };
        let _ = stage.recorder.take();
        stage.api().post(&post.path(), &post.body()).await.expect_code(429, code);
        let sent = stage.recorder.take();
        assert_eq!((operations(&sent), units(&sent)), (vec!["BatchGetItem"], (2.0, 0.0)), "{code}");
    }
}

#[tokio::test]
async fn every_change_and_every_poll_costs_a_fixed_number_of_units() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    for _ in 0..3 {
        stage.api().say(&id, &author, "x").await;
    }
    let (conversation, message) =
        (format!("/conversations/{id}"), format!("/conversations/{id}/messages/2"));
    let get = |after: &str| ("GET", format!("{conversation}/changes?after={after}"), Value::Null);
    let edit = || ("PATCH", message.clone(), json!({ "text": "y" }));
    let rename = || ("PATCH", conversation.clone(), json!({ "subject": "y" }));
    let change = ["BatchGetItem", "TransactWriteItems"];
    let with_author = ["BatchGetItem", "TransactWriteItems", "BatchGetItem"];
    let _ = stage.recorder.take();
    for ((method, path, body), expected, cost) in [
        // Nothing is new: one request.
        (get("3.0"), &["BatchGetItem"][..], (2.0, 0.0)),
        // New messages: two round trips, and one for their authors.
        (get("2.0"), &["BatchGetItem", "Query", "BatchGetItem"], (4.0, 0.0)),
        (edit(), &with_author, (4.0, 6.0)),
        (edit(), &with_author, (4.0, 6.0)),
        // A changed old message: three round trips, and one for its author. The first reader also
        // records which changes it has seen.
        (
            get("3.0"),
            &["BatchGetItem", "Query", "BatchGetItem", "UpdateItem", "BatchGetItem"],
            (5.0, 1.0),
        ),
        (get("3.0"), &["BatchGetItem", "Query", "BatchGetItem", "BatchGetItem"], (5.0, 0.0)),
        (get("3.2"), &["BatchGetItem"], (2.0, 0.0)),
        // Its response contains the author, so it reads one unit more than what it changes.
        (
            rename(),
            &["BatchGetItem", "UpdateItem", "TransactWriteItems", "BatchGetItem"],
            (3.0, 5.0),
        ),
        (get("3.2"), &["BatchGetItem", "Query", "UpdateItem"], (3.0, 1.0)),
        (("DELETE", message.clone(), Value::Null), &change, (3.0, 6.0)),
        // It is deleted already.
        (("DELETE", message.clone(), Value::Null), &["BatchGetItem"], (3.0, 0.0)),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("content-type", "application/json")];
        let response = stage.api().send(method, &path, &headers, body).await;
        assert!(response.status.is_success(), "{method} {path}: {}", response.text);
        let sent = stage.recorder.take();
        // Some are sent at the same time.
        let (mut operations, mut expected) = (operations(&sent), expected.to_vec());
        operations.sort_unstable();
        expected.sort_unstable();
        assert_eq!((operations, units(&sent)), (expected, cost), "{method} {path}");
    }
}

#[tokio::test]
async fn a_list_page_reads_only_what_it_returns() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let api = Setup::new().engine(&recorder.endpoint).start().await.api;
    let author_id = api.profile("Ada").await;
    let mut conversation_id = String::new();
    for _ in 0..5 {
        conversation_id = api.conversation(&author_id).await;
    }
    for _ in 0..12 {
        api.say(&conversation_id, &author_id, "x").await;
    }
    let keys = |sent: &Sent| -> usize {
        let tables = sent.request["RequestItems"].as_object().expect("tables");
        tables.values().map(|table| table["Keys"].as_array().expect("keys").len()).sum()
    };
    let _ = recorder.take();

    api.get("/conversations?limit=3").await.expect(200);
    let sent = recorder.take();
    assert_eq!(operations(&sent), ["Query", "BatchGetItem", "BatchGetItem"]);
    assert_eq!(sent[0].request["IndexName"], "listing");
    let keys_read = (keys(&sent[1]), keys(&sent[2]));
    assert_eq!(keys_read, (3, 1), "three conversations, and their only author once");

    api.get("/profiles?limit=1").await.expect(200);
    let sent = recorder.take();
    assert_eq!(operations(&sent), ["Query", "BatchGetItem"]);
    assert_eq!(keys(&sent[1]), 1);

    // The message at `before` is read too: it dates a gap below it.
    for (cursor, count) in [("", 4), ("&before=7", 5), ("&after=3", 4)] {
        api.get(&format!("/conversations/{conversation_id}/messages?limit=4{cursor}"))
            .await
            .expect(200);
        let sent = recorder.take();
        let query = sent.iter().find(|sent| sent.operation == "Query").expect("a query");
        assert_eq!(query.request["Limit"], count);
        assert_eq!(query.request["ConsistentRead"], true);
        assert_eq!(
            (&query.response["Count"], &query.response["ScannedCount"]),
            (&json!(count), &json!(count))
        );
        assert_eq!(sent.len(), 3, "conversation, messages, author");
    }
}

#[tokio::test]
async fn no_operation_scans_or_filters_and_reads_of_the_table_are_strongly_consistent() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let api = Setup::new().engine(&recorder.endpoint).start().await.api;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}");
    for _ in 0..10 {
        api.post_with_key(
            &format!("{path}/messages"),
            &Uuid::new_v4().to_string(),
            &json!({ "author_id": author_id, "text": "x" }),
        )
        .await;
    }
    for path in [
        "/profiles",
        "/conversations",
        &path,
        &format!("{path}/messages"),
        &format!("{path}/messages/1"),
        &format!("{path}/changes?after=0.0"),
    ] {
        api.get(path).await.expect(200);
    }
    api.patch(&format!("{path}/messages/1"), &json!({ "text": "y" })).await.expect(200);
    api.get(&format!("{path}/changes?after=3.0")).await.expect(200);
    api.delete(&format!("{path}/messages/1")).await.expect(204);
    api.patch(&path, &json!({ "subject": "y" })).await.expect(200);
    api.delete(&path).await.expect(204);
    api.delete(&format!("/profiles/{author_id}")).await.expect(204);
    for sent in recorder.take() {
        assert_ne!(sent.operation, "Scan");
        assert!(sent.request.get("FilterExpression").is_none(), "{}", sent.request);
        match (sent.operation.as_str(), sent.request.get("IndexName")) {
            ("Query", None) => assert_eq!(sent.request["ConsistentRead"], true),
            ("BatchGetItem", _) => {
                let tables = sent.request["RequestItems"].as_object().expect("tables");
                assert!(tables.values().all(|table| table["ConsistentRead"] == Value::Bool(true)));
            }
            _ => {}
        }
    }
}
