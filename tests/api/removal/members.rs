//! Additions, removals, role changes, posts and read positions that meet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shared::{Error, IfMatch, Limit, NewMember, NewReadPosition, Result, Role, Seq};

use super::{Private, ada, bob, is_hidden, message, profile};
use tests::recorder::{Fault, Gate};

/// Holds a change at its transaction, makes another one, and lets the first go on.
async fn meets(
    private: &Private,
    change: impl Future<Output = Result<()>> + Send + 'static,
    other: impl Future<Output = Result<()>>,
) -> Result<()> {
    let (change, gate) = private.hold("TransactWriteItems", 1, change).await;
    other.await.expect("the other change");
    gate.open();
    change.await.expect("no panic")
}

#[tokio::test]
async fn a_post_that_was_judged_before_a_removal_is_stored_and_the_next_is_refused() {
    let private = Private::create().await;
    let (table, id, author) = (private.table(), private.id, private.bob);
    let post = async move { table.create_message(&bob(), id, message(author), None).await };
    let (post, gate) = private.hold("UpdateItem", 1, post).await;
    private.remove().await.expect("removed");
    gate.open();
    post.await.expect("no panic").expect("posted");
    assert!(is_hidden(&private.post(&bob(), private.bob).await));
}

#[tokio::test]
async fn a_read_position_cannot_be_moved_after_a_removal() {
    let private = Private::create().await;
    let (table, id, profile) = (private.table(), private.id, private.bob);
    let seq = NewReadPosition { seq: Seq::new(1) };
    let mark = async move { table.mark_read(&bob(), id, profile, seq).await };
    let (mark, gate) = private.hold("UpdateItem", 1, mark).await;
    private.remove().await.expect("removed");
    gate.open();
    assert!(is_hidden(&mark.await.expect("no panic")));
    assert_eq!(private.counted(), (0, 0, 0));
    // Added again, it has read everything so far. A late attempt moves nothing back.
    private.post(&ada(), private.ada).await.expect("posted");
    private.put(Role::Member).await.expect("added");
    private.mark(1).await.expect("a member");
    let member = private.stage.item(&id.to_string(), &format!("MEMBER#{profile}"));
    assert_eq!(member["read_seq"]["N"], "2");
}

#[tokio::test]
async fn a_role_change_that_meets_a_removal_keeps_the_counters_right() {
    let private = Private::create().await;
    let (table, id, profile) = (private.table(), private.id, private.bob);
    let promote = async move {
        let role = NewMember { role: Some(Role::Moderator) };
        table.put_member(&ada(), id, profile, role).await.map(drop)
    };
    // The request asks for a moderator, so it adds one.
    meets(&private, promote, private.remove()).await.expect("added");
    assert_eq!(private.counted(), (1, 1, 1));
    let table = private.table();
    let remove = async move { table.delete_member(&ada(), id, profile).await };
    let demote = async { private.put(Role::Member).await.map(drop) };
    meets(&private, remove, demote).await.expect("removed");
    assert_eq!(private.counted(), (0, 0, 0));
}

#[tokio::test]
async fn two_equal_additions_and_two_equal_removals_count_once() {
    let private = Private::create().await;
    let (id, profile) = (private.id, private.bob);
    private.remove().await.expect("removed");
    let table = private.table();
    let add =
        async move { table.put_member(&ada(), id, profile, NewMember::default()).await.map(drop) };
    let other = async { private.put(Role::Member).await.map(drop) };
    meets(&private, add, other).await.expect("a member");
    assert_eq!(private.counted(), (1, 0, 1));
    let table = private.table();
    let remove = async move { table.delete_member(&ada(), id, profile).await };
    meets(&private, remove, private.remove()).await.expect("removed");
    assert_eq!(private.counted(), (0, 0, 0));
}

#[tokio::test]
async fn a_removal_that_arrives_late_does_not_remove_who_was_added_again() {
    let private = Private::create().await;
    let (table, id, profile) = (private.table(), private.id, private.bob);
    let remove = async move { table.delete_member(&ada(), id, profile).await };
    let late = private.stage.crash_at("TransactWriteItems", remove).await;
    private.remove().await.expect("removed");
    private.put(Role::Member).await.expect("added");
    assert_eq!(private.stage.deliver("TransactWriteItems", &late), 400);
    assert_eq!(private.counted(), (1, 0, 1));
}

