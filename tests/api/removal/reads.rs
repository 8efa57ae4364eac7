//! Reads that overlap a removal.

use std::pin::Pin;
use std::time::Duration;

use shared::{
    Caller, Cursor, Error, IdempotencyKey, IfMatch, InboxCursor, Limit, MessageLimit, PageStart,
    Result, Seq,
};

use super::{Private, ada, bob, is_hidden, message};
use crate::stage::operations;
use tests::recorder::Fault;

/// A read of a conversation, which returns the highest `seq` that it shows.
type Read = Pin<Box<dyn Future<Output = Result<u64>> + Send>>;

/// The reads of a conversation by Bob, each with the request that reads its messages.
fn reads(private: &Private) -> Vec<(&'static str, usize, Read)> {
    let (id, table) = (private.id, private.table());
    let highest = |seqs: Vec<Seq>| seqs.into_iter().max().map_or(0, Seq::get);
    let (one, two, three, four) = (table.clone(), table.clone(), table.clone(), table);
    let caller = bob;
    vec![
        (
            "Query",
            1,
            Box::pin(async move {
                let limit = Limit::default();
                let page =
                    one.list_messages(&caller(), id, PageStart::After(Seq::new(0)), limit).await?;
                Ok(highest(page.results.iter().map(|message| message.seq).collect()))
            }),
        ),
        (
            "Query",
            1,
            Box::pin(async move {
                let after = Cursor::default();
                let changes = two.list_changes(&caller(), id, after, Limit::default()).await?;
                Ok(highest(changes.results.iter().map(|message| message.seq).collect()))
            }),
        ),
        (
            "Query",
            1,
            Box::pin(async move {
                let read = three.get_conversation(&caller(), id, MessageLimit::default()).await?;
                Ok(highest(read.1.results.iter().map(|message| message.seq).collect()))
            }),
        ),
        (
            "BatchGetItem",
            1,
            Box::pin(async move {
                let message = four.get_message(&caller(), id, Seq::new(2)).await?;
                Ok(message.seq.get())
            }),
        ),
    ]
}

/// The messages are read before access is. So what was posted after the removal was answered is
/// hidden, whenever the messages are read.
#[tokio::test]
async fn a_read_that_overlaps_a_removal_shows_nothing_that_was_posted_after_it() {
    for index in 0..4 {
        let private = Private::create().await;
        let (operation, number, read) = reads(&private).remove(index);
        let (read, gate) = private.hold(operation, number, read).await;
        private.remove().await.expect("removed");
        private.post(&ada(), private.ada).await.expect("posted");
        gate.open();
        let shown = read.await.expect("no panic");
        assert!(is_hidden(&shown), "{index}: {shown:?}");
    }
}

/// Everything was read, but not yet the caller's access.
#[tokio::test]
async fn a_read_that_has_not_read_access_yet_is_refused_after_a_removal() {
    for index in 0..4 {
        let private = Private::create().await;
        private.post(&ada(), private.ada).await.expect("posted");
        let (_, _, read) = reads(&private).remove(index);
        let (read, gate) = private.hold("BatchGetItem", 2, read).await;
        private.remove().await.expect("removed");
        gate.open();
        let shown = read.await.expect("no panic");
        assert!(is_hidden(&shown), "{index}: {shown:?}");
    }
}

#[tokio::test]
async fn a_removed_member_gets_the_same_410_for_a_repeat_before_and_after_the_deletion() {
    let private = Private::create().await;
    let key: IdempotencyKey = "key".parse().expect("a key");
    let post = async || {
        let message = message(private.bob);
        private.table().create_message(&bob(), private.id, message, Some(&key)).await
    };
    post().await.expect("posted");
    assert!(post().await.expect("repeated").created.replayed);
    private.remove().await.expect("removed");
    let written = private.stage.dump();
    for _ in 0..2 {
        assert!(matches!(post().await, Err(Error::Gone)));
        assert_eq!(private.stage.dump(), written);
    }
    let deleted = private.table().delete_conversation(&ada(), private.id, &IfMatch::Any).await;
    deleted.expect("deleted");
    assert!(matches!(post().await, Err(Error::Gone)));
    private.stage.clock.advance(Duration::from_secs(600));
    assert_eq!(private.stage.purge().await.removed, 1);
    assert!(matches!(post().await, Err(Error::Gone)));
}

/// Each gap is old, so the next reader who may see the conversation closes it.
#[tokio::test]
async fn a_stranger_closes_no_gap_and_waits_for_none() {
    let private = Private::create().await;
    let (id, stranger) = (private.id, Caller::User("eve".into()));
    private.stage.reserve(&id.to_string(), 1);
    private.post(&ada(), private.ada).await.expect("posted");
    let before = Limit::default();
    let start = PageStart::Before(Seq::new(3));
    let _ = private.stage.recorder.take();
    // The gap is young: a page of `before` would wait for it.
    assert!(is_hidden(&private.table().list_messages(&stranger, id, start, before).await));
    assert_eq!(operations(&private.stage.recorder.take()).len(), 3, "one check, and no wait");
    private.stage.advance(10);
    let written = private.stage.dump();
    for start in [start, PageStart::Newest, PageStart::After(Seq::new(0))] {
        assert!(is_hidden(&private.table().list_messages(&stranger, id, start, before).await));
    }
    let read = private.table().get_conversation(&stranger, id, MessageLimit::default()).await;
    assert!(is_hidden(&read));
    let changes = private.table().list_changes(&stranger, id, Cursor::default(), before).await;
    assert!(is_hidden(&changes));
    assert_eq!(private.stage.dump(), written);
    let page = private.table().list_messages(&bob(), id, PageStart::Newest, before).await;
    assert_eq!(page.expect("a page").results.len(), 3);
}

#[tokio::test]
async fn an_inbox_leaves_out_a_conversation_from_which_its_profile_was_removed_meanwhile() {
    let private = Private::create().await;
    let (table, profile) = (private.table(), private.bob);
    let after: Option<InboxCursor> = None;
    let inbox =
        async move { table.list_memberships(&bob(), profile, Limit::default(), after).await };
    // After the conversations were read, before the members are.
    let (inbox, gate) = private.hold("BatchGetItem", 3, inbox).await;
    private.remove().await.expect("removed");
    gate.open();
    assert!(inbox.await.expect("no panic").expect("an inbox").results.is_empty());
}

/// The owner's deletion could not record the end. A repeat by the owner would, but not one by
/// another.
#[tokio::test]
async fn a_stranger_who_deletes_a_deleted_conversation_writes_nothing() {
    let private = Private::create().await;
    let (table, id) = (private.table(), private.id);
    private.stage.inject_always("PutItem", Fault::Refused("ThrottlingException"));
    table.delete_conversation(&ada(), id, &IfMatch::Any).await.expect("deleted");
    private.stage.recorder.clear();
    let written = private.stage.dump();
    for caller in [bob(), Caller::User("eve".into())] {
        assert!(is_hidden(&table.delete_conversation(&caller, id, &IfMatch::Any).await));
        assert_eq!(private.stage.dump(), written, "{caller:?}");
    }
    assert!(is_hidden(&table.delete_conversation(&ada(), id, &IfMatch::Any).await));
    assert_ne!(private.stage.dump(), written);
}
