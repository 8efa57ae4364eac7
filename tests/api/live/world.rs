//! The functions of live delivery over a table, without sockets: a test decides which records are
//! delivered, and what becomes of the frames.

use functions::live::{StreamEvent, deliver};
use shared::live::ConnectionId;
use shared::{
    Caller, ConversationId, Cursor, NewConversation, NewMember, NewMessage, NewProfile, Profile,
    ProfileId, Result, Visibility,
};

use crate::stage::Stage;
use tests::posts::Posts;
use tests::service::{Value, json};

pub(super) struct World {
    pub(super) stage: Stage,
    pub(super) posts: Posts,
}

pub(super) fn user(name: &str) -> Caller {
    Caller::User(name.to_owned())
}

impl World {
    pub(super) async fn start() -> Self {
        Self { stage: Stage::start().await, posts: Posts::default() }
    }

    pub(super) async fn profile(&self, caller: &Caller) -> Profile {
        let input = NewProfile {
            first_name: "Ada".to_owned().try_into().expect("a name"),
            last_name: Default::default(),
            job_title: Default::default(),
        };
        let created = self.stage.table().create_profile(caller, input, None).await;
        created.expect("a profile").resource
    }

    /// Creates a profile and a conversation of it.
    pub(super) async fn conversation(
        &self,
        caller: &Caller,
        visibility: Visibility,
    ) -> (ProfileId, ConversationId) {
        let author_id = self.profile(caller).await.id;
        let subject = "A subject".to_owned().try_into().expect("a subject");
        let input = NewConversation { subject, author_id, visibility };
        let created = self.stage.table().create_conversation(caller, input, None).await;
        (author_id, created.expect("a conversation").resource.id)
    }

    pub(super) async fn add(&self, caller: &Caller, id: ConversationId, profile: ProfileId) {
        let input = NewMember::default();
        self.stage.table().put_member(caller, id, profile, input).await.expect("a member");
    }

    /// Posts a message. Returns the record of it.
    pub(super) async fn say(
        &self,
        caller: &Caller,
        id: ConversationId,
        author_id: ProfileId,
        text: &str,
    ) -> Value {
        let text = text.to_owned().try_into().expect("a text");
        let input = NewMessage { author_id, text, metadata: Default::default() };
        let posted = self.stage.table().create_message(caller, id, input, None).await;
        let seq = posted.expect("a message").created.resource.message.seq.get();
        record("INSERT", id, &format!("MESSAGE#{seq:012}"))
    }

    /// Opens a connection. Its id is its name.
    pub(super) async fn connect(&self, caller: &Caller, name: &str) -> ConnectionId {
        let (table, id) = (self.stage.table(), name.parse().expect("an id"));
        let ticket = table.create_ticket(caller, None).await.expect("a ticket");
        assert!(table.connect_with_ticket(&id, &ticket.secret).await.expect("an answer"));
        id
    }

    /// Subscribes a connection to everything in a conversation.
    pub(super) async fn try_subscribe(&self, to: &ConnectionId, id: ConversationId) -> Result<()> {
        self.stage.table().subscribe(to, id, Cursor::default()).await.map(drop)
    }

    /// Opens a connection that is subscribed to a conversation.
    pub(super) async fn subscriber(
        &self,
        caller: &Caller,
        name: &str,
        id: ConversationId,
    ) -> ConnectionId {
        let connection = self.connect(caller, name).await;
        self.try_subscribe(&connection, id).await.expect("subscribed");
        connection
    }

    /// Delivers records. Returns the sequence numbers that are reported as failed.
    pub(super) async fn deliver(&self, records: &[&Value]) -> Vec<String> {
        let records: Vec<Value> = records.iter().copied().cloned().zip(1..).map(number).collect();
        let event = StreamEvent { records };
        let answer = deliver(self.stage.table(), self.posts.publisher(), event).await;
        let failures = answer["batchItemFailures"].as_array().expect("failures").iter();
        let number = |failure: &Value| failure["itemIdentifier"].as_str().expect("text").to_owned();
        failures.map(number).collect()
    }

    /// Subscribes other connections to what a connection is subscribed to.
    pub(super) fn copy_subscription(&self, from: &str, to: impl Iterator<Item = String>) {
        let of = format!("#{from}#");
        let items = self.stage.dump();
        let item = items.iter().find(|item| item.contains(&of)).expect("a subscription");
        for name in to {
            let item: Value =
                serde_json::from_str(&item.replace(&of, &format!("#{name}#"))).expect("JSON");
            let put = json!({ "TableName": self.stage.table_name(), "Item": item });
            assert_eq!(self.stage.deliver("PutItem", &put), 200);
        }
    }

    /// Returns how many subscriptions the table has.
    pub(super) fn subscriptions(&self) -> usize {
        self.stage.dump().iter().filter(|item| item.contains("LIVE#")).count()
    }
}

/// Gives a record its place in the stream.
fn number((mut record, number): (Value, u32)) -> Value {
    record["dynamodb"]["SequenceNumber"] = json!(number.to_string());
    record
}

/// Returns a record of an item of a conversation.
pub(super) fn record(event: &str, id: ConversationId, sk: &str) -> Value {
    let keys = json!({ "pk": { "S": format!("CONVERSATION#{id}") }, "sk": { "S": sk } });
    json!({ "eventName": event, "dynamodb": { "Keys": keys } })
}

/// Returns the types of frames.
pub(super) fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().expect("a type")).collect()
}

/// Returns the texts of the messages in `changes` frames.
pub(super) fn texts(frames: &[Value]) -> Vec<&str> {
    let results = frames.iter().flat_map(|frame| frame["results"].as_array().into_iter().flatten());
    results.map(|message| message["text"].as_str().expect("a text")).collect()
}
