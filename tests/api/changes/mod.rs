//! Following a conversation: new messages, edits, deletions and renames.
//!
//! - [`visibility`]: changes that are visible in part

mod visibility;

use std::collections::BTreeMap;

use crate::stage::{Stage, each};
use tests::recorder::Fault;
use tests::service::{Api, Value, json};

/// A conversation, and a client that follows it.
struct Follower {
    api: Api,
    path: String,
    cursor: String,
    /// The messages that it has, by `seq`: of each the version with the higher `change`.
    messages: BTreeMap<u64, Value>,
    subject: Value,
}

impl Follower {
    /// Starts to follow from a cursor, without messages.
    fn at(api: &Api, conversation: &str, cursor: &str) -> Self {
        Self {
            api: api.clone(),
            path: format!("/conversations/{conversation}"),
            cursor: cursor.to_owned(),
            messages: BTreeMap::new(),
            subject: Value::Null,
        }
    }

    /// Starts to follow with the newest messages.
    async fn open(api: &Api, conversation: &str, limit: u64) -> Self {
        let mut follower = Self::at(api, conversation, "");
        let opened = api.get(&format!("{}?limit={limit}", follower.path)).await.expect(200);
        follower.keep(&opened["messages"]);
        follower.cursor = opened["cursor"].as_str().expect("a cursor").to_owned();
        follower
    }

    fn keep(&mut self, page: &Value) {
        for message in page["results"].as_array().expect("results") {
            let seq = message["seq"].as_u64().expect("a number");
            let newer = |kept: &Value| kept["change"].as_u64() > message["change"].as_u64();
            if !self.messages.get(&seq).is_some_and(newer) {
                self.messages.insert(seq, message.clone());
            }
        }
    }

    /// Follows once. Returns the places of the results, and whether a page follows.
    async fn follow(&mut self, limit: u64) -> (Vec<Value>, bool) {
        let path = format!("{}/changes?limit={limit}&after={}", self.path, self.cursor);
        let page = self.api.get(&path).await.expect(200);
        self.keep(&page);
        self.cursor = page["cursor"].as_str().expect("a cursor").to_owned();
        self.subject = page["conversation"]["subject"].clone();
        let next = format!("{}/changes?limit={limit}&after={}", self.path, self.cursor);
        assert!(page["next"].is_null() || page["next"] == next, "{page}");
        (each(&page, "seq"), page["next"].is_string())
    }

    /// Follows until nothing is new, and checks that the client then has exactly what is stored.
    async fn expect_everything(&mut self) {
        while self.follow(100).await.1 {}
        let conversation = self.path.rsplit('/').next().expect("an id").to_owned();
        let stored = self.api.messages(&conversation).await;
        assert_eq!(self.messages.values().cloned().collect::<Vec<_>>(), stored);
    }
}

/// Starts a service with a conversation that has this many messages.
async fn conversation_of(messages: usize) -> (Stage, String) {
    let stage = Stage::start().await;
    let (author, id) = stage.api().profile_and_conversation().await;
    for _ in 0..messages {
        stage.api().say(&id, &author, "as posted").await;
    }
    (stage, id)
}

async fn edit(stage: &Stage, id: &str, seq: u64) -> Value {
    let path = format!("/conversations/{id}/messages/{seq}");
    stage.api().patch(&path, &json!({ "text": "edited" })).await.expect(200)
}

