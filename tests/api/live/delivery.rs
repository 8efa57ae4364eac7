//! What `deliver` sends, to whom, and what becomes of subscriptions.

use std::sync::atomic::{AtomicBool, Ordering};

use shared::Visibility::{Private, Public};
use shared::live::{MAX_CONNECTIONS, NewWatch};
use shared::{Caller, Cursor, IfMatch, MessagePatch, Seq};

use super::world::{World, record, texts, types, user};
use tests::recorder::{Fault, Gate, Sent};
use tests::service::json;

#[tokio::test]
async fn a_removed_member_gets_its_end_and_nothing_after() {
    let world = World::start().await;
    let (ada, bob) = (user("ada"), user("bob"));
    let (author, id) = world.conversation(&ada, Private).await;
    let guest = world.profile(&bob).await.id;
    world.add(&ada, id, guest).await;
    let reader = world.subscriber(&ada, "reader", id).await;
    let removed = world.subscriber(&bob, "removed", id).await;
    let before = world.say(&ada, id, author, "before").await;
    world.deliver(&[&before]).await;
    assert_eq!(texts(&world.posts.take_to(&removed)), ["before"]);

    world.stage.table().delete_member(&ada, id, guest).await.expect("removed");
    let after = world.say(&ada, id, author, "after").await;
    // The record of the removal is still on its way.
    world.deliver(&[&after]).await;
    let mut posted = world.posts.take();
    posted.sort_by_key(|(to, _)| to.clone());
    assert_eq!(posted.len(), 2, "{posted:?}");
    assert_eq!(texts(&[posted[0].1.clone()]), ["after"]);
    let ended = json!({ "type": "ended", "conversation_id": id, "reason": "removed" });
    assert_eq!(posted[1], (removed.to_string(), ended));
    let later = world.say(&ada, id, author, "later").await;
    world.deliver(&[&later, &record("REMOVE", id, "ACCESS#x")]).await;
    let posted = world.posts.take();
    assert!(posted.iter().all(|(to, _)| *to == reader.as_str()), "{posted:?}");
    assert_eq!(world.subscriptions(), 1);
}

#[tokio::test]
async fn a_removal_ends_the_subscription_even_if_nothing_is_posted() {
    let world = World::start().await;
    let (ada, bob) = (user("ada"), user("bob"));
    let (_, id) = world.conversation(&ada, Private).await;
    let guest = world.profile(&bob).await.id;
    world.add(&ada, id, guest).await;
    world.subscriber(&ada, "owner", id).await;
    world.subscriber(&Caller::Admin("eve".into()), "admin", id).await;
    let removed = world.subscriber(&bob, "removed", id).await;
    world.stage.table().delete_member(&ada, id, guest).await.expect("removed");
    world.deliver(&[&record("REMOVE", id, "ACCESS#x")]).await;
    let posted = world.posts.take();
    assert_eq!(posted.len(), 1, "{posted:?}");
    assert_eq!(posted[0].0, removed.as_str());
    assert_eq!(posted[0].1["reason"], "removed");
    // In a public conversation a removal ends nothing.
    let (_, open) = world.conversation(&ada, Public).await;
    world.subscriber(&bob, "guest", open).await;
    world.deliver(&[&record("REMOVE", open, "ACCESS#x")]).await;
    assert_eq!(world.posts.take(), []);
}

#[tokio::test]
async fn a_removal_during_a_delivery_hides_what_is_posted_after_it() {
    let world = World::start().await;
    let (ada, bob) = (user("ada"), user("bob"));
    let (author, id) = world.conversation(&ada, Private).await;
    let guest = world.profile(&bob).await.id;
    world.add(&ada, id, guest).await;
    let removed = world.subscriber(&bob, "removed", id).await;
    let before = world.say(&ada, id, author, "before").await;
    let gate = Gate::default();
    let held = gate.clone();
    world.stage.recorder.inject(move |operation, request| {
        let reads = operation == "Query" && request.to_string().contains("MESSAGE#");
        if reads { Fault::Held(held.clone()) } else { Fault::None }
    });
    let during = async {
        gate.arrival().await;
        world.stage.recorder.clear();
        world.stage.table().delete_member(&ada, id, guest).await.expect("removed");
        world.say(&ada, id, author, "after").await;
        gate.open();
    };
    let records = [&before];
    tokio::join!(world.deliver(&records), during);
    assert_eq!(types(&world.posts.take_to(&removed)), ["ended"]);
}

