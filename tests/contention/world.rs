//! The start of a measurement: authors, conversations and messages.

use local::template::Template;
use serde_json::{Value, json};
use shared::{
    Caller, ConversationId, NewConversation, NewMessage, NewProfile, ProfileId, RateLimit, Seq,
    Table, Visibility,
};
use tests::dynamodb::capacity::Capacity;

use crate::load::{Scenario, Work};

/// A table, and what the requests are about.
pub(crate) struct World {
    pub(crate) dynamodb: Capacity,
    pub(crate) table: Table,
    pub(crate) work: Work,
    pub(crate) targets: Vec<Target>,
}

/// The subject of one request.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) author: ProfileId,
    pub(crate) conversation: ConversationId,
    /// The message that an edit changes.
    pub(crate) seq: Seq,
}

impl World {
    /// Creates a table with this number of targets.
    pub(crate) async fn new(scenario: &Scenario, targets: usize) -> Self {
        let dynamodb = Capacity::new(scenario.seed);
        let rate_limit = match scenario.work {
            Work::OneAuthor { posts_per_second } => posts_per_second,
            Work::OneConversation | Work::Edits => 0,
        };
        let table = dynamodb.table().with_rate_limit(RateLimit(rate_limit));
        let schema = Template::parse().expect("the template").table;
        table.create(&schema).await.expect("a table");
        let first = first_target(&table).await;
        let items = dynamodb.all_items();
        let item = |sk: &str| {
            let item = items.iter().find(|item| item["sk"]["S"] == sk);
            item.cloned().expect("an item")
        };
        let (profile, conversation) = (item("PROFILE"), item("CONVERSATION"));
        let message = item(&message_sk(first.seq));
        let targets = (0..targets as u64).map(|number| match scenario.work {
            Work::OneConversation => {
                let author = ProfileId::generate();
                let mut copy = copy(&profile, &format!("PROFILE#{author}"), &author.to_string());
                // Congratulations are spread evenly.
                copy["points"] = json!({ "N": (number % 10).to_string() });
                put(&dynamodb, copy);
                Target { author, ..first }
            }
            Work::OneAuthor { .. } => {
                let id = ConversationId::generate();
                let pk = format!("CONVERSATION#{id}");
                put(&dynamodb, copy(&conversation, &pk, &id.to_string()));
                Target { conversation: id, ..first }
            }
            Work::Edits => {
                let seq = Seq::new(number + 1);
                let mut copy = message.clone();
                copy["sk"] = json!({ "S": message_sk(seq) });
                put(&dynamodb, copy);
                Target { seq, ..first }
            }
        });
        let targets = targets.collect();
        Self { dynamodb, table, work: scenario.work, targets }
    }
}

impl Target {
    /// Returns the key of the message that an edit changes.
    pub(crate) fn message_key(&self) -> Value {
        let pk = format!("CONVERSATION#{}", self.conversation);
        json!({ "pk": { "S": pk }, "sk": { "S": message_sk(self.seq) } })
    }
}

/// Creates an author, a conversation and a message through the service.
async fn first_target(table: &Table) -> Target {
    let profile = NewProfile {
        first_name: "Ada".to_owned().try_into().expect("a name"),
        last_name: String::new().try_into().expect("a name"),
        job_title: String::new().try_into().expect("a title"),
    };
    let author = table.create_profile(&Caller::Anyone, profile, None).await;
    let author_id = author.expect("an author").resource.id;
    let subject = "Contention".to_owned().try_into().expect("a subject");
    let conversation = NewConversation { subject, author_id, visibility: Visibility::Public };
    let conversation = table.create_conversation(&Caller::Anyone, conversation, None).await;
    let conversation = conversation.expect("a conversation").resource.id;
    let text = "Contention".to_owned().try_into().expect("a text");
    let message = NewMessage { author_id, text, metadata: Default::default() };
    let posted = table.create_message(&Caller::Anyone, conversation, message, None).await;
    let seq = posted.expect("a message").created.resource.message.seq;
    Target { author: author_id, conversation, seq }
}

fn copy(item: &Value, pk: &str, id: &str) -> Value {
    let mut copy = item.clone();
    copy["pk"] = json!({ "S": pk });
    copy["id"] = json!({ "S": id });
    copy
}

fn put(dynamodb: &Capacity, item: Value) {
    dynamodb.prepare("PutItem", json!({ "TableName": "chat", "Item": item }));
}

fn message_sk(seq: Seq) -> String {
    format!("MESSAGE#{:012}", seq.get())
}
