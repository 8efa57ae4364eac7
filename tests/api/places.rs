//! Posting: what happens between the reservation of a place and the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::stage::{Last, Post, Stage, each};
use tests::recorder::{Fault, Gate};
use tests::service::{Response, Value, json};

/// Returns this field of each message of a conversation, oldest first.
async fn all(stage: &Stage, conversation: &str, field: &str) -> Vec<Value> {
    let messages = stage.api().messages(conversation).await;
    messages.iter().map(|message| message[field].clone()).collect()
}

/// Posts this many messages as one author.
async fn earn(stage: &Stage, author: &str, points: u64) {
    let conversation = stage.api().conversation(author).await;
    for _ in 0..points {
        stage.api().say(&conversation, author, "x").await;
    }
}

#[tokio::test]
async fn a_post_whose_place_was_closed_takes_another() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let slow = Post { conversation: &id, author: &stage.api().profile("Bob").await, key: None };
    let (post, gate) = stage.hold("TransactWriteItems", &slow).await;
    stage.api().say(&id, &author, "x").await;
    stage.advance(1);
    assert_eq!(all(&stage, &id, "type").await, ["void", "text"]);
    gate.open();
    let posted = post.await.expect("a response").expect(201);
    assert_eq!((&posted["seq"], &posted["points"]), (&json!(3), &json!(1)));
    assert_eq!(all(&stage, &id, "type").await, ["void", "text", "text"]);
    assert_eq!(stage.points(slow.author).await, 1);
}

#[tokio::test]
async fn a_tenth_post_whose_first_place_was_closed_also_gives_up_its_second() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let bob = stage.api().profile("Bob").await;
    earn(&stage, &bob, 9).await;
    let slow = Post { conversation: &id, author: &bob, key: None };
    let (post, gate) = stage.hold("TransactWriteItems", &slow).await;
    stage.api().say(&id, &author, "x").await;
    stage.advance(1);
    // The reader closes the first gap only: the second put meets a conflict.
    stage.recorder.inject(|operation, request| {
        let second = request["Item"]["sk"]["S"] == "MESSAGE#000000000002";
        let conflict = operation == "PutItem" && second;
        if conflict { Fault::Refused("TransactionConflictException") } else { Fault::None }
    });
    assert_eq!(all(&stage, &id, "type").await, ["void"]);
    stage.recorder.clear();
    gate.open();
    let posted = post.await.expect("a response").expect(201);
    assert_eq!((&posted["seq"], &posted["reward"]["seq"]), (&json!(4), &json!(5)));
    assert_eq!(all(&stage, &id, "type").await, ["void", "void", "text", "text", "action"]);
}

#[tokio::test]
async fn a_reservation_without_response_is_made_again() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    stage.inject_once("UpdateItem", Fault::ResponseLost);
    assert_eq!(stage.api().say(&id, &author, "x").await["seq"], 2);
    stage.advance(1);
    assert_eq!(all(&stage, &id, "type").await, ["void", "text"]);
}

#[tokio::test]
async fn a_throttled_reservation_is_refused_immediately() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    for error in ["ThrottlingException", "ProvisionedThroughputExceededException"] {
        let sent = Arc::new(AtomicU32::new(0));
        let count = sent.clone();
        stage.recorder.inject(move |operation, _| {
            if operation != "UpdateItem" {
                return Fault::None;
            }
            count.fetch_add(1, Ordering::Relaxed);
            Fault::Refused(error)
        });
        let refused = stage.api().post(&post.path(), &post.body()).await;
        refused.expect_code(503, "unavailable");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(sent.load(Ordering::Relaxed), 1, "{error}");
    }
    stage.recorder.clear();
    assert_eq!(stage.sort_keys(&id), ["CONVERSATION"]);
}

#[tokio::test]
async fn a_post_sends_at_most_eight_transactions() {
    let adjust = |table: shared::Table| table.with_backoff(|_| Some(Duration::ZERO));
    let stage = Stage::start_with(adjust, Duration::from_secs(10)).await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    for (fault, status) in
        [(Fault::Refused("TransactionCanceledException"), 503), (Fault::RequestLost, 503)]
    {
        let sent = Arc::new(AtomicU32::new(0));
        let count = sent.clone();
        stage.recorder.inject(move |operation, _| {
            if operation != "TransactWriteItems" {
                return Fault::None;
            }
            count.fetch_add(1, Ordering::Relaxed);
            fault.clone()
        });
        stage.api().post(&post.path(), &post.body()).await.expect_status(status);
        assert_eq!(sent.load(Ordering::Relaxed), 8);
    }
    stage.recorder.clear();
    assert_eq!(all(&stage, &id, "type").await, ["void", "void"], "the places are closed");
}

