//! A repeated POST has no second effect.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use tests::clock::Clock;
use tests::recorder::{Fault, Recorder};
use tests::service::{Api, Response, Setup, Value, embedded_engine, json};

fn new_key() -> String {
    Uuid::new_v4().to_string()
}

/// Returns a request of each operation that creates something: its path and body.
fn creations(author_id: &str, conversation_id: &str) -> [(String, Value); 3] {
    let messages = format!("/conversations/{conversation_id}/messages");
    [
        ("/profiles".to_owned(), json!({ "first_name": "Bob" })),
        ("/conversations".to_owned(), json!({ "subject": "s", "author_id": author_id })),
        (messages, json!({ "author_id": author_id, "text": "x" })),
    ]
}

#[track_caller]
fn expect_replay(response: &Response) -> Value {
    let resource = response.expect(201);
    assert_eq!(response.header("idempotency-replayed"), "true");
    resource
}

#[tokio::test]
async fn a_repeated_post_returns_the_same_resource() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for (path, body) in creations(&author_id, &id) {
        let key = new_key();
        let first = api.post_with_key(&path, &key, &body).await;
        assert_eq!(first.header("idempotency-replayed"), "");
        for key in [key.clone(), format!("\"{key}\"")] {
            let repeat = api.post_with_key(&path, &key, &body).await;
            assert_eq!(expect_replay(&repeat), first.expect(201));
            assert_eq!(repeat.header("location"), first.header("location"));
        }
    }
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.expect(200)["points"], 1);
    assert_eq!(api.messages(&id).await.len(), 1);
}

#[tokio::test]
async fn another_spelling_of_the_same_json_is_a_repeat() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), new_key());
    let first =
        format!(r#"{{"author_id":"{author_id}","text":"é/A","metadata":{{"a":1.0,"b":["x"]}}}}"#);
    let first = api.post_text_with_key(&path, &key, &first).await.expect(201);
    let upper = author_id.to_uppercase();
    let escaped = r#""metadata":{"a":1.0,"\u0062":["\u0078"]}"#;
    for body in [
        format!(r#"{{"author_id":"{author_id}", "text":"é/A", "metadata":{{"a":1.0,"b":["x"]}}}}"#),
        format!(r#"{{"metadata":{{"b":["x"],"a":1.0}},"text":"é/A","author_id":"{author_id}"}}"#),
        format!(r#"{{"author_id":"{author_id}","te\u0078t":"\u00e9\/\u0041",{escaped}}}"#),
        format!(r#" {{"author_id":"{upper}","text":"é/A","metadata":{{ "a" : 1.0, "b":["x"]}}}} "#),
    ] {
        let repeat = api.post_text_with_key(&path, &key, &body).await;
        assert_eq!(expect_replay(&repeat), first, "{body}");
    }
    assert_eq!(api.messages(&id).await.len(), 1);
}

#[tokio::test]
async fn a_default_that_is_sent_or_left_out_is_a_repeat() {
    let api = Api::start().await;
    let key = new_key();
    let first = json!({ "first_name": "Ada" });
    let first = api.post_with_key("/profiles", &key, &first).await.expect(201);
    let same = json!({ "last_name": "", "first_name": " Ada ", "job_title": "" });
    assert_eq!(expect_replay(&api.post_with_key("/profiles", &key, &same).await), first);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let other = api.conversation(&author_id).await;
    let (path, key) = (format!("/conversations/{id}/messages"), new_key());
    let body = json!({ "author_id": author_id, "text": "x", "metadata": { "n": 1.0 } });
    api.post_with_key(&path, &key, &body).await.expect(201);
    let other_text = json!({ "author_id": author_id, "text": "X", "metadata": { "n": 1.0 } });
    let other_number = json!({ "author_id": author_id, "text": "x", "metadata": { "n": 1 } });
    for (path, body) in [
        (&path, &other_text),
        (&path, &other_number),
        (&format!("/conversations/{other}/messages"), &body),
        (&"/profiles".to_owned(), &json!({ "first_name": "A" })),
    ] {
        let refused = api.post_with_key(path, &key, body).await;
        refused.expect_code(422, "idempotency_key_reused");
    }
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.expect(200)["points"], 1);
}

#[tokio::test]
async fn an_invalid_body_is_reported_as_such_for_a_used_key() {
    let api = Api::start().await;
    let key = new_key();
    api.post_with_key("/profiles", &key, &json!({ "first_name": "Ada" })).await.expect(201);
    let invalid = api.post_with_key("/profiles", &key, &json!({})).await;
    assert_eq!(invalid.invalid_fields(), ["first_name"]);
    api.post_text_with_key("/profiles", &key, "{").await.expect_code(400, "malformed");
}

#[tokio::test]
async fn a_refused_request_does_not_use_its_key() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), new_key());
    api.post_with_key(&path, &key, &json!({ "author_id": author_id })).await.problem(422);
    let body = json!({ "author_id": author_id, "text": "x" });
    let posted = api.post_with_key(&path, &key, &body).await;
    posted.expect(201);
    assert_eq!(posted.header("idempotency-replayed"), "");
}

