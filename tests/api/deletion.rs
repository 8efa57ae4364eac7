//! A deleted conversation is marked at first; `purge-deleted` removes it 10 minutes later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use functions::jobs;
use shared::table::Purged;
use shared::{Caller, Cursor, Limit};

use crate::stage::{Stage, operations};
use tests::recorder::{Fault, Gate};
use tests::service::json;

/// The time for which the items of a deleted conversation are kept.
const RETENTION: Duration = Duration::from_secs(600);

/// Creates a conversation with three messages, of which one was edited, and deletes it. Returns its id.
async fn deleted_conversation(stage: &Stage) -> String {
    let api = stage.api();
    let (author_id, id) = api.profile_and_conversation().await;
    for _ in 0..3 {
        api.say(&id, &author_id, "x").await;
    }
    let edit = json!({ "text": "y" });
    api.patch(&format!("/conversations/{id}/messages/1"), &edit).await.expect(200);
    api.delete(&format!("/conversations/{id}")).await.expect(204);
    id
}

/// The sort keys of that conversation.
const ITEMS: [&str; 7] = [
    "CHANGE#000000000001",
    "CHANGES",
    "CONVERSATION",
    "ENDED",
    "MESSAGE#000000000001",
    "MESSAGE#000000000002",
    "MESSAGE#000000000003",
];

#[tokio::test]
async fn a_deleted_conversation_is_kept_for_ten_minutes_and_then_removed() {
    let stage = Stage::start().await;
    let id = deleted_conversation(&stage).await;
    assert_eq!(stage.purge().await, Purged { removed: 0, failed: 0 });
    stage.clock.advance(RETENTION - Duration::from_secs(1));
    assert_eq!(stage.purge().await, Purged { removed: 0, failed: 0 });
    assert_eq!(stage.sort_keys(&id), ITEMS);
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.purge().await, Purged { removed: 1, failed: 0 });
    assert_eq!(stage.items(&id), [json!(null); 0]);
    assert_eq!(stage.purge().await, Purged { removed: 0, failed: 0 });
}

#[tokio::test]
async fn the_purge_removes_more_messages_than_one_query_returns() {
    let stage = Stage::start().await;
    let api = stage.api();
    let (author_id, id) = api.profile_and_conversation().await;
    // 60 messages of 20 kB each are more than the 1 MB that one Query returns.
    for _ in 0..60 {
        api.say(&id, &author_id, &"👍".repeat(5000)).await;
    }
    api.delete(&format!("/conversations/{id}")).await.expect(204);
    stage.clock.advance(RETENTION);
    assert_eq!(stage.purge().await.removed, 1);
    assert_eq!(stage.items(&id), [json!(null); 0]);
}

#[tokio::test]
async fn the_purge_removes_the_conversation_last() {
    let stage = Stage::start().await;
    deleted_conversation(&stage).await;
    stage.clock.advance(RETENTION);
    let _ = stage.recorder.take();
    stage.purge().await;
    let sent = stage.recorder.take();
    let last = sent.last().expect("a request");
    assert_eq!(last.operation, "TransactWriteItems");
    let deleted = |index: usize| &last.request["TransactItems"][index]["Delete"]["Key"]["sk"]["S"];
    assert_eq!((deleted(0), deleted(1)), (&json!("CONVERSATION"), &json!("ENDED")));
}

/// A message of an unfinished post may become visible after the conversation was marked.
#[tokio::test]
async fn the_purge_removes_messages_that_become_visible_late() {
    let stage = Stage::start().await;
    let id = deleted_conversation(&stage).await;
    stage.clock.advance(RETENTION);
    let first = AtomicBool::new(true);
    stage.recorder.inject(move |operation, request| {
        let of_items = operation == "Query" && request.get("IndexName").is_none();
        let hide = of_items && first.swap(false, Ordering::Relaxed);
        if hide { Fault::Hidden("MESSAGE#000000000002".into()) } else { Fault::None }
    });
    assert_eq!(stage.purge().await, Purged { removed: 1, failed: 0 });
    assert_eq!(stage.items(&id), [json!(null); 0]);
}

#[tokio::test]
async fn a_conversation_that_cannot_be_purged_does_not_stop_the_others() {
    let stage = Stage::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(deleted_conversation(&stage).await);
    }
    stage.clock.advance(RETENTION);
    // The newest conversation is purged first, so an error there would stop all others.
    let broken: Arc<str> = ids[2].as_str().into();
    stage.recorder.inject(move |operation, request| {
        let refuse = operation == "BatchWriteItem" && request.to_string().contains(&*broken);
        if refuse { Fault::Refused("AccessDeniedException") } else { Fault::None }
    });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
    let job = jobs::purge_deleted(stage.service.table.for_request(deadline)).await;
    let error = job.expect_err("the job reports the failure").chain();
    assert!(error.contains("1 deletions could not be completed"), "{error}");
    let left: Vec<usize> = ids.iter().map(|id| stage.sort_keys(id).len()).collect();
    assert_eq!(left, [0, 0, 7]);

    stage.recorder.clear();
    assert_eq!(stage.purge().await, Purged { removed: 1, failed: 0 });
    assert_eq!(stage.items(&ids[2]), [json!(null); 0]);
}