#[tokio::test]
async fn a_follower_sees_new_messages_edits_deletions_and_renames() {
    let (stage, id) = conversation_of(2).await;
    let api = stage.api();
    let mut follower = Follower::open(api, &id, 50).await;
    assert_eq!(follower.cursor, "2.0");
    assert_eq!(follower.follow(50).await, (vec![], false));

    let author = follower.messages[&1]["author_id"].as_str().expect("an id").to_owned();
    api.say(&id, &author, "new").await;
    assert_eq!(follower.follow(50).await, (vec![json!(3)], false));
    edit(&stage, &id, 1).await;
    assert_eq!(follower.follow(50).await, (vec![json!(1)], false));
    assert_eq!(follower.messages[&1]["text"], "edited");
    api.delete(&format!("/conversations/{id}/messages/2")).await.expect(204);
    api.delete(&format!("/conversations/{id}/messages/2")).await.expect(204);
    assert_eq!(follower.follow(50).await, (vec![json!(2)], false));
    assert!(follower.messages[&2]["deleted_at"].is_string());
    api.patch(&format!("/conversations/{id}"), &json!({ "subject": "New" })).await.expect(200);
    assert_eq!(follower.follow(50).await, (vec![], false));
    assert_eq!((&*follower.cursor, &follower.subject), ("3.3", &json!("New")));

    let path = format!("/conversations/{id}/changes?after=0.0");
    let page = api.get(&path).await.expect(200);
    let head = json!({ "id": id, "subject": "New", "version": 2 });
    assert_eq!(page["conversation"], head);
    assert_eq!(each(&page, "change"), [1, 2, 0]);
    assert_eq!((&page["cursor"], &page["next"]), (&json!("3.3"), &json!(null)));
    assert_eq!(page["results"], json!(api.messages(&id).await), "the messages as they are now");
    follower.expect_everything().await;
}

#[tokio::test]
async fn a_message_that_changed_twice_is_returned_once() {
    let (stage, id) = conversation_of(2).await;
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    edit(&stage, &id, 2).await;
    edit(&stage, &id, 1).await;
    edit(&stage, &id, 2).await;
    assert_eq!(follower.follow(50).await, (vec![json!(1), json!(2)], false));
    assert_eq!(follower.messages[&2]["change"], 3);
}

#[tokio::test]
async fn changes_are_returned_page_by_page() {
    let (stage, id) = conversation_of(3).await;
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    let author = follower.messages[&1]["author_id"].as_str().expect("an id").to_owned();
    for seq in [3, 1, 2, 1] {
        edit(&stage, &id, seq).await;
    }
    for _ in 0..3 {
        stage.api().say(&id, &author, "new").await;
    }
    let mut one_by_one = Follower::at(stage.api(), &id, &follower.cursor);
    let mut pages = Vec::new();
    loop {
        let (places, more) = follower.follow(2).await;
        assert!(places.len() <= 2, "{places:?}");
        pages.push((places, follower.cursor.clone()));
        if !more {
            break;
        }
    }
    let page = |places: &[u64], cursor: &str| {
        (places.iter().map(|&seq| json!(seq)).collect::<Vec<_>>(), cursor.to_owned())
    };
    let expected =
        [page(&[1, 3], "3.2"), page(&[1, 2], "3.4"), page(&[4, 5], "5.4"), page(&[6], "6.4")];
    assert_eq!(pages, expected);
    follower.expect_everything().await;

    let mut requests = 0;
    while one_by_one.follow(1).await.1 {
        requests += 1;
    }
    assert!(requests < 8, "it ends");
    let mut everything = Follower::at(stage.api(), &id, "0.0");
    while everything.follow(1).await.1 {}
    everything.expect_everything().await;
}

#[tokio::test]
async fn a_cursor_beyond_the_last_message_is_unknown() {
    let (stage, id) = conversation_of(1).await;
    let path = format!("/conversations/{id}/changes?after=");
    for cursor in ["2.0", "999999999999.0"] {
        let problem = stage.api().get(&format!("{path}{cursor}")).await;
        let problem = problem.expect_code(410, "cursor_unknown");
        assert!(problem["detail"].to_string().contains("Read the conversation again"));
    }
    for cursor in ["", "1", "1.", "x", "1.0.0", "-1.0", "01.0", "1.1000000000000"] {
        let response = stage.api().get(&format!("{path}{cursor}")).await;
        response.expect_code(400, "malformed");
    }
    // A change number that was never counted is harmless.
    let page = stage.api().get(&format!("{path}1.9")).await.expect(200);
    assert_eq!((&page["results"], &page["cursor"]), (&json!([]), &json!("1.9")));
    let absent = format!("/conversations/{}/changes?after=0.0", uuid::Uuid::now_v7());
    stage.api().get(&absent).await.expect_code(404, "not_found");
}