/// Posts while every transaction is lost, and lets the last one arrive after the response.
async fn post_with_late_transaction(stage: &Stage, post: &Post<'_>) -> (Response, u16) {
    let lost = stage.inject_always("TransactWriteItems", Fault::RequestLost);
    let response = stage.api().post(&post.path(), &post.body()).await;
    stage.recorder.clear();
    let status = stage.deliver("TransactWriteItems", &lost.get());
    (response, status)
}

#[tokio::test]
async fn a_503_stores_nothing_even_if_a_transaction_arrives_later() {
    let stage = Stage::start_hasty().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    earn(&stage, &author, 9).await;
    let post = Post { conversation: &id, author: &author, key: None };
    let (response, late) = post_with_late_transaction(&stage, &post).await;
    response.expect_code(503, "unavailable");
    assert_eq!(late, 400, "its place is closed");
    assert_eq!(all(&stage, &id, "type").await, ["void", "void"]);
    assert_eq!(stage.points(&author).await, 9);
}

#[tokio::test]
async fn a_503_stores_nothing_even_if_the_conversation_is_deleted_and_purged_meanwhile() {
    let stage = Stage::start_hasty().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    let lost = stage.inject_always("TransactWriteItems", Fault::RequestLost);
    stage.api().post(&post.path(), &post.body()).await.expect_code(503, "unavailable");
    stage.recorder.clear();
    stage.api().delete(&format!("/conversations/{id}")).await.expect(204);
    stage.advance(599);
    stage.purge().await;
    assert_eq!(stage.deliver("TransactWriteItems", &lost.get()), 400, "the void is kept");
    assert_eq!(stage.points(&author).await, 0);
}

#[tokio::test]
async fn a_post_that_cannot_close_its_place_says_that_its_outcome_is_unknown() {
    let stage = Stage::start_hasty().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    for error in ["TransactionConflictException", "ThrottlingException"] {
        let lost = Last::default();
        let caught = lost.clone();
        stage.recorder.inject(move |operation, request| match operation {
            "TransactWriteItems" => {
                caught.set(request);
                Fault::RequestLost
            }
            "PutItem" => Fault::Refused(error),
            _ => Fault::None,
        });
        let response = stage.api().post(&post.path(), &post.body()).await;
        stage.recorder.clear();
        response.expect_code(500, "outcome_unknown");
        assert_eq!(stage.deliver("TransactWriteItems", &lost.get()), 200, "{error}: stored late");
    }
    assert_eq!(all(&stage, &id, "type").await, ["text", "text"]);
}

#[tokio::test]
async fn a_conflict_while_closing_the_place_is_tried_again() {
    let stage = Stage::start_hasty().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    let puts = AtomicU32::new(0);
    stage.recorder.inject(move |operation, _| match operation {
        "TransactWriteItems" => Fault::RequestLost,
        "PutItem" if puts.fetch_add(1, Ordering::Relaxed) < 3 => {
            Fault::Refused("TransactionConflictException")
        }
        _ => Fault::None,
    });
    let response = stage.api().post(&post.path(), &post.body()).await;
    response.expect_code(503, "unavailable");
    stage.recorder.clear();
    assert_eq!(all(&stage, &id, "type").await, ["void"]);
}

#[tokio::test]
async fn a_post_finds_its_own_message_and_congratulation_after_unanswered_attempts() {
    let stage = Stage::start_hasty().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    earn(&stage, &author, 9).await;
    let post = Post { conversation: &id, author: &author, key: None };
    let sent = AtomicU32::new(0);
    stage.recorder.inject(move |operation, _| match operation {
        "TransactWriteItems" if sent.fetch_add(1, Ordering::Relaxed) == 0 => Fault::ResponseLost,
        "TransactWriteItems" => Fault::RequestLost,
        _ => Fault::None,
    });
    let posted = stage.api().post(&post.path(), &post.body()).await.expect(201);
    stage.recorder.clear();
    assert_eq!((&posted["points"], &posted["author"]["points"]), (&json!(10), &json!(10)));
    let page = stage.api().get(&post.path()).await.expect(200);
    assert_eq!(page["results"][0], posted["reward"]);
    assert_eq!(each(&page, "seq"), [2, 1]);
    assert_eq!(stage.points(&author).await, 10);
}

#[tokio::test]
async fn a_post_that_becomes_the_tenth_while_it_waits_takes_two_new_places() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    earn(&stage, &author, 8).await;
    let slow = Post { conversation: &id, author: &author, key: None };
    let (post, gate) = stage.hold("TransactWriteItems", &slow).await;
    earn(&stage, &author, 1).await;
    gate.open();
    let posted = post.await.expect("a response").expect(201);
    assert_eq!((&posted["seq"], &posted["points"]), (&json!(2), &json!(10)));
    assert_eq!(posted["reward"]["seq"], 3);
    assert_eq!(all(&stage, &id, "type").await, ["void", "text", "action"]);
}