#[tokio::test]
async fn a_key_has_1_to_255_visible_ascii_characters() {
    let api = Api::start().await;
    let ada = json!({ "first_name": "Ada" });
    let visible: String = ('!'..='~').collect();
    let unique = new_key();
    for key in [
        format!("x{}", &unique[..8]),
        format!("{visible}{unique}"),
        format!("{unique}{}", "k".repeat(255 - unique.len())),
        format!("\"{unique}"),
    ] {
        let first = api.post_with_key("/profiles", &key, &ada).await.expect(201);
        assert_eq!(expect_replay(&api.post_with_key("/profiles", &key, &ada).await), first);
    }
    for key in ["", "\"\"", "a b", "a\tb", &"k".repeat(256)] {
        let refused = api.post_with_key("/profiles", key, &ada).await;
        refused.expect_code(400, "malformed");
    }
}

/// Two keys that differ only in such characters must not become the same key.
#[tokio::test]
async fn a_key_that_is_not_ascii_is_refused_and_stores_nothing() {
    let api = Api::start_isolated().await;
    for key in ["é01890a5d", "01890a5d\u{a0}", "ключ"] {
        let refused = api.post_with_key("/profiles", key, &json!({ "first_name": "Ada" })).await;
        refused.expect_code(400, "malformed");
    }
    assert_eq!(api.get("/profiles").await.expect(200)["results"], json!([]));
}

#[tokio::test]
async fn keys_differ_by_case() {
    let api = Api::start().await;
    let ada = json!({ "first_name": "Ada" });
    let key = format!("Key-{}", new_key());
    let first = api.post_with_key("/profiles", &key, &ada).await.expect(201);
    let other = api.post_with_key("/profiles", &key.to_lowercase(), &ada).await.expect(201);
    assert_ne!(first["id"], other["id"]);
}

#[tokio::test]
async fn a_repeat_returns_the_congratulation_again_and_the_current_author() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for _ in 0..9 {
        api.say(&id, &author_id, "x").await;
    }
    let (path, key) = (format!("/conversations/{id}/messages"), new_key());
    let body = json!({ "author_id": author_id, "text": "x" });
    let first = api.post_with_key(&path, &key, &body).await.expect(201);
    assert_eq!(first["reward"]["seq"], 11);
    assert_eq!(api.post_with_key(&path, &key, &body).await.expect(201), first);
    api.say(&id, &author_id, "more").await;
    let repeat = api.post_with_key(&path, &key, &body).await.expect(201);
    assert_eq!((&repeat["author"]["points"], &repeat["points"]), (&json!(11), &json!(10)));
    assert_eq!(repeat["reward"], first["reward"]);
    assert_eq!(api.messages(&id).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_posts_with_one_key_store_one_message() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), new_key());
    let mut posts = JoinSet::new();
    for _ in 0..8 {
        let (api, path, key) = (api.clone(), path.clone(), key.clone());
        let body = json!({ "author_id": author_id, "text": "x" });
        posts.spawn(async move { api.post_with_key(&path, &key, &body).await });
    }
    let responses = posts.join_all().await;
    let seq = &responses[0].expect(201)["seq"];
    assert!(responses.iter().all(|response| response.expect(201)["seq"] == *seq));
    let first = |response: &&Response| response.header("idempotency-replayed").is_empty();
    assert_eq!(responses.iter().filter(first).count(), 1, "all others are replays");
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.expect(200)["points"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_posts_with_one_key_create_one_profile() {
    let api = Api::start().await;
    let key = new_key();
    let mut posts = JoinSet::new();
    for _ in 0..6 {
        let (api, key) = (api.clone(), key.clone());
        let body = json!({ "first_name": "A" });
        posts.spawn(async move { api.post_with_key("/profiles", &key, &body).await.expect(201) });
    }
    let profiles = posts.join_all().await;
    assert!(profiles.iter().all(|profile| profile == &profiles[0]), "{profiles:?}");
}

#[tokio::test]
async fn a_repeat_works_after_the_author_is_deleted() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), new_key());
    let body = json!({ "author_id": author_id, "text": "x" });
    api.post_with_key(&path, &key, &body).await.expect(201);
    api.delete(&format!("/profiles/{author_id}")).await.expect(204);
    let repeat = api.post_with_key(&path, &key, &body).await.expect(201);
    assert_eq!((&repeat["seq"], &repeat["author"]), (&json!(1), &json!(null)));
}