#[tokio::test]
async fn a_purge_that_runs_out_of_time_fails_only_if_it_has_removed_nothing() {
    let stage = Stage::start().await;
    deleted_conversation(&stage).await;
    deleted_conversation(&stage).await;
    stage.clock.advance(RETENTION);
    let purge = async |removals| {
        let count = AtomicUsize::new(0);
        stage.recorder.inject(move |operation, _| {
            let removes = operation == "BatchWriteItem";
            let stuck = removes && count.fetch_add(1, Ordering::Relaxed) >= removals;
            if stuck { Fault::Held(Gate::default()) } else { Fault::None }
        });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
        jobs::purge_deleted(stage.service.table.for_request(deadline)).await
    };
    let error = purge(0).await.expect_err("nothing was removed").chain();
    assert!(error.contains("1 deletions could not be completed"), "{error}");
    purge(1).await.expect("one conversation was removed");
    stage.recorder.clear();
    assert_eq!(stage.purge().await, Purged { removed: 1, failed: 0 });
}

#[tokio::test]
async fn a_second_deletion_is_not_found_and_does_not_postpone_the_removal() {
    let stage = Stage::start().await;
    let id = deleted_conversation(&stage).await;
    let deleted_at = stage.item(&id, "CONVERSATION")["deleted_at"].clone();
    for _ in 0..2 {
        stage.advance(300);
        stage.api().delete(&format!("/conversations/{id}")).await.expect_code(404, "not_found");
        assert_eq!(stage.item(&id, "CONVERSATION")["deleted_at"], deleted_at);
    }
    assert_eq!(stage.purge().await.removed, 1);
    stage.api().delete(&format!("/conversations/{id}")).await.expect_code(404, "not_found");
    assert_eq!(stage.items(&id), [json!(null); 0], "nothing is created again");
}

/// Followers are notified of the end by the item `ENDED`.
#[tokio::test]
async fn an_end_that_was_not_recorded_is_recorded_by_the_next_deletion_or_purge() {
    let stage = Stage::start().await;
    for by_purge in [false, true] {
        let (_, id) = stage.api().profile_and_conversation().await;
        let path = format!("/conversations/{id}");
        stage.inject_always("PutItem", Fault::Refused("ThrottlingException"));
        stage.api().delete(&path).await.expect(204);
        stage.recorder.clear();
        assert_eq!(stage.sort_keys(&id), ["CONVERSATION"]);
        if by_purge {
            stage.purge().await;
        } else {
            stage.api().delete(&path).await.expect_code(404, "not_found");
        }
        assert_eq!(stage.sort_keys(&id), ["CONVERSATION", "ENDED"]);
    }
}

#[tokio::test]
async fn a_conversation_whose_end_cannot_be_recorded_is_removed_by_a_later_run() {
    let stage = Stage::start().await;
    let (_, id) = stage.api().profile_and_conversation().await;
    stage.inject_always("PutItem", Fault::Refused("ThrottlingException"));
    stage.api().delete(&format!("/conversations/{id}")).await.expect(204);
    stage.clock.advance(RETENTION);
    stage.inject_always("TransactWriteItems", Fault::Refused("AccessDeniedException"));
    assert_eq!(stage.purge().await, Purged { removed: 0, failed: 1 });
    assert_eq!(stage.sort_keys(&id), ["CONVERSATION"]);
    stage.recorder.clear();
    assert_eq!(stage.purge().await, Purged { removed: 1, failed: 0 });
    assert_eq!(stage.items(&id), [json!(null); 0]);
}

/// Two runs of the purge may overlap. What one of them does late must not create an item again.
#[tokio::test]
async fn a_run_that_is_late_records_no_end_of_a_removed_conversation() {
    let stage = Stage::start().await;
    let (_, id) = stage.api().profile_and_conversation().await;
    stage.inject_always("PutItem", Fault::Refused("ThrottlingException"));
    stage.api().delete(&format!("/conversations/{id}")).await.expect(204);
    stage.clock.advance(RETENTION);
    let table = stage.table();
    let late =
        stage.crash_at("TransactWriteItems", async move { table.purge_deleted().await }).await;
    assert_eq!(stage.purge().await.removed, 1);
    assert_eq!(stage.deliver("TransactWriteItems", &late), 400);
    assert_eq!(stage.items(&id), [json!(null); 0]);
}

/// Its conversation may be removed meanwhile, and a late write would create an item of it again.
#[tokio::test]
async fn a_deletion_repeated_minutes_later_writes_nothing() {
    let stage = Stage::start().await;
    let id = deleted_conversation(&stage).await;
    stage.clock.advance(RETENTION / 2);
    let _ = stage.recorder.take();
    stage.api().delete(&format!("/conversations/{id}")).await.expect_code(404, "not_found");
    let sent = stage.recorder.take();
    assert_eq!(operations(&sent), ["UpdateItem"]);
    assert!(sent[0].response["__type"].to_string().contains("ConditionalCheckFailed"));
}

/// A reader notes which changes it has seen, in an item that the purge has removed meanwhile.
#[tokio::test]
async fn a_reader_that_is_late_creates_no_item_of_a_removed_conversation() {
    let stage = Stage::start().await;
    let (author_id, id) = stage.api().profile_and_conversation().await;
    stage.api().say(&id, &author_id, "x").await;
    let path = format!("/conversations/{id}");
    stage.api().patch(&format!("{path}/messages/1"), &json!({ "text": "y" })).await.expect(200);
    let (table, conversation) = (stage.table(), id.parse().expect("an id"));
    let after: Cursor = "1.0".parse().expect("a cursor");
    let read = async move {
        table.list_changes(&Caller::Anyone, conversation, after, Limit::default()).await
    };
    let late = stage.crash_at("UpdateItem", read).await;
    stage.api().delete(&path).await.expect(204);
    stage.clock.advance(RETENTION);
    assert_eq!(stage.purge().await.removed, 1);
    assert_eq!(stage.deliver("UpdateItem", &late), 400);
    assert_eq!(stage.items(&id), [json!(null); 0]);
}