#[tokio::test]
async fn the_1001st_connection_gets_full() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, id) = world.conversation(&ada, Public).await;
    world.subscriber(&ada, "c0000", id).await;
    // The others connect at the same time. Their names decide.
    world.copy_subscription("c0000", (1..=MAX_CONNECTIONS).map(|number| format!("c{number:04}")));
    let message = world.say(&ada, id, author, "hello").await;
    world.deliver(&[&message]).await;
    let posted = world.posts.take();
    assert_eq!(posted.len(), MAX_CONNECTIONS + 1);
    for (to, frame) in &posted {
        match to.as_str() {
            "c1000" => {
                assert_eq!(
                    (&frame["code"], &frame["conversation_id"]),
                    (&json!("full"), &json!(id))
                );
            }
            _ => assert_eq!(frame["type"], "changes", "{to}"),
        }
    }
    assert_eq!(world.subscriptions(), MAX_CONNECTIONS);
}

#[tokio::test]
async fn an_expired_subscription_gets_nothing() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, id) = world.conversation(&ada, Public).await;
    let old = world.subscriber(&ada, "old", id).await;
    world.stage.advance(2 * 60 * 60);
    let new = world.subscriber(&ada, "new", id).await;
    let message = world.say(&ada, id, author, "hello").await;
    world.deliver(&[&message]).await;
    let posted = world.posts.take();
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].0, new.as_str());
    let expired = world.try_subscribe(&old, id).await.expect_err("an expired connection");
    assert!(expired.to_string().contains("has ended"), "{expired}");
}

#[tokio::test]
async fn a_delivery_while_a_connection_opens_removes_nothing() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, id) = world.conversation(&ada, Public).await;
    // `connect` has run, and API Gateway has not opened the connection yet.
    let opening = world.connect(&ada, "opening").await;
    world.posts.answer(&opening, &[410]);
    world.subscriber(&ada, "open", id).await;
    let message = world.say(&ada, id, author, "hello").await;
    world.deliver(&[&message]).await;
    assert_eq!(world.posts.take().len(), 1, "nothing is posted to it");
    world.try_subscribe(&opening, id).await.expect("subscribed");
    assert_eq!(world.subscriptions(), 2);
}

#[tokio::test]
async fn a_connection_that_is_gone_throttled_or_overfilled_does_not_stop_the_others() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, id) = world.conversation(&ada, Public).await;
    let [gone, slow, stuck, overfilled, broken, well] =
        ["gone", "slow", "stuck", "overfilled", "broken", "well"];
    for (name, statuses) in [
        (gone, &[410][..]),
        (slow, &[429, 200]),
        (stuck, &[429, 429]),
        (overfilled, &[413]),
        (broken, &[500]),
        (well, &[200]),
    ] {
        let connection = world.subscriber(&ada, name, id).await;
        world.posts.answer(&connection, statuses);
    }
    let message = world.say(&ada, id, author, "hello").await;
    assert!(world.deliver(&[&message]).await.is_empty());
    let posted = world.posts.take();
    let count = |name| posted.iter().filter(|(to, _)| to == name).count();
    let counts = [gone, slow, stuck, overfilled, broken, well].map(count);
    assert_eq!(counts, [1, 2, 2, 1, 1, 1], "only a throttled post is repeated, once");
    assert_eq!(world.subscriptions(), 5, "only the one that is gone is removed");
}

#[tokio::test]
async fn one_poisoned_record_loses_no_other() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, first) = world.conversation(&ada, Public).await;
    let (_, second) = world.conversation(&ada, Public).await;
    for (name, id) in [("first", first), ("second", second)] {
        world.subscriber(&ada, name, id).await;
    }
    let messages =
        [world.say(&ada, first, author, "1").await, world.say(&ada, second, author, "2").await];
    let poisoned = [
        json!({}),
        json!({ "eventName": "INSERT", "dynamodb": { "Keys": { "pk": { "N": "1" } } } }),
        record("INSERT", first, "MESSAGE#x"),
    ];
    let [a, b, c] = &poisoned;
    let failures = world.deliver(&[a, &messages[0], b, c, &messages[1]]).await;
    assert_eq!(failures, ["1", "3", "4"]);
    assert_eq!(world.posts.take().len(), 2);
}