#[tokio::test]
async fn a_repeat_shows_the_message_as_edited_or_deleted() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), new_key());
    let body = json!({ "author_id": author_id, "text": "x" });
    api.post_with_key(&path, &key, &body).await.expect(201);
    api.patch(&format!("{path}/1"), &json!({ "text": "y" })).await.expect(200);
    assert_eq!(api.post_with_key(&path, &key, &body).await.expect(201)["text"], "y");
    api.delete(&format!("{path}/1")).await.expect(204);
    let repeat = api.post_with_key(&path, &key, &body).await.expect(201);
    assert!(repeat["deleted_at"].is_string());
}

#[tokio::test]
async fn a_repeat_after_the_resource_was_deleted_is_gone() {
    let clock = Clock::default();
    let api = Setup::new().clock(&clock).start().await.api;
    let [profile_key, conversation_key, message_key] = [(); 3].map(|()| new_key());
    let ada = json!({ "first_name": "Ada" });
    let author = api.post_with_key("/profiles", &profile_key, &ada).await;
    let author_id = author.expect(201)["id"].clone();
    let opening = json!({ "subject": "s", "author_id": author_id });
    let conversation = api.post_with_key("/conversations", &conversation_key, &opening).await;
    let messages = format!("{}/messages", conversation.header("location"));
    let message = json!({ "author_id": author_id, "text": "x" });
    api.post_with_key(&messages, &message_key, &message).await.expect(201);
    api.delete(conversation.header("location")).await.expect(204);
    api.delete(author.header("location")).await.expect(204);
    // Until the key is 10 s old, the profile may be committed and not visible yet.
    clock.advance(Duration::from_secs(11));
    for (path, key, body) in [
        ("/profiles", &profile_key, &ada),
        ("/conversations", &conversation_key, &opening),
        (&messages, &message_key, &message),
    ] {
        api.post_with_key(path, key, body).await.expect_code(410, "gone");
    }
}

#[tokio::test]
async fn a_key_can_be_used_again_after_7_days() {
    let clock = Clock::default();
    let api = Setup::new().clock(&clock).start().await.api;
    let (key, ada) = (new_key(), json!({ "first_name": "Ada" }));
    let first = api.post_with_key("/profiles", &key, &ada).await.expect(201);
    clock.advance(Duration::from_secs(7 * 24 * 60 * 60 - 60));
    assert_eq!(expect_replay(&api.post_with_key("/profiles", &key, &ada).await), first);
    clock.advance(Duration::from_secs(60));
    let later = api.post_with_key("/profiles", &key, &json!({ "first_name": "Bob" })).await;
    assert_ne!(later.expect(201)["id"], first["id"]);
}

/// A read may show the key of a transaction before its other items.
#[tokio::test]
async fn a_repeat_waits_for_items_that_are_committed_and_not_visible_yet() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let api = Setup::new().engine(&recorder.endpoint).start().await.api;
    let (author_id, id) = api.profile_and_conversation().await;
    for _ in 0..9 {
        api.say(&id, &author_id, "x").await;
    }
    let [profile, conversation, message] = creations(&author_id, &id);
    for ((path, body), hidden) in [
        (&profile, "PROFILE"),
        (&conversation, "CONVERSATION"),
        (&message, "MESSAGE#000000000010"),
        // Only the congratulation of the tenth message is hidden.
        (&message, "MESSAGE#000000000011"),
    ] {
        let key = format!("key-of-{path}");
        let first = api.post_with_key(path, &key, body).await.expect(201);
        let _ = recorder.take();
        let reads = AtomicU32::new(0);
        recorder.inject(move |operation, request| {
            let resource = operation == "BatchGetItem" && request.to_string().contains(hidden);
            let hide = resource && reads.fetch_add(1, Ordering::Relaxed) < 3;
            if hide { Fault::Hidden(hidden.into()) } else { Fault::None }
        });
        let repeat = api.post_with_key(path, &key, body).await;
        recorder.clear();
        assert_eq!(expect_replay(&repeat), first, "{hidden} is hidden");
        let reads = recorder.take();
        let reads = reads.iter().filter(|sent| sent.operation == "BatchGetItem");
        assert!(reads.count() > 3, "{hidden} was hidden");
    }
    assert_eq!(api.messages(&id).await.len(), 11);
}
