//! What private conversations, members and inboxes cost.

use shared::{
    Caller, ConversationId, Cursor, Limit, MessageLimit, NewConversation, NewMember, NewMessage,
    NewProfile, NewReadPosition, PageStart, ProfileId, Seq, Table, Visibility,
};
use uuid::Uuid;

use super::units;
use crate::stage::{Stage, operations};
use tests::service::{Value, json};

/// A conversation of Ada, in which Bob is a member.
struct Conversation {
    stage: Stage,
    id: ConversationId,
    bob: ProfileId,
}

fn caller(name: &str) -> Caller {
    Caller::User(name.into())
}

async fn profile(table: &Table, name: &str) -> ProfileId {
    let first_name = "P".to_owned().try_into().expect("a name");
    let (last_name, job_title) = Default::default();
    let input = NewProfile { first_name, last_name, job_title };
    table.create_profile(&caller(name), input, None).await.expect("a profile").resource.id
}

async fn conversation(
    table: &Table,
    visibility: Visibility,
    author_id: ProfileId,
) -> ConversationId {
    let subject = "s".to_owned().try_into().expect("a subject");
    let input = NewConversation { subject, author_id, visibility };
    table.create_conversation(&caller("ada"), input, None).await.expect("created").resource.id
}

impl Conversation {
    async fn create(visibility: Visibility) -> Self {
        let stage = Stage::start().await;
        let table = stage.table();
        let (ada, bob) = (profile(&table, "ada").await, profile(&table, "bob").await);
        let id = conversation(&table, visibility, ada).await;
        let member = NewMember::default();
        table.put_member(&caller("ada"), id, bob, member).await.expect("added");
        let conversation = Self { stage, id, bob };
        conversation.post().await;
        conversation
    }

    /// Returns the table for one request.
    fn table(&self) -> Table {
        self.stage.table()
    }

    async fn post(&self) {
        let text = "x".to_owned().try_into().expect("a text");
        let input = NewMessage { author_id: self.bob, text, metadata: Default::default() };
        self.table().create_message(&caller("bob"), self.id, input, None).await.expect("posted");
    }

    /// Returns what was sent since the last call: operations, read units and write units.
    fn sent(&self) -> (Vec<String>, f64, f64) {
        let sent = self.stage.recorder.take();
        let (read, written) = units(&sent);
        (operations(&sent).into_iter().map(str::to_owned).collect(), read, written)
    }

    fn put_items(&self, items: Vec<Value>) {
        let name = self.stage.table_name();
        for items in items.chunks(25) {
            let puts: Vec<Value> =
                items.iter().map(|item| json!({ "PutRequest": { "Item": item } })).collect();
            let request = json!({ "RequestItems": { &*name: puts } });
            assert_eq!(self.stage.deliver("BatchWriteItem", &request), 200);
        }
    }

    /// Makes it large, directly in the engine: 10,000 messages, 1,000 members of others, and 10,000
    /// members of Bob.
    fn enlarge(&self) {
        let id = self.id.to_string();
        let message = self.stage.item(&id, "MESSAGE#000000000001");
        let messages = (2..=10_000).map(|seq| {
            let mut item = message.clone();
            item["sk"]["S"] = json!(format!("MESSAGE#{seq:012}"));
            item
        });
        let mut items: Vec<Value> = messages.collect();
        let member = self.stage.item(&id, &format!("MEMBER#{}", self.bob));
        for number in 0..11_000 {
            let mut item = member.clone();
            let sort_key = format!("MEMBER#{}", Uuid::now_v7());
            (item["sk"]["S"], item["listing"]["S"]) = (json!(sort_key), json!(sort_key));
            if number < 1000 {
                item["owner"]["S"] = json!(format!("somebody-{number}"));
            }
            items.push(item);
        }
        let mut conversation = self.stage.item(&id, "CONVERSATION");
        conversation["last_seq"]["N"] = json!("10000");
        conversation["window"]["N"] = json!("0");
        items.push(conversation);
        let of_bob = |item: &Value| item["moderators"]["N"] == "0";
        let mut access = self.stage.items(&id).into_iter().find(of_bob).expect("an item");
        access["members"]["N"] = json!("10001");
        items.push(access);
        self.put_items(items);
        let _ = self.stage.recorder.take();
    }
}

