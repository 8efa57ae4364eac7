//! A repeated POST has no second effect.

use uuid::Uuid;

use std::time::Duration;

use tests::clock::Clock;
use tests::service::{Api, engine_endpoint, json, new_table};

#[tokio::test]
async fn a_repeat_answers_the_same_resource_on_every_post() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for (path, body) in [
        ("/profiles".to_owned(), json!({ "first_name": "Bob" })),
        ("/conversations".to_owned(), json!({ "subject": "s", "author_id": author_id })),
        (format!("/conversations/{id}/messages"), json!({ "author_id": author_id, "text": "x" })),
    ] {
        let key = Uuid::new_v4().to_string();
        let first = api.post_with_key(&path, &key, &body).await;
        assert_eq!(first.header("idempotency-replayed"), "");
        for key in [key.clone(), format!("\"{key}\"")] {
            let repeat = api.post_with_key(&path, &key, &body).await;
            assert_eq!(repeat.with(201), first.with(201));
            assert_eq!(repeat.header("idempotency-replayed"), "true");
            assert_eq!(repeat.header("location"), first.header("location"));
        }
    }
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.with(200)["points"], 1);
    assert_eq!(api.messages(&id).await.len(), 1);
}

#[tokio::test]
async fn a_repeat_brings_its_congratulation_again_and_shows_the_author_as_now() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for _ in 0..9 {
        api.say(&id, &author_id, "x").await;
    }
    let (path, key) = (format!("/conversations/{id}/messages"), Uuid::new_v4().to_string());
    let body = json!({ "author_id": author_id, "text": "x" });
    let first = api.post_with_key(&path, &key, &body).await.with(201);
    assert_eq!(first["reward"]["seq"], 11);
    assert_eq!(api.post_with_key(&path, &key, &body).await.with(201), first);
    api.say(&id, &author_id, "more").await;
    let repeat = api.post_with_key(&path, &key, &body).await.with(201);
    assert_eq!((&repeat["author"]["points"], &repeat["points"]), (&json!(11), &json!(10)));
    assert_eq!(repeat["reward"], first["reward"]);
    assert_eq!(api.messages(&id).await.len(), 12);
}

#[tokio::test]
async fn a_key_stands_for_one_request_only() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let other = api.conversation(&author_id).await;
    let (path, key) = (format!("/conversations/{id}/messages"), Uuid::new_v4().to_string());
    let body = json!({ "author_id": author_id, "text": "x" });
    api.post_with_key(&path, &key, &body).await.with(201);
    // Another body, another conversation, another operation; a body that is not even valid, or not JSON.
    api.post_with_key(&path, &key, &json!({ "author_id": author_id, "text": "y" }))
        .await
        .problem(422);
    api.post_with_key(&format!("/conversations/{other}/messages"), &key, &body).await.problem(422);
    api.post_with_key("/profiles", &key, &json!({ "first_name": "A" })).await.problem(422);
    api.post_with_key(&path, &key, &json!({})).await.problem(422);
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.with(200)["points"], 1);
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_key() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), Uuid::new_v4().to_string());
    api.post_with_key(&path, &key, &json!({ "author_id": author_id })).await.problem(422);
    let posted =
        api.post_with_key(&path, &key, &json!({ "author_id": author_id, "text": "x" })).await;
    posted.with(201);
    assert_eq!(posted.header("idempotency-replayed"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_repeats_have_one_effect() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), Uuid::new_v4().to_string());
    let repeats: Vec<_> = (0..8)
        .map(|_| {
            let (api, path, key) = (api.clone(), path.clone(), key.clone());
            let body = json!({ "author_id": author_id, "text": "x" });
            tokio::spawn(async move {
                let answer = api.post_with_key(&path, &key, &body).await;
                (answer.with(201)["seq"].clone(), answer.header("idempotency-replayed").to_owned())
            })
        })
        .collect();
    let mut first = 0;
    for repeat in repeats {
        let (seq, replayed) = repeat.await.expect("an answer");
        assert_eq!(seq, 1);
        first += u32::from(replayed.is_empty());
    }
    assert_eq!(first, 1, "one is the first, all others are repeats");
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.with(200)["points"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_repeats_create_one_profile() {
    let api = Api::start().await;
    let key = Uuid::new_v4().to_string();
    let repeats: Vec<_> = (0..6)
        .map(|_| {
            let (api, key) = (api.clone(), key.clone());
            tokio::spawn(async move {
                api.post_with_key("/profiles", &key, &json!({ "first_name": "A" })).await.with(201)
            })
        })
        .collect();
    let mut profiles = Vec::new();
    for repeat in repeats {
        profiles.push(repeat.await.expect("an answer"));
    }
    assert!(profiles.iter().all(|profile| profile == &profiles[0]), "{profiles:?}");
}

#[tokio::test]
async fn a_repeat_is_answered_when_the_author_is_gone() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), Uuid::new_v4().to_string());
    let body = json!({ "author_id": author_id, "text": "x" });
    api.post_with_key(&path, &key, &body).await.with(201);
    api.delete(&format!("/profiles/{author_id}")).await.with(204);
    let repeat = api.post_with_key(&path, &key, &body).await.with(201);
    assert_eq!((&repeat["seq"], &repeat["author"]), (&json!(1), &json!(null)));
}

#[tokio::test]
async fn a_repeat_shows_an_edited_or_deleted_message_as_it_is_now() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let (path, key) = (format!("/conversations/{id}/messages"), Uuid::new_v4().to_string());
    let body = json!({ "author_id": author_id, "text": "x" });
    api.post_with_key(&path, &key, &body).await.with(201);
    api.patch(&format!("{path}/1"), &json!({ "text": "y" })).await.with(200);
    assert_eq!(api.post_with_key(&path, &key, &body).await.with(201)["text"], "y");
    api.delete(&format!("{path}/1")).await.with(204);
    assert!(api.post_with_key(&path, &key, &body).await.with(201)["deleted_at"].is_string());
}

#[tokio::test]
async fn a_repeat_for_what_is_gone_says_so() {
    let clock = Clock::default();
    let (template, table) = new_table(&engine_endpoint().await).await;
    let api = Api::serve(&template, clock.drive(table)).await;
    let (profile_key, conversation_key, message_key) =
        (Uuid::new_v4().to_string(), Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let ada = json!({ "first_name": "Ada" });
    let author = api.post_with_key("/profiles", &profile_key, &ada).await;
    let author_id = author.with(201)["id"].clone();
    let opening = json!({ "subject": "s", "author_id": author_id });
    let conversation = api.post_with_key("/conversations", &conversation_key, &opening).await;
    let messages = format!("{}/messages", conversation.header("location"));
    let message = json!({ "author_id": author_id, "text": "x" });
    api.post_with_key(&messages, &message_key, &message).await.with(201);
    api.delete(conversation.header("location")).await.with(204);
    api.delete(author.header("location")).await.with(204);
    clock.advance(Duration::from_secs(11));
    api.post_with_key("/profiles", &profile_key, &ada).await.problem(410);
    api.post_with_key("/conversations", &conversation_key, &opening).await.problem(410);
    api.post_with_key(&messages, &message_key, &message).await.problem(410);
}

#[tokio::test]
async fn a_key_that_is_no_uuid_is_refused() {
    let api = Api::start().await;
    for key in ["", "\"\"", "a b", &"x".repeat(256)] {
        api.post_with_key("/profiles", key, &json!({ "first_name": "A" })).await.problem(400);
    }
}
