//! Which requests each operation sends to DynamoDB, and what the engine says they consume.

use dynoxide::Database;
use local::engine;
use local::template::{TEMPLATE, Template};
use shared::Table;
use tokio::net::TcpListener;
use uuid::Uuid;

use tests::service::{Api, Recorder, Sent, Value, embedded_engine, json};

fn operations(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(|sent| sent.operation.as_str()).collect()
}

fn units(sent: &[Sent]) -> Vec<f64> {
    sent.iter().map(Sent::units).collect()
}

/// What a post costs: of an author's 1st to 9th point, of a 10th, and with an idempotency key.
async fn post_costs(api: &Api, recorder: &Recorder, conversation_id: &str) -> Vec<Vec<f64>> {
    let author_id = api.profile("Ada").await;
    let path = format!("/conversations/{conversation_id}/messages");
    let body = json!({ "author_id": author_id, "text": "x" });
    for _ in 0..8 {
        api.post(&path, &body).await.with(201);
    }
    let mut costs = Vec::new();
    recorder.take();
    for key in [None, None, Some(Uuid::new_v4().to_string())] {
        match key {
            None => api.post(&path, &body).await.with(201),
            Some(key) => api.post_with_key(&path, &key, &body).await.with(201),
        };
        let sent = recorder.take();
        assert_eq!(operations(&sent), ["BatchGetItem", "TransactWriteItems"]);
        costs.push(units(&sent));
    }
    costs
}

/// Puts copies of the first message behind the last one, up to this place, straight into the engine.
fn fill(database: &Database, conversation_id: &str, last: u64) {
    let send = |operation: &str, body: Value| -> Value {
        let (status, answer) = engine::answer(
            database,
            &format!("DynamoDB_20120810.{operation}"),
            body.to_string().as_bytes(),
        );
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).expect("JSON")
    };
    let pk = json!({ "S": format!("CONVERSATION#{conversation_id}") });
    let items = send(
        "Query",
        json!({ "TableName": "chat", "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": { ":pk": pk } }),
    );
    let (conversation, first) = (&items["Items"][0], &items["Items"][1]);
    let copy = |seq: u64| {
        let mut item = first.clone();
        item["sk"]["S"] = json!(format!("MESSAGE#{seq:012}"));
        json!({ "PutRequest": { "Item": item } })
    };
    let from: u64 =
        conversation["last_seq"]["N"].as_str().and_then(|seq| seq.parse().ok()).expect("a number");
    for seq in (from + 1..=last).step_by(25) {
        let puts: Vec<Value> = (seq..=last.min(seq + 24)).map(copy).collect();
        send("BatchWriteItem", json!({ "RequestItems": { "chat": puts } }));
    }
    let mut conversation = conversation.clone();
    conversation["last_seq"]["N"] = json!(last.to_string());
    send(
        "BatchWriteItem",
        json!({ "RequestItems": { "chat": [{ "PutRequest": { "Item": conversation } }] } }),
    );
}

#[tokio::test]
async fn a_post_is_two_requests_and_costs_the_same_in_a_conversation_of_10_and_of_10_000_messages()
{
    let database = engine::open(None).expect("a database");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let recorder =
        Recorder::start(engine::serve(listener, database.clone()).expect("an engine")).await;
    let template = Template::parse(TEMPLATE).expect("the template");
    let table = Table::connect(&recorder.endpoint, "chat");
    table.create(&template.table).await.expect("a table");
    let api = Api::serve(&template, table).await;
    let author_id = api.profile("Ada").await;
    let conversation_id = api.conversation(&author_id).await;
    let expected = vec![vec![2.0, 6.0], vec![2.0, 8.0], vec![3.0, 8.0]];
    assert_eq!(post_costs(&api, &recorder, &conversation_id).await, expected);
    fill(&database, &conversation_id, 10_000);
    assert_eq!(
        api.get(&format!("/conversations/{conversation_id}")).await.with(200)["last_seq"],
        10_000
    );
    assert_eq!(post_costs(&api, &recorder, &conversation_id).await, expected);
}

#[tokio::test]
async fn a_list_page_reads_only_what_it_returns() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let api = Api::on(&recorder.endpoint).await;
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
    recorder.take();

    api.get("/conversations?limit=3").await.with(200);
    let sent = recorder.take();
    assert_eq!(operations(&sent), ["Query", "BatchGetItem", "BatchGetItem"]);
    assert_eq!(sent[0].request["IndexName"], "listing");
    assert_eq!(
        (keys(&sent[1]), keys(&sent[2])),
        (3, 1),
        "three conversations, and their one author once"
    );

    api.get("/profiles?limit=1").await.with(200);
    let sent = recorder.take();
    assert_eq!(operations(&sent), ["Query", "BatchGetItem"]);
    assert_eq!(keys(&sent[1]), 1);

    for cursor in ["", "&before=7", "&after=3"] {
        api.get(&format!("/conversations/{conversation_id}/messages?limit=4{cursor}"))
            .await
            .with(200);
        let sent = recorder.take();
        let query = sent.iter().find(|sent| sent.operation == "Query").expect("a query");
        assert_eq!(query.request["Limit"], 4);
        assert_eq!(query.request["ConsistentRead"], true);
        assert_eq!((&query.answer["Count"], &query.answer["ScannedCount"]), (&json!(4), &json!(4)));
        assert_eq!(sent.len(), 3, "the conversation, its messages, their author");
    }
}

#[tokio::test]
async fn nothing_scans_or_filters_and_reads_of_the_table_are_strongly_consistent() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let api = Api::on(&recorder.endpoint).await;
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
    ] {
        api.get(path).await.with(200);
    }
    api.patch(&format!("{path}/messages/1"), &json!({ "text": "y" })).await.with(200);
    api.delete(&format!("{path}/messages/1")).await.with(204);
    api.patch(&path, &json!({ "subject": "y" })).await.with(200);
    api.delete(&path).await.with(204);
    api.delete(&format!("/profiles/{author_id}")).await.with(204);
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