#[tokio::test]
async fn a_role_change_that_arrives_late_undoes_no_later_one() {
    let private = Private::create().await;
    let (table, id, profile) = (private.table(), private.id, private.bob);
    let promote = async move {
        let role = NewMember { role: Some(Role::Moderator) };
        table.put_member(&ada(), id, profile, role).await
    };
    let late = private.stage.crash_at("TransactWriteItems", promote).await;
    private.put(Role::Moderator).await.expect("promoted");
    private.put(Role::Member).await.expect("demoted");
    assert_eq!(private.stage.deliver("TransactWriteItems", &late), 400);
    assert_eq!(private.counted(), (1, 0, 1));
}

/// An unanswered addition may be committed late, when the member that made the repeat fail is gone
/// again. So nobody is told that it was in vain.
#[tokio::test]
async fn an_addition_that_may_still_be_committed_has_an_unknown_outcome() {
    let private = Private::create().await;
    let (table, id, profile) = (private.table(), private.id, private.bob);
    private.remove().await.expect("removed");
    let (gate, made) = (Gate::default(), AtomicUsize::new(0));
    let held = gate.clone();
    private.stage.recorder.inject(move |operation, _| match operation {
        "TransactWriteItems" if made.fetch_add(1, Ordering::Relaxed) == 0 => Fault::RequestLost,
        "TransactWriteItems" => Fault::Held(held.clone()),
        _ => Fault::None,
    });
    let add =
        tokio::spawn(
            async move { table.put_member(&ada(), id, profile, NewMember::default()).await },
        );
    gate.arrival().await;
    private.stage.recorder.clear();
    private.put(Role::Member).await.expect("added");
    gate.open();
    let added = add.await.expect("no panic");
    assert!(matches!(added, Err(Error::OutcomeUnknown(_))), "{added:?}");
    assert_eq!(private.counted(), (1, 0, 1));
}

#[tokio::test]
async fn a_member_added_to_a_conversation_that_is_being_deleted_is_purged_with_it() {
    let private = Private::create().await;
    private.remove().await.expect("removed");
    let (table, id, profile) = (private.table(), private.id, private.bob);
    let add = async move { table.put_member(&ada(), id, profile, NewMember::default()).await };
    let (add, gate) = private.hold("TransactWriteItems", 1, add).await;
    let deleted = private.table().delete_conversation(&ada(), id, &IfMatch::Any).await;
    deleted.expect("deleted");
    gate.open();
    add.await.expect("no panic").expect("added");
    let inbox = private.table().list_memberships(&bob(), profile, Limit::default(), None).await;
    assert!(inbox.expect("an inbox").results.is_empty());
    assert!(is_hidden(&private.mark(0).await));
    private.stage.clock.advance(Duration::from_secs(600));
    assert_eq!(private.stage.purge().await.removed, 1);
    assert!(private.stage.items(&id.to_string()).is_empty());
}

/// An unanswered removal that was refused because of the number of the owner's members may be
/// committed late, when that number is right again. So nobody is told that it was in vain.
#[tokio::test]
async fn a_removal_that_may_still_be_committed_has_an_unknown_outcome() {
    let private = Private::create().await;
    let (table, id, bobs) = (private.table(), private.id, private.bob);
    let second = profile(&table, &bob()).await;
    let (gate, made) = (Gate::default(), AtomicUsize::new(0));
    let held = gate.clone();
    private.stage.recorder.inject(move |operation, _| match operation {
        "TransactWriteItems" if made.fetch_add(1, Ordering::Relaxed) == 0 => Fault::RequestLost,
        "TransactWriteItems" => Fault::Held(held.clone()),
        _ => Fault::None,
    });
    let remove = tokio::spawn(async move { table.delete_member(&ada(), id, bobs).await });
    gate.arrival().await;
    private.stage.recorder.clear();
    // Bob has two members now, and the removal has been built for the only one.
    let added = private.table().put_member(&ada(), id, second, NewMember::default()).await;
    added.expect("added");
    let deleted = private.table().delete_conversation(&ada(), id, &IfMatch::Any).await;
    deleted.expect("deleted");
    gate.open();
    let removed = remove.await.expect("no panic");
    assert!(matches!(removed, Err(Error::OutcomeUnknown(_))), "{removed:?}");
}

#[tokio::test]
async fn a_read_position_moves_although_the_member_was_removed_and_added_meanwhile() {
    let private = Private::create().await;
    let (table, id, profile) = (private.table(), private.id, private.bob);
    private.remove().await.expect("removed");
    let seq = NewReadPosition { seq: Seq::new(1) };
    let mark = async move { table.mark_read(&bob(), id, profile, seq).await };
    // The second read is for the reason of the refusal.
    let (mark, gate) = private.hold("BatchGetItem", 2, mark).await;
    private.put(Role::Member).await.expect("added");
    gate.open();
    let member = mark.await.expect("no panic").expect("moved");
    assert_eq!(member.read_seq, Some(Seq::new(1)));
}
