//! Gaps: places whose post crashed or is still in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::stage::{Stage, each};
use tests::recorder::Fault;
use tests::service::{Value, json};

/// A conversation with a message, a crashed post at `seq` 2, and a message beyond it.
struct Gap {
    stage: Stage,
    /// The transaction of the crashed post.
    late: Value,
    conversation: String,
    author: String,
}

impl Gap {
    async fn start() -> Self {
        let stage = Stage::start().await;
        let (author, conversation) = stage.api().profile_and_conversation().await;
        stage.api().say(&conversation, &author, "below").await;
        let late = stage.crash(&conversation, &stage.api().profile("Bob").await).await;
        stage.api().say(&conversation, &author, "beyond").await;
        Self { stage, late, conversation, author }
    }

    /// Reads a page of messages, with this query.
    async fn page(&self, query: &str) -> Value {
        let path = format!("/conversations/{}/messages?{query}", self.conversation);
        self.stage.api().get(&path).await.expect(200)
    }

    /// Returns the types of all messages, oldest first.
    async fn types(&self) -> Vec<Value> {
        each(&self.page("after=0").await, "type")
    }
}

#[tokio::test]
async fn a_poll_ends_before_a_young_gap_and_goes_on_once_it_is_old() {
    let gap = Gap::start().await;
    gap.stage.clock.advance(Duration::from_millis(999));
    let page = gap.page("after=0").await;
    assert_eq!((each(&page, "seq"), &page["next"]), (vec![json!(1)], &json!(null)));
    assert_eq!(gap.page("after=1").await, json!({ "results": [], "next": null }));
    // A cut page has a following one, which is empty while the gap is young.
    let page = gap.page("after=0&limit=1").await;
    assert!(page["next"].is_string(), "{page}");

    gap.stage.clock.advance(Duration::from_millis(1));
    assert_eq!(each(&gap.page("after=1").await, "seq"), [2, 3]);
}

#[tokio::test]
async fn a_place_whose_post_never_completed_is_shown_as_a_deleted_message() {
    let gap = Gap::start().await;
    gap.stage.advance(1);
    let page = gap.page("after=0").await;
    let void = &page["results"][1];
    let expected = json!({
        "conversation_id": gap.conversation, "seq": 2, "type": "void", "author_id": null,
        "author": null, "text": "", "metadata": {}, "points": 0, "change": 0,
        "created_at": void["created_at"], "edited_at": null, "deleted_at": void["created_at"],
    });
    assert_eq!(void, &expected);
    assert!(void["deleted_at"].is_string());
    let path = format!("/conversations/{}/messages/2", gap.conversation);
    let api = gap.stage.api();
    assert_eq!(api.get(&path).await.expect(200), expected);
    api.patch(&path, &json!({ "text": "x" })).await.expect_code(409, "void");
    api.delete(&path).await.expect_code(409, "void");
    let author = api.get(&format!("/profiles/{}", gap.author)).await.expect(200);
    assert_eq!(author["points"], 2, "nobody gets a point for it");
}

#[tokio::test]
async fn a_post_that_arrives_after_its_gap_was_closed_stores_nothing() {
    let gap = Gap::start().await;
    gap.stage.advance(1);
    assert_eq!(gap.types().await, ["text", "void", "text"]);
    assert_eq!(gap.stage.deliver("TransactWriteItems", &gap.late), 400);
    assert_eq!(gap.types().await, ["text", "void", "text"]);
}

#[tokio::test]
async fn a_post_that_arrives_before_its_gap_is_closed_is_shown_in_its_place() {
    let gap = Gap::start().await;
    assert_eq!(gap.stage.deliver("TransactWriteItems", &gap.late), 200);
    gap.stage.advance(1);
    assert_eq!(each(&gap.page("after=0").await, "text"), ["below", "late", "beyond"]);
}

#[tokio::test]
async fn a_gap_at_the_end_is_closed_ten_seconds_after_its_reservation() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    stage.api().say(&id, &author, "x").await;
    stage.crash(&id, &author).await;
    stage.advance(9);
    let path = format!("/conversations/{id}/messages");
    for query in ["", "?after=0", "?before=3", "?before=2"] {
        let page = stage.api().get(&format!("{path}{query}")).await.expect(200);
        assert_eq!((each(&page, "seq"), &page["next"]), (vec![json!(1)], &json!(null)), "{query}");
    }
    stage.advance(1);
    let page = stage.api().get(&path).await.expect(200);
    assert_eq!(each(&page, "type"), ["void", "text"]);
}

#[tokio::test]
async fn the_newest_page_hides_what_is_above_a_young_gap_and_continues_below_it() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    for _ in 0..3 {
        stage.api().say(&id, &author, "x").await;
    }
    stage.crash(&id, &stage.api().profile("Bob").await).await;
    stage.api().say(&id, &author, "x").await;
    stage.crash(&id, &stage.api().profile("Bob").await).await;
    stage.api().say(&id, &author, "x").await;
    let path = format!("/conversations/{id}");
    let page = stage.api().get(&format!("{path}/messages?limit=2")).await.expect(200);
    assert_eq!(each(&page, "seq"), [3, 2]);
    assert_eq!(page["next"], format!("{path}/messages?limit=2&before=2"));
    let conversation = stage.api().get(&format!("{path}?limit=2")).await.expect(200);
    assert_eq!(each(&conversation["messages"], "seq"), [3, 2]);
    assert_eq!(conversation["cursor"], "3.0", "the messages above are not read yet");
    assert_eq!(conversation["last_seq"], 7, "it may run ahead of what is visible");

    stage.advance(1);
    let page = stage.api().get(&format!("{path}/messages")).await.expect(200);
    assert_eq!(each(&page, "type"), ["text", "void", "text", "void", "text", "text", "text"]);
}