/// Sends a post, two empty polls, a message, and a mark-read by a member. Returns what each used.
async fn uses(conversation: &Conversation, last_seq: u64) -> Vec<(Vec<String>, f64, f64)> {
    let Conversation { id, bob, .. } = conversation;
    let (table, id, last, limit) =
        (conversation.table(), *id, Seq::new(last_seq), Limit::default());
    let member = caller("bob");
    let mut uses = Vec::new();
    let _ = conversation.stage.recorder.take();
    let after = PageStart::After(last);
    table.list_messages(&member, id, after, limit).await.expect("a page");
    uses.push(conversation.sent());
    let cursor = Cursor { seq: last, change: 0 };
    table.list_changes(&member, id, cursor, limit).await.expect("changes");
    uses.push(conversation.sent());
    table.get_message(&member, id, last).await.expect("a message");
    uses.push(conversation.sent());
    table.get_conversation(&member, id, MessageLimit(None)).await.expect("a conversation");
    uses.push(conversation.sent());
    let seq = NewReadPosition { seq: last };
    table.mark_read(&member, id, *bob, seq).await.expect("marked");
    uses.push(conversation.sent());
    conversation.post().await;
    uses.push(conversation.sent());
    uses
}

fn expected(private: f64) -> Vec<(Vec<String>, f64, f64)> {
    let operations = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let last_read = if private > 0.0 { " BatchGetItem" } else { "" };
    vec![
        (operations(&format!("BatchGetItem Query{last_read}")), 2.0 + private, 0.0),
        (operations(&format!("BatchGetItem{last_read}")), 2.0 + private, 0.0),
        (operations("BatchGetItem BatchGetItem"), 3.0 + private, 0.0),
        (operations("BatchGetItem BatchGetItem"), 3.0 + private, 0.0),
        (operations("BatchGetItem UpdateItem"), 2.0, 1.0),
        (
            operations(&format!("BatchGetItem{last_read} UpdateItem TransactWriteItems")),
            2.0 + private,
            5.0,
        ),
    ]
}

/// Sorts the operations: some requests are sent at the same time.
fn sorted(mut uses: Vec<(Vec<String>, f64, f64)>) -> Vec<(Vec<String>, f64, f64)> {
    uses.iter_mut().for_each(|(operations, ..)| operations.sort_unstable());
    uses
}

#[tokio::test]
async fn privacy_costs_one_read_unit_and_nothing_in_public_conversations() {
    for (visibility, private) in [(Visibility::Public, 0.0), (Visibility::Private, 1.0)] {
        let conversation = Conversation::create(visibility).await;
        let uses = uses(&conversation, 1).await;
        assert_eq!(sorted(uses), sorted(expected(private)), "{visibility:?}");
    }
}

#[tokio::test]
async fn the_size_of_a_private_conversation_and_of_its_members_costs_nothing() {
    let conversation = Conversation::create(Visibility::Private).await;
    conversation.enlarge();
    let uses = uses(&conversation, 10_000).await;
    assert_eq!(sorted(uses), sorted(expected(1.0)));
}

#[tokio::test]
async fn marking_as_read_writes_one_item_and_not_the_index() {
    let conversation = Conversation::create(Visibility::Private).await;
    let _ = conversation.stage.recorder.take();
    let (table, id, bob) = (conversation.table(), conversation.id, conversation.bob);
    let seq = NewReadPosition { seq: Seq::new(1) };
    table.mark_read(&caller("bob"), id, bob, seq).await.expect("marked");
    let sent = conversation.stage.recorder.take();
    let update = &sent.last().expect("an update").request;
    assert_eq!(update["UpdateExpression"], "SET read_seq = :seq");
}

#[tokio::test]
async fn adding_and_removing_a_member_costs_four_units_and_the_index() {
    let conversation = Conversation::create(Visibility::Private).await;
    let (table, id) = (&conversation.table(), conversation.id);
    let eve = profile(table, "eve").await;
    let _ = conversation.stage.recorder.take();
    let member = NewMember::default();
    table.put_member(&caller("ada"), id, eve, member).await.expect("added");
    let operations = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let added = operations(&["BatchGetItem", "TransactWriteItems"]);
    assert_eq!(conversation.sent(), (added, 4.0, 5.0));
    table.delete_member(&caller("eve"), id, eve).await.expect("removed");
    let removed = operations(&["BatchGetItem", "BatchGetItem", "TransactWriteItems"]);
    assert_eq!(conversation.sent(), (removed, 5.0, 5.0));
}

#[tokio::test]
async fn an_inbox_of_50_conversations_of_50_authors_costs_at_most_85_read_units() {
    let conversation = Conversation::create(Visibility::Private).await;
    let bob = conversation.bob;
    for _ in 1..50 {
        let table = &conversation.table();
        let author = profile(table, "ada").await;
        let id = self::conversation(table, Visibility::Private, author).await;
        table.put_member(&caller("ada"), id, bob, NewMember::default()).await.expect("added");
    }
    let _ = conversation.stage.recorder.take();
    let table = conversation.table();
    let inbox = table.list_memberships(&caller("bob"), bob, Limit::default(), None).await;
    assert_eq!(inbox.expect("an inbox").results.len(), 50);
    let (operations, read, written) = conversation.sent();
    assert_eq!(operations, ["BatchGetItem", "Query", "BatchGetItem", "BatchGetItem"]);
    assert!((76.0..=85.0).contains(&read) && written == 0.0, "{read} / {written}");
}
