//! The frames that clients send: who may send them, and what is refused.

use shared::Visibility::{Private, Public};
use shared::live::{MAX_SUBSCRIPTIONS, NewWatch};
use shared::{Caller, ConversationId, Cursor, Error, Seq};

use super::world::{World, user};

#[tokio::test]
async fn to_whoever_may_not_see_it_a_conversation_is_absent_and_nothing_is_stored() {
    let world = World::start().await;
    let (ada, bob, carol) = (user("ada"), user("bob"), user("carol"));
    let (_, id) = world.conversation(&ada, Private).await;
    let (member, removed) = (world.profile(&bob).await.id, world.profile(&carol).await.id);
    for profile in [member, removed] {
        world.add(&ada, id, profile).await;
    }
    world.stage.table().delete_member(&ada, id, removed).await.expect("removed");
    for (caller, name, sees) in [
        (ada.clone(), "owner", true),
        (bob, "member", true),
        (Caller::Admin("eve".into()), "admin", true),
        (Caller::Anyone, "open", true),
        (carol, "removed", false),
        (user("eve"), "stranger", false),
        // Another owner whose hash differs, whatever the text has in common.
        (user("ada#"), "similar", false),
    ] {
        let connection = world.connect(&caller, name).await;
        let before = world.subscriptions();
        let answer = world.try_subscribe(&connection, id).await;
        let absent = world.try_subscribe(&connection, ConversationId::generate()).await;
        assert!(matches!(absent, Err(Error::NotFound("conversation"))), "{name}");
        match answer {
            Ok(()) => assert!(sees, "{name}"),
            Err(Error::NotFound("conversation")) => assert!(!sees, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
        assert_eq!(world.subscriptions() - before, usize::from(sees), "{name}");
    }
}

#[tokio::test]
async fn a_connection_has_at_most_100_subscriptions_however_often_it_renews_them() {
    let world = World::start().await;
    let ada = user("ada");
    let (profile_id, first) = world.conversation(&ada, Public).await;
    let connection = world.connect(&ada, "c").await;
    let watch = || NewWatch { profile_id, conversation_ids: vec![first] };
    world.stage.table().watch(&connection, watch()).await.expect("watching");
    for _ in 0..2 {
        world.try_subscribe(&connection, first).await.expect("subscribed");
    }
    for _ in 2..MAX_SUBSCRIPTIONS {
        let (_, id) = world.conversation(&ada, Public).await;
        world.try_subscribe(&connection, id).await.expect("subscribed");
    }
    let (_, another) = world.conversation(&ada, Public).await;
    let full = world.try_subscribe(&connection, another).await;
    assert!(matches!(full, Err(Error::TooManySubscriptions)), "{full:?}");
    world.try_subscribe(&connection, first).await.expect("renewed");
    world.stage.table().watch(&connection, watch()).await.expect("renewed");
    world.stage.table().unsubscribe(&connection, first).await.expect("ended");
    world.try_subscribe(&connection, another).await.expect("subscribed");
}

#[tokio::test]
async fn a_watch_replaces_the_previous_one() {
    let world = World::start().await;
    let ada = user("ada");
    let (profile_id, first) = world.conversation(&ada, Public).await;
    let (_, second) = world.conversation(&ada, Public).await;
    let connection = world.connect(&ada, "c").await;
    for conversation_ids in [vec![first, second], vec![second]] {
        let count = conversation_ids.len();
        let watch = NewWatch { profile_id, conversation_ids };
        world.stage.table().watch(&connection, watch).await.expect("watching");
        assert_eq!(world.subscriptions(), count + 1, "the conversations, and the profile");
    }
}

#[tokio::test]
async fn after_unsubscribing_nothing_arrives() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, id) = world.conversation(&ada, Public).await;
    let connection = world.subscriber(&ada, "c", id).await;
    world.stage.table().unsubscribe(&connection, id).await.expect("ended");
    let message = world.say(&ada, id, author, "hello").await;
    world.deliver(&[&message]).await;
    assert_eq!(world.posts.take(), []);
}

#[tokio::test]
async fn an_unknown_cursor_is_an_error_and_the_subscription_stays() {
    let world = World::start().await;
    let ada = user("ada");
    let (_, id) = world.conversation(&ada, Public).await;
    let connection = world.connect(&ada, "c").await;
    let beyond = Cursor { seq: Seq::new(7), change: 0 };
    let answer = world.stage.table().subscribe(&connection, id, beyond).await;
    assert!(matches!(answer, Err(Error::CursorUnknown)), "{answer:?}");
    assert_eq!(world.subscriptions(), 1);
}
