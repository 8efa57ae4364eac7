//! Conversations: create, read, change, delete.

use tests::service::{Api, json};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn a_new_conversation_can_be_read_with_its_newest_messages() {
    let api = Api::start().await;
    let author_id = api.profile("Ada").await;
    let body = json!({ "subject": " Engines ", "author_id": author_id });
    let response = api.post("/conversations", &body).await;
    let mut conversation = response.expect(201);
    let id = conversation["id"].as_str().expect("an id").to_owned();
    assert_eq!(response.header("location"), format!("/conversations/{id}"));
    let author = api.get(&format!("/profiles/{author_id}")).await.expect(200);
    let expected = json!({
        "id": id, "subject": " Engines ", "visibility": "public", "author_id": author_id,
        "author": author, "last_seq": 0, "last_message_at": null, "version": 1,
        "created_at": conversation["created_at"],
    });
    assert_eq!(conversation, expected);

    let path = format!("/conversations/{id}");
    conversation["messages"] = json!({ "results": [], "next": null });
    conversation["cursor"] = json!("0.0");
    assert_eq!(api.get(&path).await.expect(200), conversation);
    for number in 1..=52 {
        api.say(&id, &author_id, &format!("Message {number}")).await;
    }
    let conversation = api.get(&path).await.expect(200);
    assert_eq!(conversation["last_seq"], 57);
    assert_eq!(conversation["author"]["points"], 52);
    let messages = conversation["messages"]["results"].as_array().expect("results");
    assert_eq!(messages.len(), 50);
    assert_eq!((&messages[0]["seq"], &messages[49]["seq"]), (&json!(57), &json!(8)));
    assert_eq!(conversation["messages"]["next"], format!("{path}/messages?limit=50&before=8"));
    assert_eq!(conversation["cursor"], "57.0");
    let newest = messages[0]["created_at"].as_str();
    assert!(conversation["last_message_at"].as_str() <= newest, "{conversation}");
    assert!(conversation["last_message_at"].as_str() > conversation["created_at"].as_str());
}

#[tokio::test]
async fn a_conversation_comes_with_as_many_messages_as_wanted() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for _ in 0..3 {
        api.say(&id, &author_id, "x").await;
    }
    let path = format!("/conversations/{id}");
    for (limit, cursor, count, next) in [
        (0, "0.0", 0, json!(null)),
        (1, "3.0", 1, json!(format!("{path}/messages?limit=1&before=3"))),
        (2, "3.0", 2, json!(format!("{path}/messages?limit=2&before=2"))),
        (100, "3.0", 3, json!(null)),
    ] {
        let found = api.get(&format!("{path}?limit={limit}")).await.expect(200);
        let messages = found["messages"]["results"].as_array().expect("results");
        assert_eq!((messages.len(), &found["cursor"]), (count, &json!(cursor)), "{limit}");
        assert_eq!(found["messages"]["next"], next, "{limit}");
        assert_eq!(found["last_seq"], 3);
    }
}

#[tokio::test]
async fn a_conversation_needs_a_subject_and_an_existing_author() {
    let api = Api::start().await;
    let author_id = api.profile("Ada").await;
    let fields = api.post("/conversations", &json!({})).await.invalid_fields();
    assert_eq!(fields, ["author_id", "subject"]);
    for subject in [json!(""), json!("s".repeat(201)), json!("a\rb"), json!(null), json!({})] {
        let body = json!({ "subject": subject, "author_id": author_id });
        assert_eq!(api.post("/conversations", &body).await.invalid_fields(), ["subject"]);
    }
    for author_id in [UNKNOWN, "ada", ""] {
        let body = json!({ "subject": "s", "author_id": author_id });
        assert_eq!(api.post("/conversations", &body).await.invalid_fields(), ["author_id"]);
    }
    let longest = json!({ "subject": "ü".repeat(200), "author_id": author_id });
    api.post("/conversations", &longest).await.expect(201);
}

#[tokio::test]
async fn a_subject_is_visible_and_has_no_bidi_overrides() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}");
    for subject in ["\u{200b}", "\n", " ", "a\u{202e}b", "a\u{2066}b"] {
        let body = json!({ "subject": subject, "author_id": author_id });
        let created = api.post("/conversations", &body).await;
        assert_eq!(created.invalid_fields(), ["subject"], "{subject:?}");
        let changed = api.patch(&path, &json!({ "subject": subject })).await;
        assert_eq!(changed.invalid_fields(), ["subject"], "{subject:?}");
    }
    api.patch(&path, &json!({ "subject": "a\nb\u{200b}" })).await.expect(200);
}

#[tokio::test]
async fn only_the_subject_of_a_conversation_can_be_changed() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}");
    let changed = api.patch(&path, &json!({ "subject": "New" })).await.expect(200);
    assert_eq!(changed["subject"], "New");
    assert_eq!(changed["author"]["id"], json!(author_id));
    assert!(changed.get("messages").is_none());
    assert_eq!(api.patch(&path, &json!({})).await.expect(200), changed);
    let invalid = json!({ "subject": null, "author_id": author_id, "last_seq": 9 });
    let fields = api.patch(&path, &invalid).await.invalid_fields();
    assert_eq!(fields, ["author_id", "last_seq", "subject"]);
}

#[tokio::test]
async fn an_unknown_conversation_is_not_found() {
    let api = Api::start().await;
    let path = format!("/conversations/{UNKNOWN}");
    api.get(&path).await.problem(404);
    api.patch(&path, &json!({ "subject": "New" })).await.problem(404);
    api.patch(&path, &json!({})).await.problem(404);
    api.delete(&path).await.problem(404);
}

#[tokio::test]
async fn a_conversation_and_its_messages_stay_when_the_author_is_deleted() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "Farewell").await;
    api.delete(&format!("/profiles/{author_id}")).await.expect(204);
    let conversation = api.get(&format!("/conversations/{id}")).await.expect(200);
    for resource in [&conversation, &conversation["messages"]["results"][0]] {
        assert_eq!(resource["author"], json!(null));
        assert_eq!(resource["author_id"], json!(author_id));
    }
    let body = json!({ "author_id": author_id, "text": "Too late" });
    let refused = api.post(&format!("/conversations/{id}/messages"), &body).await;
    assert_eq!(refused.invalid_fields(), ["author_id"]);
    assert_eq!(api.get(&format!("/conversations/{id}")).await.expect(200)["last_seq"], 1);
}

#[tokio::test]
async fn a_deleted_conversation_is_not_found_on_any_route() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "x").await;
    let path = format!("/conversations/{id}");
    assert_eq!(api.delete(&path).await.expect(204), json!(null));
    api.get(&path).await.problem(404);
    api.patch(&path, &json!({ "subject": "x" })).await.problem(404);
    api.patch(&path, &json!({})).await.problem(404);
    api.delete(&path).await.problem(404);
    let messages = format!("{path}/messages");
    api.get(&messages).await.problem(404);
    api.post(&messages, &json!({ "author_id": author_id, "text": "x" })).await.problem(404);
    let message = format!("{messages}/1");
    api.get(&message).await.problem(404);
    api.patch(&message, &json!({ "text": "x" })).await.problem(404);
    api.delete(&message).await.problem(404);
    assert_eq!(api.get("/conversations").await.expect(200), json!({ "results": [], "next": null }));
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.expect(200)["points"], 1);
}
