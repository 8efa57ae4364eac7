//! Changes that are visible in part: reads may show the items of one transaction one by one.
//!
//! The cases are the shortest ones that a model checker found for each rule of `list-changes`.

use super::{Follower, conversation_of, edit};
use crate::stage::Stage;
use tests::recorder::{Fault, Gate};
use tests::service::json;

/// The change is committed, and its message still looks as posted.
#[tokio::test]
async fn a_client_that_opens_while_an_edit_becomes_visible_gets_the_edit() {
    let (stage, id) = conversation_of(1).await;
    let earlier = stage.item(&id, "MESSAGE#000000000001");
    edit(&stage, &id, 1).await;
    let outdated = Fault::Outdated(earlier);
    stage.inject_always("Query", outdated);
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    stage.recorder.clear();
    assert_eq!((&*follower.cursor, &follower.messages[&1]["change"]), ("1.0", &json!(0)));
    assert_eq!(follower.follow(50).await.0, [1]);
    follower.expect_everything().await;
    // Now the edit has been seen, so the next client needs no earlier changes.
    let opened = Follower::open(stage.api(), &id, 50).await;
    assert_eq!(opened.cursor, "1.1");
}

/// The page is read with the old message, and only then another reader records the change.
#[tokio::test]
async fn a_client_that_opens_while_another_reader_sees_the_edit_first_gets_the_edit() {
    let (stage, id) = conversation_of(1).await;
    edit(&stage, &id, 1).await;
    let gate = Gate::default();
    stage.inject_once("Query", Fault::Held(gate.clone()));
    let open = Follower::open(stage.api(), &id, 50);
    let other = async {
        gate.arrival().await;
        stage.recorder.clear();
        Follower::at(stage.api(), &id, "1.0").follow(50).await;
        assert_eq!(stage.item(&id, "CHANGES")["settled_change"]["N"], "1");
        gate.open();
    };
    let (mut follower, ()) = tokio::join!(open, other);
    // The messages may be older than the mark of the other reader.
    assert_eq!(follower.cursor, "1.0");
    assert_eq!(follower.follow(50).await.0, [1]);
    follower.expect_everything().await;
}

#[tokio::test]
async fn a_client_that_opens_while_a_post_is_in_flight_gets_it_later() {
    let (stage, id) = conversation_of(1).await;
    let bob = stage.api().profile("Bob").await;
    let late = stage.crash(&id, &bob).await;
    stage.api().say(&id, &bob, "beyond").await;
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    assert_eq!(follower.cursor, "1.0");
    assert_eq!(stage.deliver("TransactWriteItems", &late), 400, "Bob's total has changed");
    stage.advance(1);
    assert_eq!(follower.follow(50).await.0, [2, 3]);
    follower.expect_everything().await;
}

#[tokio::test]
async fn a_change_that_is_visible_before_its_message_is_not_passed() {
    let (stage, id) = conversation_of(2).await;
    let earlier = stage.item(&id, "MESSAGE#000000000001");
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    edit(&stage, &id, 1).await;
    edit(&stage, &id, 2).await;
    stage.recorder.inject(move |_, _| Fault::Outdated(earlier.clone()));
    assert_eq!(follower.follow(50).await, (vec![], false), "no next page because of it either");
    assert_eq!(follower.cursor, "2.0", "neither the change nor one above it");
    stage.recorder.clear();
    assert_eq!(stage.item(&id, "CHANGES")["settled_change"]["N"], "0");
    assert_eq!(follower.follow(50).await.0, [1, 2]);
    follower.expect_everything().await;
}

