//! Conversations: open, read, change, delete with all that stands in them.

use std::time::Duration;

use tests::clock::Clock;
use tests::service::{Api, Recorder, engine_endpoint, json, new_table};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn a_conversation_is_opened_and_read_back_with_its_newest_messages() {
    let api = Api::start().await;
    let author_id = api.profile("Ada").await;
    let answer = api
        .post("/conversations", &json!({ "subject": " Engines ", "author_id": author_id }))
        .await;
    let mut conversation = answer.with(201);
    let id = conversation["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.header("location"), format!("/conversations/{id}"));
    let author = api.get(&format!("/profiles/{author_id}")).await.with(200);
    let expected = json!({
        "id": id, "subject": " Engines ", "author_id": author_id, "author": author,
        "last_seq": 0, "created_at": conversation["created_at"],
    });
    assert_eq!(conversation, expected);

    let path = format!("/conversations/{id}");
    conversation["messages"] = json!({ "results": [], "next": null });
    assert_eq!(api.get(&path).await.with(200), conversation);
    for number in 1..=52 {
        api.say(&id, &author_id, &format!("Message {number}")).await;
    }
    let conversation = api.get(&path).await.with(200);
    assert_eq!(conversation["last_seq"], 57);
    assert_eq!(conversation["author"]["points"], 52);
    let messages = conversation["messages"]["results"].as_array().expect("results");
    assert_eq!(messages.len(), 50);
    assert_eq!((&messages[0]["seq"], &messages[49]["seq"]), (&json!(57), &json!(8)));
    assert_eq!(conversation["messages"]["next"], format!("{path}/messages?limit=50&before=8"));
}

#[tokio::test]
async fn a_conversation_needs_a_subject_and_an_author_that_exists() {
    let api = Api::start().await;
    let author_id = api.profile("Ada").await;
    assert_eq!(
        api.post("/conversations", &json!({})).await.invalid_fields(),
        ["author_id", "subject"]
    );
    for subject in [json!(""), json!("s".repeat(201)), json!("a\rb"), json!(null), json!({})] {
        let body = json!({ "subject": subject, "author_id": author_id });
        assert_eq!(api.post("/conversations", &body).await.invalid_fields(), ["subject"]);
    }
    for author_id in [UNKNOWN, "ada", ""] {
        let body = json!({ "subject": "s", "author_id": author_id });
        assert_eq!(api.post("/conversations", &body).await.invalid_fields(), ["author_id"]);
    }
    let longest = json!({ "subject": "ü".repeat(200), "author_id": author_id });
    api.post("/conversations", &longest).await.with(201);
}

#[tokio::test]
async fn a_subject_can_be_changed_and_nothing_else() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}");
    let changed = api.patch(&path, &json!({ "subject": "New" })).await.with(200);
    assert_eq!((&changed["subject"], &changed["author"]["id"]), (&json!("New"), &json!(author_id)));
    assert!(changed.get("messages").is_none());
    assert_eq!(api.patch(&path, &json!({})).await.with(200), changed);
    let wrong = json!({ "subject": null, "author_id": author_id, "last_seq": 9 });
    assert_eq!(
        api.patch(&path, &wrong).await.invalid_fields(),
        ["author_id", "last_seq", "subject"]
    );
    api.patch(&format!("/conversations/{UNKNOWN}"), &json!({ "subject": "New" }))
        .await
        .problem(404);
    api.patch(&format!("/conversations/{UNKNOWN}"), &json!({})).await.problem(404);
    api.get(&format!("/conversations/{UNKNOWN}")).await.problem(404);
}

#[tokio::test]
async fn a_conversation_outlives_its_author() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "Farewell").await;
    api.delete(&format!("/profiles/{author_id}")).await.with(204);
    let conversation = api.get(&format!("/conversations/{id}")).await.with(200);
    assert_eq!(
        (&conversation["author"], &conversation["author_id"]),
        (&json!(null), &json!(author_id))
    );
    let message = &conversation["messages"]["results"][0];
    assert_eq!((&message["author"], &message["author_id"]), (&json!(null), &json!(author_id)));
    let body = json!({ "author_id": author_id, "text": "A ghost" });
    assert_eq!(
        api.post(&format!("/conversations/{id}/messages"), &body).await.invalid_fields(),
        ["author_id"]
    );
    assert_eq!(api.get(&format!("/conversations/{id}")).await.with(200)["last_seq"], 1);
}

#[tokio::test]
async fn a_deleted_conversation_is_removed_with_every_message_though_they_are_more_than_one_query_reads()
 {
    let recorder = Recorder::start(engine_endpoint().await).await;
    let (template, table) = new_table(&recorder.endpoint).await;
    let clock = Clock::default();
    let table = clock.drive(table);
    let api = Api::serve(&template, table.clone()).await;
    let (author_id, id) = api.profile_and_conversation().await;
    for _ in 0..60 {
        api.say(&id, &author_id, &"👍".repeat(5000)).await;
    }
    api.delete(&format!("/conversations/{id}")).await.with(204);
    recorder.take();
    clock.advance(Duration::from_secs(599));
    assert_eq!(table.purge_deleted().await.expect("a list").removed, 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(table.purge_deleted().await.expect("a list").removed, 1);
    let sent = recorder.take();
    assert!(
        sent.iter().filter(|sent| sent.operation == "Query").count() > 1,
        "one Query reads 1 MB"
    );
    let batches = sent.iter().filter(|sent| sent.operation == "BatchWriteItem");
    let removed = batches
        .flat_map(|batch| batch.request["RequestItems"].as_object().expect("tables").values());
    assert_eq!(
        removed.map(|requests| requests.as_array().expect("requests").len()).sum::<usize>(),
        66
    );
    let last = sent.last().expect("requests");
    assert_eq!(
        (last.operation.as_str(), &last.request["Key"]["sk"]["S"]),
        ("DeleteItem", &json!("CONVERSATION"))
    );
}

#[tokio::test]
async fn a_deleted_conversation_is_out_of_reach_on_every_route_and_its_messages_are_removed() {
    let api = Api::own().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for number in 0..60 {
        api.say(&id, &author_id, &format!("{number}")).await;
    }
    let path = format!("/conversations/{id}");
    assert_eq!(api.delete(&path).await.with(204), json!(null));
    api.get(&path).await.problem(404);
    api.patch(&path, &json!({ "subject": "x" })).await.problem(404);
    api.patch(&path, &json!({})).await.problem(404);
    api.get(&format!("{path}/messages")).await.problem(404);
    api.get(&format!("{path}/messages/1")).await.problem(404);
    api.patch(&format!("{path}/messages/1"), &json!({ "text": "x" })).await.problem(404);
    api.delete(&format!("{path}/messages/1")).await.problem(404);
    api.post(&format!("{path}/messages"), &json!({ "author_id": author_id, "text": "x" }))
        .await
        .problem(404);
    api.delete(&path).await.problem(404);
    assert_eq!(api.get("/conversations").await.with(200), json!({ "results": [], "next": null }));
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.with(200)["points"], 60);
}
