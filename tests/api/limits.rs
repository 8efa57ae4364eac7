//! The rate limit of a profile, and the admission limit of a conversation.

use std::time::Duration;

use shared::{RateLimit, Table};
use tokio::task::JoinHandle;

use crate::stage::{Post, Stage, operations};
use tests::recorder::Gate;
use tests::service::{Response, json};

/// Starts a service whose profiles may post five times a second.
async fn limited() -> Stage {
    let adjust = |table: Table| table.with_rate_limit(RateLimit(5));
    Stage::start_with(adjust, Duration::from_secs(10)).await
}

/// Checks that a post was refused because of the rate limit, and that it says when to come back.
#[track_caller]
fn expect_limited(response: &Response, retry_after: u32, reset: u32) {
    let problem = response.expect_code(429, "rate_limited");
    assert!(problem["detail"].to_string().contains("Retry-After"), "{problem}");
    assert_eq!(response.header("retry-after"), retry_after.to_string());
    assert_eq!(response.header("ratelimit-policy"), r#""posts";q=50;w=10"#);
    assert_eq!(response.header("ratelimit"), format!(r#""posts";r=0;t={reset}"#));
}

/// Posts until the tokens of the author are used up.
async fn use_up(stage: &Stage, post: &Post<'_>) {
    while stage.api().post(&post.path(), &post.body()).await.status == 201 {}
}

#[tokio::test]
async fn a_profile_posts_fifty_messages_at_once_and_then_five_a_second() {
    let stage = limited().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    let send = async || stage.api().post(&post.path(), &post.body()).await;
    for left in (0..50_u32).rev() {
        let posted = send().await;
        posted.expect_status(201);
        assert_eq!(posted.header("ratelimit-policy"), r#""posts";q=50;w=10"#);
        let reset = (50 - left).div_ceil(5);
        assert_eq!(posted.header("ratelimit"), format!(r#""posts";r={left};t={reset}"#));
    }
    expect_limited(&send().await, 1, 10);
    let bob = stage.api().profile("Bob").await;
    stage.api().say(&id, &bob, "Another profile has tokens of its own.").await;

    stage.clock.advance(Duration::from_millis(199));
    expect_limited(&send().await, 1, 10);
    stage.clock.advance(Duration::from_millis(1));
    send().await.expect_status(201);
    expect_limited(&send().await, 1, 10);
    stage.advance(1);
    for _ in 0..5 {
        send().await.expect_status(201);
    }
    expect_limited(&send().await, 1, 10);
    stage.advance(3600);
    assert_eq!(send().await.header("ratelimit"), r#""posts";r=49;t=1"#, "at most full");
}

#[tokio::test]
async fn a_post_refused_because_of_the_rate_writes_nothing() {
    let stage = limited().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    use_up(&stage, &post).await;
    let before = stage.items(&id);
    let _ = stage.recorder.take();
    for key in [None, Some("key")] {
        let (path, body) = (post.path(), post.body());
        let refused = match key {
            None => stage.api().post(&path, &body).await,
            Some(key) => stage.api().post_with_key(&path, key, &body).await,
        };
        expect_limited(&refused, 1, 10);
    }
    assert_eq!(operations(&stage.recorder.take()), ["BatchGetItem", "BatchGetItem"]);
    assert_eq!(stage.items(&id), before);
    // The key is not used: the request succeeds later.
    stage.advance(1);
    let posted = stage.api().post_with_key(&post.path(), "key", &post.body()).await;
    posted.expect_status(201);
    assert_eq!(posted.header("idempotency-replayed"), "");
}

#[tokio::test]
async fn only_a_post_that_could_be_stored_is_refused_because_of_the_rate() {
    let stage = limited().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: Some("key") };
    let first = stage.api().post_with_key(&post.path(), "key", &post.body()).await;
    use_up(&stage, &post).await;
    let repeat = stage.api().post_with_key(&post.path(), "key", &post.body()).await;
    assert_eq!(repeat.expect(201)["seq"], first.expect(201)["seq"], "a repeat is not a new post");
    assert_eq!(repeat.header("ratelimit"), r#""posts";r=0;t=10"#);
    let other = json!({ "author_id": author, "text": "another" });
    let reused = stage.api().post_with_key(&post.path(), "key", &other).await;
    reused.expect_code(422, "idempotency_key_reused");
    let invalid = json!({ "author_id": author, "text": "" });
    assert_eq!(stage.api().post(&post.path(), &invalid).await.invalid_fields(), ["text"]);
    let absent = format!("/conversations/{author}/messages");
    stage.api().post(&absent, &post.body()).await.expect_code(404, "not_found");
}

/// Both are admitted with the last token, so its author has less than none afterwards.
#[tokio::test]
async fn a_post_that_has_reserved_its_place_is_not_refused_because_of_the_rate() {
    let stage = limited().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    for _ in 0..49 {
        stage.api().say(&id, &author, "x").await;
    }
    let post = Post { conversation: &id, author: &author, key: None };
    let (slow, gate): (JoinHandle<Response>, Gate) = stage.hold("TransactWriteItems", &post).await;
    stage.api().say(&id, &author, "x").await;
    gate.open();
    let stored = slow.await.expect("a response");
    stored.expect_status(201);
    assert_eq!(stored.header("ratelimit"), r#""posts";r=0;t=11"#);
    stage.clock.advance(Duration::from_millis(300));
    expect_limited(&stage.api().post(&post.path(), &post.body()).await, 1, 10);
    stage.clock.advance(Duration::from_millis(100));
    stage.api().say(&id, &author, "x").await;
}

#[tokio::test]
async fn without_a_limit_a_response_says_nothing_about_it() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    for _ in 0..60 {
        let posted = stage.api().post(&post.path(), &post.body()).await;
        posted.expect_status(201);
        assert_eq!((posted.header("ratelimit"), posted.header("ratelimit-policy")), ("", ""));
    }
}

#[tokio::test]
async fn a_conversation_takes_300_places_in_a_second() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let other = stage.api().conversation(&author).await;
    let post = Post { conversation: &id, author: &author, key: None };
    let send = async || stage.api().post(&post.path(), &post.body()).await;
    send().await.expect_status(201);
    stage.reserve(&id, 298);
    send().await.expect_status(201);
    let before = stage.items(&id);
    let refused = send().await;
    let problem = refused.expect_code(429, "conversation_busy");
    assert!(problem["detail"].to_string().contains("nothing was stored"), "{problem}");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(stage.items(&id), before, "nothing is written");
    stage.api().say(&other, &author, "Another conversation is not affected.").await;

    stage.advance(1);
    assert_eq!(send().await.expect(201)["seq"], 301);
    stage.reserve(&id, 299);
    send().await.expect_code(429, "conversation_busy");
}

#[tokio::test]
async fn a_repeat_is_answered_while_its_conversation_is_busy() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    let first = stage.api().post_with_key(&post.path(), "key", &post.body()).await.expect(201);
    stage.reserve(&id, 300);
    let repeat = stage.api().post_with_key(&post.path(), "key", &post.body()).await;
    assert_eq!(repeat.expect(201), first);
    let new = stage.api().post_with_key(&post.path(), "new", &post.body()).await;
    new.expect_code(429, "conversation_busy");
}