#[tokio::test]
async fn a_conversation_that_cannot_be_read_is_reported_and_the_others_are_delivered() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, broken) = world.conversation(&ada, Public).await;
    let (_, well) = world.conversation(&ada, Public).await;
    for (name, id) in [("broken", broken), ("well", well)] {
        world.subscriber(&ada, name, id).await;
    }
    let messages =
        [world.say(&ada, broken, author, "1").await, world.say(&ada, well, author, "2").await];
    let pk = format!("LIVE#{broken}");
    world.stage.recorder.inject(move |operation, request| {
        let reads = operation == "Query" && request.to_string().contains(&pk);
        if reads { Fault::Refused("AccessDeniedException") } else { Fault::None }
    });
    assert_eq!(world.deliver(&[&messages[0], &messages[1]]).await, ["1"]);
    let posted = world.posts.take();
    assert_eq!((posted.len(), posted[0].0.as_str()), (1, "well"));
    // Nothing can be posted at all: the batch must be repeated.
    world.stage.recorder.clear();
    world.posts.answer(&"well".parse().expect("an id"), &[403]);
    assert_eq!(world.deliver(&[&messages[1]]).await, ["1"]);
}

#[tokio::test]
async fn a_place_above_an_open_one_waits_for_it_and_closes_nothing() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, id) = world.conversation(&ada, Public).await;
    world.subscriber(&ada, "reader", id).await;
    world.stage.reserve(&id.to_string(), 1);
    let second = world.say(&ada, id, author, "second").await;
    world.stage.advance(60);
    let items = world.stage.items(&id.to_string()).len();
    world.deliver(&[&second]).await;
    assert_eq!(world.posts.take(), []);
    assert_eq!(world.stage.items(&id.to_string()).len(), items, "the gap stays open");
}

/// Protocol traces 14 and 15.
#[tokio::test]
async fn a_frame_never_starts_beyond_the_last_change_that_is_known_to_be_shown() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, id) = world.conversation(&ada, Public).await;
    world.say(&ada, id, author, "one").await;
    let reader = world.subscriber(&ada, "reader", id).await;
    for text in ["two", "three"] {
        let text = Some(text.to_owned().try_into().expect("a text"));
        let patch = MessagePatch { text, metadata: None };
        let table = world.stage.table();
        table.update_message(&ada, id, Seq::FIRST, patch, &IfMatch::Any).await.expect("edited");
    }
    // Only the record of the second edit has arrived.
    world.deliver(&[&record("INSERT", id, "CHANGE#000000000002")]).await;
    let frames = world.posts.take_to(&reader);
    assert_eq!((&frames[0]["after"], &frames[0]["cursor"]), (&json!("1.0"), &json!("1.2")));
    assert_eq!(texts(&frames), ["three"]);
    // Delivery has recorded that both are shown, so the next frame starts there.
    let third = world.say(&ada, id, author, "four").await;
    world.deliver(&[&third]).await;
    assert_eq!(world.posts.take_to(&reader)[0]["after"], "1.2");
}

#[tokio::test]
async fn what_does_not_fit_into_a_frame_is_left_out() {
    let world = World::start().await;
    let ada = user("ada");
    let (author, id) = world.conversation(&ada, Public).await;
    let reader = world.subscriber(&ada, "reader", id).await;
    let long = world.say(&ada, id, author, &"👩".repeat(5000)).await;
    let other = world.say(&ada, id, author, &"👩".repeat(5000)).await;
    world.deliver(&[&long, &other]).await;
    let frames = world.posts.take_to(&reader);
    assert_eq!((&frames[0]["results"], &frames[0]["cursor"]), (&json!(null), &json!("2.0")));
}