#[tokio::test]
async fn a_change_that_is_visible_after_its_message_is_returned_when_it_is() {
    let (stage, id) = conversation_of(1).await;
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    let counter = {
        edit(&stage, &id, 1).await;
        stage.item(&id, "CHANGES")
    };
    edit(&stage, &id, 1).await;
    // Neither the change nor the counter shows the second edit, but the message does.
    let hidden = "CHANGE#000000000002";
    stage.recorder.inject(move |operation, _| match operation {
        "Query" => Fault::Hidden(hidden.into()),
        _ => Fault::Outdated(counter.clone()),
    });
    assert_eq!(follower.follow(50).await, (vec![json!(1)], false));
    assert_eq!((&*follower.cursor, &follower.messages[&1]["change"]), ("1.1", &json!(2)));
    assert_eq!(follower.follow(50).await, (vec![], false));
    stage.recorder.clear();
    assert_eq!(follower.follow(50).await, (vec![json!(1)], false));
    assert_eq!(follower.cursor, "1.2");
}

#[tokio::test]
async fn a_change_above_one_that_is_not_visible_yet_is_not_passed() {
    let (stage, id) = conversation_of(3).await;
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    for seq in 1..=3 {
        edit(&stage, &id, seq).await;
    }
    stage.inject_always("Query", Fault::Hidden("CHANGE#000000000002".into()));
    assert_eq!(follower.follow(50).await, (vec![json!(1)], false));
    assert_eq!(follower.cursor, "3.1");
    stage.recorder.clear();
    assert_eq!(follower.follow(50).await.0, [2, 3]);
}

/// The change names a message beyond a gap, which still looks as posted.
#[tokio::test]
async fn a_change_of_a_message_beyond_a_gap_is_not_passed_before_it_is_seen() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let late = stage.crash(&id, &stage.api().profile("Bob").await).await;
    stage.api().say(&id, &author, "beyond").await;
    let earlier = stage.item(&id, "MESSAGE#000000000002");
    edit(&stage, &id, 2).await;
    let mut follower = Follower::at(stage.api(), &id, "0.0");
    let outdated = earlier.clone();
    stage.recorder.inject(move |_, _| Fault::Outdated(outdated.clone()));
    assert_eq!(follower.follow(50).await, (vec![], false));
    assert_eq!(follower.cursor, "0.0");
    // The gap is filled, and the message is shown as posted once more.
    assert_eq!(stage.deliver("TransactWriteItems", &late), 200);
    assert_eq!(follower.follow(50).await.0, [1, 2]);
    assert_eq!((&*follower.cursor, &follower.messages[&2]["change"]), ("2.0", &json!(0)));
    stage.recorder.clear();
    assert_eq!(follower.follow(50).await.0, [2]);
    follower.expect_everything().await;
}

#[tokio::test]
async fn a_change_of_a_message_beyond_a_gap_is_passed_once_it_is_seen() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    let late = stage.crash(&id, &stage.api().profile("Bob").await).await;
    stage.api().say(&id, &author, "beyond").await;
    edit(&stage, &id, 2).await;
    let mut follower = Follower::at(stage.api(), &id, "0.0");
    assert_eq!(follower.follow(50).await, (vec![], false));
    assert_eq!(follower.cursor, "0.1");
    assert_eq!(stage.deliver("TransactWriteItems", &late), 200);
    assert_eq!(follower.follow(50).await.0, [1, 2]);
    follower.expect_everything().await;
}

#[tokio::test]
async fn an_invented_cursor_does_not_hide_changes_from_others() {
    let (stage, id) = conversation_of(2).await;
    for seq in [1, 2, 2] {
        edit(&stage, &id, seq).await;
    }
    let mut inventor = Follower::at(stage.api(), &id, "2.2");
    assert_eq!(inventor.follow(50).await.0, [2]);
    assert_eq!(inventor.cursor, "2.3");
    assert_eq!(stage.item(&id, "CHANGES")["settled_change"]["N"], "0");
    assert_eq!(Follower::open(stage.api(), &id, 50).await.cursor, "2.0");
    // A follower that saw all of them records it.
    Follower::at(stage.api(), &id, "2.0").follow(50).await;
    assert_eq!(stage.item(&id, "CHANGES")["settled_change"]["N"], "3");
    // It never falls again.
    Follower::at(stage.api(), &id, "2.0").follow(1).await;
    assert_eq!(stage.item(&id, "CHANGES")["settled_change"]["N"], "3");
}
