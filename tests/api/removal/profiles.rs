//! Deletions of profiles, which remove their memberships.

use std::time::Duration;

use shared::{Error, IdempotencyKey, IfMatch, Limit, MessageLimit, NewMember, NewProfile, Result};

use super::{Private, ada, bob, is_hidden};
use crate::stage::Stage;
use tests::recorder::Fault;

fn is_hidden_author(result: &Result<()>) -> bool {
    matches!(result, Err(Error::Invalid(errors)) if errors.contains_key("author_id"))
}

#[tokio::test]
async fn a_deleted_profile_leaves_its_conversations_and_is_removed_ten_minutes_later() {
    let private = Private::create().await;
    let deleted = private.table().delete_profile(&bob(), private.bob, &IfMatch::Any).await;
    deleted.expect("deleted");
    assert_eq!(private.counted(), (0, 0, 0));
    let read = private.table().get_conversation(&bob(), private.id, MessageLimit(None)).await;
    assert!(is_hidden(&read));
    let pk = format!("PROFILE#{}", private.bob);
    let is_stored = || private.stage.dump().iter().any(|item| item.contains(&pk));
    assert_eq!(private.stage.purge().await.removed, 0);
    assert!(is_stored(), "nothing is removed while a request may be late");
    private.stage.clock.advance(Duration::from_secs(600));
    assert_eq!(private.stage.purge().await.removed, 1);
    assert!(!is_stored());
}

/// The index does not show the membership yet, so the deletion does not find it.
#[tokio::test]
async fn a_profile_added_a_moment_before_its_deletion_loses_access_by_the_purge() {
    let private = Private::create().await;
    let listing = format!("MEMBER#{}", private.bob);
    private.stage.recorder.inject(move |operation, request| {
        let of_members = request["ExpressionAttributeValues"][":listing"]["S"] == *listing;
        let hide = operation == "Query" && of_members;
        if hide { Fault::Hidden(listing.clone()) } else { Fault::None }
    });
    let deleted = private.table().delete_profile(&bob(), private.bob, &IfMatch::Any).await;
    deleted.expect("deleted");
    private.stage.recorder.clear();
    assert_eq!(private.counted(), (1, 0, 1));
    assert!(is_hidden_author(&private.post(&bob(), private.bob).await));
    // The first run removes the membership, and the next one finds none.
    private.stage.clock.advance(Duration::from_secs(600));
    assert_eq!(private.stage.purge().await.removed, 0);
    assert_eq!(private.counted(), (0, 0, 0));
    assert_eq!(private.stage.purge().await.removed, 1);
}

/// The profile is read, deleted, and then added.
#[tokio::test]
async fn a_profile_that_is_added_while_it_is_deleted_loses_access_by_the_purge() {
    let private = Private::create().await;
    private.remove().await.expect("removed");
    let (table, id, profile) = (private.table(), private.id, private.bob);
    let add = async move { table.put_member(&ada(), id, profile, NewMember::default()).await };
    let (add, gate) = private.hold("TransactWriteItems", 1, add).await;
    private.table().delete_profile(&bob(), profile, &IfMatch::Any).await.expect("deleted");
    gate.open();
    add.await.expect("no panic").expect("added");
    assert_eq!(private.counted(), (1, 0, 1));
    let members = private.table().list_members(&ada(), id, Limit::default(), None).await;
    assert_eq!(members.expect("members").results.len(), 1, "a deleted profile is not shown");
    private.stage.purge().await;
    assert_eq!(private.counted(), (0, 0, 0));
}

#[tokio::test]
async fn a_profile_that_is_deleted_right_after_its_creation_answers_a_repeat_with_410() {
    let stage = Stage::start().await;
    let table = stage.table();
    let key: IdempotencyKey = "key".parse().expect("a key");
    let create = async || {
        let first_name = "P".to_owned().try_into().expect("a name");
        let (last_name, job_title) = Default::default();
        let input = NewProfile { first_name, last_name, job_title };
        table.create_profile(&ada(), input, Some(&key)).await
    };
    let id = create().await.expect("created").resource.id;
    table.delete_profile(&ada(), id, &IfMatch::Any).await.expect("deleted");
    assert!(matches!(create().await, Err(Error::Gone)));
}