#[tokio::test]
async fn watchers_hear_of_activity_and_memberships_that_they_may_see() {
    let world = World::start().await;
    let (ada, bob, eve) = (user("ada"), user("bob"), user("eve"));
    let (author, id) = world.conversation(&ada, Private).await;
    let guest = world.profile(&bob).await.id;
    let strange = world.profile(&eve).await.id;
    let watcher = world.connect(&bob, "watcher").await;
    let stranger = world.connect(&eve, "stranger").await;
    for (connection, profile_id) in [(&watcher, guest), (&stranger, strange)] {
        let watch = NewWatch { profile_id, conversation_ids: vec![id] };
        world.stage.table().watch(connection, watch).await.expect("watching");
    }
    let watch = NewWatch { profile_id: guest, conversation_ids: vec![] };
    let foreign = world.stage.table().watch(&stranger, watch).await;
    assert!(foreign.is_err(), "only the owner watches a profile");

    world.add(&ada, id, guest).await;
    let sk = format!("MEMBER#{guest}");
    let message = world.say(&ada, id, author, "hello").await;
    world.deliver(&[&record("INSERT", id, &sk), &message]).await;
    let posted = world.posts.take();
    assert!(posted.iter().all(|(to, _)| *to == watcher.as_str()), "{posted:?}");
    let mut frames: Vec<_> = posted.into_iter().map(|(_, frame)| frame).collect();
    frames.sort_by_key(|frame| frame["type"].to_string());
    assert_eq!(types(&frames), ["activity", "membership"]);
    assert_eq!(frames[0]["last_seq"], 1);
    assert_eq!(frames[1]["profile_id"], json!(guest));

    world.stage.table().delete_member(&ada, id, guest).await.expect("removed");
    let after = world.say(&ada, id, author, "after").await;
    world.deliver(&[&record("REMOVE", id, &sk), &after]).await;
    assert_eq!(types(&world.posts.take_to(&watcher)), ["membership"]);
}

/// The units in docs/ARCHITECTURE.md and docs/OPERATIONS.md.
#[tokio::test]
async fn live_delivery_costs_what_the_documents_say() {
    let world = World::start().await;
    let (ada, bob) = (user("ada"), user("bob"));
    let (author, id) = world.conversation(&ada, Private).await;
    let guest = world.profile(&bob).await.id;
    world.add(&ada, id, guest).await;
    let message = world.say(&ada, id, author, "one").await;
    let units = async |world: &World, message| {
        let _ = world.stage.recorder.take();
        world.deliver(&[message]).await;
        let sent = world.stage.recorder.take();
        (sent.iter().map(Sent::units).sum::<f64>(), sent.len())
    };
    assert_eq!(units(&world, &message).await, (1.0, 1), "nobody follows");
    let follower = world.subscriber(&ada, "owner", id).await;
    let message = world.say(&ada, id, author, "two").await;
    assert_eq!(units(&world, &message).await, (7.0, 5), "the owner follows");
    world.subscriber(&bob, "member", id).await;
    let message = world.say(&ada, id, author, "three").await;
    assert_eq!(units(&world, &message).await, (8.0, 6), "a member follows too");

    let table = world.stage.table();
    let after = Cursor { seq: Seq::new(3), change: 0 };
    table.subscribe(&follower, id, after).await.expect("subscribed");
    let usage = table.usage();
    assert_eq!((usage.read_units, usage.write_units), (3.0, 1.0), "a heartbeat");
}

#[tokio::test]
async fn a_late_attempt_does_not_create_a_used_ticket_again() {
    let world = World::start().await;
    let lost = AtomicBool::new(false);
    world.stage.recorder.inject(move |operation, _| {
        let first = operation == "PutItem" && !lost.swap(true, Ordering::Relaxed);
        if first { Fault::ResponseLost } else { Fault::None }
    });
    let _ = world.stage.recorder.take();
    let table = world.stage.table();
    let ticket = table.create_ticket(&user("ada"), None).await.expect("a ticket");
    let sent = world.stage.recorder.take();
    let [one, other] = ["one", "other"].map(|id| id.parse().expect("an id"));
    assert!(table.connect_with_ticket(&one, &ticket.secret).await.expect("an answer"));
    // The attempt without a response arrives after that.
    let Sent { operation, request, .. } = &sent[0];
    assert_eq!((operation.as_str(), world.stage.deliver(operation, request)), ("PutItem", 200));
    assert!(!table.connect_with_ticket(&other, &ticket.secret).await.expect("an answer"));
}