#[tokio::test]
async fn an_older_page_waits_until_its_young_gap_is_filled() {
    let gap = Gap::start().await;
    let (queries, read_again) = (AtomicU32::new(0), Arc::new(Notify::new()));
    let notify = read_again.clone();
    gap.stage.recorder.inject(move |operation, _| {
        if operation == "Query" && queries.fetch_add(1, Ordering::Relaxed) == 2 {
            notify.notify_one();
        }
        Fault::None
    });
    let page = gap.page("before=3");
    let late = async {
        read_again.notified().await;
        assert_eq!(gap.stage.deliver("TransactWriteItems", &gap.late), 200);
    };
    let (page, ()) = tokio::join!(page, late);
    assert_eq!(each(&page, "text"), ["late", "below"]);
}

#[tokio::test]
async fn an_older_page_waits_until_its_young_gap_is_old() {
    let gap = Gap::start().await;
    let (queries, clock) = (AtomicU32::new(0), gap.stage.clock.clone());
    gap.stage.recorder.inject(move |operation, _| {
        if operation == "Query" && queries.fetch_add(1, Ordering::Relaxed) == 2 {
            clock.advance(Duration::from_secs(1));
        }
        Fault::None
    });
    assert_eq!(each(&gap.page("before=3").await, "type"), ["void", "text"]);
}

#[tokio::test]
async fn a_page_has_only_messages_below_before() {
    let gap = Gap::start().await;
    gap.stage.crash(&gap.conversation, &gap.author).await;
    gap.stage.crash(&gap.conversation, &gap.author).await;
    gap.stage.advance(10);
    // Nothing is stored at 5 or above, where there are gaps.
    let page = gap.page("before=5&limit=2").await;
    assert_eq!(
        (each(&page, "seq"), each(&page, "type")),
        (vec![json!(4), json!(3)], vec![json!("void"), json!("text")],)
    );
    let page = gap.page("before=3").await;
    assert_eq!(each(&page, "seq"), [2, 1]);
}

#[tokio::test]
async fn gaps_are_closed_in_order_and_none_above_one_that_stays_open() {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    for _ in 0..2 {
        stage.crash(&id, &stage.api().profile("Bob").await).await;
    }
    stage.api().say(&id, &author, "x").await;
    stage.advance(1);
    for path in ["messages?after=0", "messages", "messages?limit=2"] {
        let _ = stage.recorder.take();
        stage.inject_always("PutItem", Fault::Refused("TransactionConflictException"));
        let path = format!("/conversations/{id}/{path}");
        assert_eq!(stage.api().get(&path).await.expect(200)["results"], json!([]), "{path}");
        stage.recorder.clear();
        assert_eq!(stage.sort_keys(&id), ["CONVERSATION", "MESSAGE#000000000003"]);
    }
    let page = stage.api().get(&format!("/conversations/{id}/messages")).await.expect(200);
    assert_eq!(each(&page, "type"), ["text", "void", "void"]);
    let closed = stage.recorder.take().into_iter().filter(|sent| sent.operation == "PutItem");
    let closed: Vec<Value> = closed.map(|sent| sent.request["Item"]["sk"]["S"].clone()).collect();
    assert_eq!(closed, ["MESSAGE#000000000001", "MESSAGE#000000000002"]);
}

/// The query does not show the message, so it looks like an old gap.
#[tokio::test]
async fn a_message_that_is_not_visible_yet_is_not_replaced() {
    let gap = Gap::start().await;
    assert_eq!(gap.stage.deliver("TransactWriteItems", &gap.late), 200);
    gap.stage.advance(1);
    for query in ["after=0", "limit=50", "before=3"] {
        gap.stage.inject_always("Query", Fault::Hidden("MESSAGE#000000000002".into()));
        let page = gap.page(query).await;
        gap.stage.recorder.clear();
        assert!(each(&page, "text").contains(&json!("late")), "{query}: {page}");
    }
}

#[tokio::test]
async fn nothing_is_written_for_a_reader_of_a_deleted_conversation() {
    let gap = Gap::start().await;
    let path = format!("/conversations/{}", gap.conversation);
    gap.stage.api().delete(&path).await.expect(204);
    let before = gap.stage.sort_keys(&gap.conversation);
    gap.stage.advance(60);
    for path in [
        path.clone(),
        format!("{path}/messages"),
        format!("{path}/messages?after=0"),
        format!("{path}/messages?before=3"),
        format!("{path}/messages/2"),
        format!("{path}/changes?after=0.0"),
    ] {
        gap.stage.api().get(&path).await.expect_code(404, "not_found");
    }
    assert_eq!(gap.stage.sort_keys(&gap.conversation), before);
}
