//! Tables to measure: empty ones, and ones filled with items as the service writes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dynoxide::actions::query::QueryRequest;
use dynoxide::{AttributeValue, Database, ImportOptions, Item, item};
use local::engine;
use local::template::Template;
use serde_json::{Value, json};
use shared::{
    Caller, Conversation, Message, NewConversation, NewMessage, NewProfile, Profile, Table, Time,
    Visibility,
};
use tokio::net::TcpListener;
use tokio::time::Instant;
use uuid::Uuid;

/// Items in one batch of writes.
const BATCH: usize = 10_000;

/// A table on its own engine, with one profile and its conversation.
pub(crate) struct Chat {
    pub(crate) database: Database,
    pub(crate) table: Table,
    pub(crate) author: Profile,
    pub(crate) conversation: Conversation,
    /// The number of profiles, and of conversations.
    filled: [usize; 2],
}

impl Chat {
    pub(crate) async fn new() -> Self {
        let database = engine::open(None).expect("a database");
        let table = Table::with_http_client(engine::client(database.clone()), "chat");
        // Each look at the clock is a second later, so the limit of places per second is not reached.
        let (start, looks) = (Time::now(), AtomicU64::new(0));
        let table = table.with_clock(move || {
            start.after(Duration::from_secs(looks.fetch_add(1, Ordering::Relaxed)))
        });
        table.create(&Template::parse().expect("the template").table).await.expect("a table");
        let author = profile(&table).await;
        let conversation = conversation(&table, &author).await;
        Self { database, table, author, conversation, filled: [1, 1] }
    }

    /// Serves the engine on a port. Returns its address.
    pub(crate) async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        engine::serve(listener, self.database.clone()).expect("an address")
    }

    /// Returns a handle for one request, which counts what it uses.
    pub(crate) fn request(&self) -> Table {
        self.table.for_request(Instant::now() + Duration::from_secs(10))
    }

    /// Returns the event of a post into the conversation, as API Gateway sends it.
    pub(crate) fn event(&self) -> String {
        let mut event: Value =
            serde_json::from_str(include_str!("../../../events/create-message.json"))
                .expect("JSON");
        event["rawPath"] = json!(format!("/conversations/{}/messages", self.conversation.id));
        event["pathParameters"]["conversation_id"] = json!(self.conversation.id);
        event["body"] = json!(
            json!({ "author_id": self.author.id, "text": "Hello", "metadata": {} }).to_string()
        );
        event["headers"].as_object_mut().expect("headers").remove("idempotency-key");
        event.to_string()
    }

    /// Adds profiles, conversations, and messages of the conversation, up to this number of each.
    pub(crate) async fn fill(&mut self, profiles: usize, conversations: usize, messages: usize) {
        let template = self.item(&format!("PROFILE#{}", self.author.id), "PROFILE");
        self.import(self.filled[0]..profiles, |_| renamed(&template, "PROFILE"));
        let pk = format!("CONVERSATION#{}", self.conversation.id);
        let template = self.item(&pk, "CONVERSATION");
        self.import(self.filled[1]..conversations, |_| renamed(&template, "CONVERSATION"));

        // One more message is posted, and the others are copies of it.
        let posted = usize::try_from(self.post().await.seq.get()).expect("a place");
        let template = self.item(&pk, &format!("MESSAGE#{posted:012}"));
        self.import(posted + 1..messages + 1, |seq| {
            let mut message = template.clone();
            message.insert("sk".into(), AttributeValue::S(format!("MESSAGE#{seq:012}")));
            message.insert("points".into(), AttributeValue::N(seq.to_string()));
            message
        });
        let last = AttributeValue::N(messages.max(posted).to_string());
        let mut conversation = self.item(&pk, "CONVERSATION");
        conversation.insert("last_seq".into(), last.clone());
        let mut author = self.item(&format!("PROFILE#{}", self.author.id), "PROFILE");
        author.insert("points".into(), last);
        self.write(vec![conversation, author]);
        self.filled = [profiles, conversations];
    }

    /// Posts a message.
    pub(crate) async fn post(&self) -> Message {
        let posted = self
            .request()
            .create_message(&Caller::Anyone, self.conversation.id, message(&self.author), None)
            .await;
        posted.expect("a message").created.resource.message
    }

    fn import(&self, numbers: std::ops::Range<usize>, item: impl Fn(usize) -> Item) {
        let numbers: Vec<usize> = numbers.collect();
        for batch in numbers.chunks(BATCH) {
            self.write(batch.iter().map(|&number| item(number)).collect());
        }
    }

    fn write(&self, items: Vec<Item>) {
        self.database.import_items("chat", items, ImportOptions::default()).expect("imported");
    }

    /// Returns an item as the engine stores it.
    fn item(&self, pk: &str, sk: &str) -> Item {
        self.items("pk = :pk AND sk = :sk", item! { ":pk" => pk, ":sk" => sk }, 1)
            .pop()
            .expect("an item")
    }

    /// Returns the newest messages as the engine stores them.
    pub(crate) fn newest(&self, messages: usize) -> Vec<Item> {
        let pk = format!("CONVERSATION#{}", self.conversation.id);
        self.items("pk = :pk AND sk > :sk", item! { ":pk" => pk, ":sk" => "MESSAGE#" }, messages)
    }

    fn items(&self, condition: &str, values: Item, limit: usize) -> Vec<Item> {
        let found = self.database.query(QueryRequest {
            table_name: "chat".into(),
            key_condition_expression: Some(condition.into()),
            expression_attribute_values: Some(values),
            limit: Some(limit),
            ..QueryRequest::default()
        });
        found.expect("an answer").items.unwrap_or_default()
    }
}

/// Returns a copy of an item with a new id.
fn renamed(template: &Item, kind: &str) -> Item {
    let id = Uuid::now_v7();
    let mut item = template.clone();
    item.insert("pk".into(), AttributeValue::S(format!("{kind}#{id}")));
    item.insert("id".into(), AttributeValue::S(id.to_string()));
    item
}

pub(crate) fn new_profile() -> NewProfile {
    NewProfile {
        first_name: "Ada".to_owned().try_into().expect("a name"),
        last_name: "Lovelace".to_owned().try_into().expect("a name"),
        job_title: "Mathematician".to_owned().try_into().expect("a title"),
    }
}

pub(crate) async fn profile(table: &Table) -> Profile {
    table.create_profile(&Caller::Anyone, new_profile(), None).await.expect("a profile").resource
}

pub(crate) fn new_conversation(author: &Profile) -> NewConversation {
    NewConversation {
        visibility: Visibility::Public,
        subject: "Engines".to_owned().try_into().expect("a subject"),
        author_id: author.id,
    }
}

pub(crate) async fn conversation(table: &Table, author: &Profile) -> Conversation {
    table
        .create_conversation(&Caller::Anyone, new_conversation(author), None)
        .await
        .expect("a conversation")
        .resource
}

pub(crate) fn message(author: &Profile) -> NewMessage {
    let text = "The engine weaves algebraical patterns just as the loom weaves flowers and leaves.";
    NewMessage {
        author_id: author.id,
        text: text.to_owned().try_into().expect("a text"),
        metadata: Default::default(),
    }
}