#[tokio::test]
async fn a_post_that_is_no_longer_the_tenth_leaves_its_second_place_empty() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    earn(&stage, &author, 9).await;
    let slow = Post { conversation: &id, author: &author, key: None };
    let (post, gate) = stage.hold("TransactWriteItems", &slow).await;
    earn(&stage, &author, 1).await;
    gate.open();
    let posted = post.await.expect("a response").expect(201);
    assert_eq!((&posted["seq"], &posted["points"]), (&json!(1), &json!(11)));
    assert_eq!(posted["reward"], json!(null));
    assert_eq!(all(&stage, &id, "type").await, ["text", "void"]);
    assert_eq!(stage.points(&author).await, 11);
}

#[tokio::test]
async fn a_post_that_is_overtaken_by_a_request_with_its_key_returns_that_message() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let slow = Post { conversation: &id, author: &author, key: Some("key") };
    let (post, gate) = stage.hold("TransactWriteItems", &slow).await;
    let first = stage.api().post_with_key(&slow.path(), "key", &slow.body()).await.expect(201);
    gate.open();
    let repeat = post.await.expect("a response");
    assert_eq!(repeat.expect(201), first);
    assert_eq!(repeat.header("idempotency-replayed"), "true");
    assert_eq!(first["seq"], 2);
    assert_eq!(all(&stage, &id, "type").await, ["void", "text"]);
    assert_eq!(stage.points(&author).await, 1);
}

#[tokio::test]
async fn a_post_that_is_overtaken_by_another_request_with_its_key_is_refused() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let slow = Post { conversation: &id, author: &author, key: Some("key") };
    let (post, gate) = stage.hold("TransactWriteItems", &slow).await;
    let other = json!({ "author_id": author, "text": "another" });
    stage.api().post_with_key(&slow.path(), "key", &other).await.expect(201);
    gate.open();
    post.await.expect("a response").expect_code(422, "idempotency_key_reused");
    assert_eq!(all(&stage, &id, "type").await, ["void", "text"]);
}

#[tokio::test]
async fn a_post_stores_nothing_if_its_profile_is_deleted_after_the_reservation() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    earn(&stage, &author, 9).await;
    let slow = Post { conversation: &id, author: &author, key: None };
    let (post, gate) = stage.hold("TransactWriteItems", &slow).await;
    stage.api().delete(&format!("/profiles/{author}")).await.expect(204);
    gate.open();
    assert_eq!(post.await.expect("a response").invalid_fields(), ["author_id"]);
    assert_eq!(all(&stage, &id, "type").await, ["void", "void"]);
}

#[tokio::test]
async fn a_post_stores_nothing_if_its_conversation_is_deleted_before_the_reservation() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let slow = Post { conversation: &id, author: &author, key: None };
    let (post, gate) = stage.hold("UpdateItem", &slow).await;
    stage.api().delete(&format!("/conversations/{id}")).await.expect(204);
    gate.open();
    post.await.expect("a response").expect_code(404, "not_found");
    assert_eq!(stage.sort_keys(&id), ["CONVERSATION", "ENDED"]);
    assert_eq!(stage.points(&author).await, 0);
}

/// The conversation takes no part in the transaction, so a reserved post is stored. It counts.
#[tokio::test]
async fn a_post_counts_if_its_conversation_is_deleted_after_the_reservation() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let slow = Post { conversation: &id, author: &author, key: None };
    let (post, gate) = stage.hold("TransactWriteItems", &slow).await;
    stage.api().delete(&format!("/conversations/{id}")).await.expect(204);
    gate.open();
    assert_eq!(post.await.expect("a response").expect(201)["seq"], 1);
    stage.api().get(&format!("/conversations/{id}/messages/1")).await.expect_status(404);
    assert_eq!(stage.points(&author).await, 1);
    stage.advance(600);
    assert_eq!(stage.purge().await.removed, 1);
    assert_eq!(stage.items(&id), [json!(null); 0]);
}

#[tokio::test]
async fn a_post_that_is_stored_says_so_even_if_its_conversation_is_deleted_before_it_finds_out() {
    let stage = Stage::start_hasty().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let post = Post { conversation: &id, author: &author, key: None };
    let (gate, sent, puts) = (Gate::default(), AtomicU32::new(0), AtomicU32::new(0));
    let held = gate.clone();
    stage.recorder.inject(move |operation, _| match operation {
        "TransactWriteItems" if sent.fetch_add(1, Ordering::Relaxed) == 0 => Fault::ResponseLost,
        "TransactWriteItems" => Fault::RequestLost,
        "PutItem" if puts.fetch_add(1, Ordering::Relaxed) == 0 => Fault::Held(held.clone()),
        _ => Fault::None,
    });
    let (path, body) = (post.path(), post.body());
    let deletion = async {
        gate.arrival().await;
        stage.api().delete(&format!("/conversations/{id}")).await.expect(204);
        gate.open();
    };
    let (response, ()) = tokio::join!(stage.api().post(&path, &body), deletion);
    stage.recorder.clear();
    assert_eq!(response.expect(201)["seq"], 1);
    assert_eq!(stage.points(&author).await, 1);
}