#[tokio::test]
async fn a_gap_ends_the_new_messages_and_is_closed_when_it_is_old() {
    let (stage, id) = conversation_of(1).await;
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    let bob = stage.api().profile("Bob").await;
    stage.crash(&id, &bob).await;
    stage.api().say(&id, &bob, "beyond").await;
    edit(&stage, &id, 3).await;
    assert_eq!(follower.follow(50).await, (vec![], false), "no next page because of a gap");
    assert_eq!(follower.cursor, "1.1", "the edit is known, and message 3 follows edited");
    stage.advance(1);
    assert_eq!(follower.follow(50).await, (vec![json!(2), json!(3)], false));
    assert_eq!(follower.messages[&2]["type"], "void");
    assert_eq!(follower.messages[&3]["text"], "edited");
}

#[tokio::test]
async fn a_reader_that_cannot_record_what_it_saw_answers_nevertheless() {
    let (stage, id) = conversation_of(1).await;
    edit(&stage, &id, 1).await;
    let mut follower = Follower::at(stage.api(), &id, "1.0");
    stage.inject_always("UpdateItem", Fault::Refused("TransactionConflictException"));
    assert_eq!(follower.follow(50).await.0, [1]);
    stage.recorder.clear();
    assert_eq!(stage.item(&id, "CHANGES")["settled_change"]["N"], "0");
}

/// The older page is on its way while its message is edited.
#[tokio::test]
async fn an_edit_of_an_older_page_wins_over_the_page_that_was_on_its_way() {
    let (stage, id) = conversation_of(3).await;
    let mut follower = Follower::open(stage.api(), &id, 1).await;
    let page = stage.api().get(&format!("/conversations/{id}/messages?before=3")).await.expect(200);
    edit(&stage, &id, 1).await;
    assert_eq!(follower.follow(50).await.0, [1], "older than all that the client has");
    follower.keep(&page);
    follower.expect_everything().await;
}

#[tokio::test]
async fn a_rename_is_seen_even_if_it_could_not_be_counted() {
    let (stage, id) = conversation_of(1).await;
    let mut follower = Follower::open(stage.api(), &id, 50).await;
    stage.inject_always("TransactWriteItems", Fault::Refused("AccessDeniedException"));
    let path = format!("/conversations/{id}");
    let renamed = stage.api().patch(&path, &json!({ "subject": "New" })).await.expect(200);
    stage.recorder.clear();
    assert_eq!(renamed["version"], 2);
    assert_eq!(follower.follow(50).await, (vec![], false));
    assert_eq!((&*follower.cursor, &follower.subject), ("1.0", &json!("New")));
}

#[tokio::test]
async fn a_request_without_effect_is_not_a_change() {
    let (stage, id) = conversation_of(1).await;
    let path = format!("/conversations/{id}");
    stage.api().patch(&path, &json!({})).await.expect(200);
    stage.api().patch(&format!("{path}/messages/1"), &json!({})).await.expect(200);
    let mut follower = Follower::at(stage.api(), &id, "1.0");
    assert_eq!(follower.follow(50).await, (vec![], false));
    assert_eq!(follower.cursor, "1.0");
    assert_eq!(stage.sort_keys(&id), ["CONVERSATION", "MESSAGE#000000000001"]);
}

#[tokio::test]
async fn concurrent_edits_are_numbered_without_a_gap() {
    let (stage, id) = conversation_of(4).await;
    let mut edits = tokio::task::JoinSet::new();
    for seq in 1..=4 {
        let (api, path) = (stage.api().clone(), format!("/conversations/{id}/messages/{seq}"));
        edits.spawn(async move { api.patch(&path, &json!({ "text": "y" })).await.expect(200) });
    }
    let mut changes: Vec<u64> = edits
        .join_all()
        .await
        .iter()
        .map(|edited| edited["change"].as_u64().expect("a number"))
        .collect();
    changes.sort_unstable();
    assert_eq!(changes, [1, 2, 3, 4]);
    Follower::at(stage.api(), &id, "0.0").expect_everything().await;
}
