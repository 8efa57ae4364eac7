//! A client that follows one conversation by the rule of docs/RELIABILITY.md.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::Api;
use crate::socket::Socket;

/// What a client knows about a conversation.
#[derive(Debug)]
pub struct Follower {
    api: Api,
    conversation_id: String,
    cursor: Cursor,
    /// The messages by `seq`.
    pub messages: BTreeMap<u64, Value>,
    /// The conversation: `id`, `subject`, `version`.
    pub conversation: Value,
    /// How often it had to ask for changes, because a frame did not fit.
    pub asked: usize,
}

/// The two parts of a cursor.
type Cursor = (u64, u64);

fn parse(cursor: &Value) -> Cursor {
    let text = cursor.as_str().expect("a cursor");
    let (seq, change) = text.split_once('.').expect("two parts");
    (seq.parse().expect("a number"), change.parse().expect("a number"))
}

/// Returns whether no part of one cursor is greater than that of the other.
fn is_within(one: Cursor, other: Cursor) -> bool {
    one.0 <= other.0 && one.1 <= other.1
}

impl Follower {
    /// Returns a client that knows nothing yet.
    #[must_use]
    pub fn new(api: &Api, conversation_id: &str) -> Self {
        let (api, conversation_id) = (api.clone(), conversation_id.to_owned());
        let (messages, conversation) = (BTreeMap::new(), Value::Null);
        Self { api, conversation_id, cursor: (0, 0), messages, conversation, asked: 0 }
    }

    /// Returns the cursor as text.
    #[must_use]
    pub fn cursor(&self) -> String {
        format!("{}.{}", self.cursor.0, self.cursor.1)
    }

    /// Subscribes, and takes the answer.
    pub async fn subscribe(&mut self, socket: &mut Socket) {
        let answer = socket.subscribe(&self.conversation_id, &self.cursor()).await;
        self.take(&answer).await;
    }

    /// Takes frames until the condition holds.
    pub async fn until(&mut self, socket: &mut Socket, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let frame = socket.next().await;
            self.take(&frame).await;
        }
    }

    /// Takes a `changes` frame.
    ///
    /// # Panics
    /// If it is another frame.
    pub async fn take(&mut self, frame: &Value) {
        assert_eq!(frame["type"], "changes", "{frame}");
        assert_eq!(frame["conversation_id"], self.conversation_id.as_str());
        self.take_conversation(&frame["conversation"]);
        let (after, cursor) = (parse(&frame["after"]), parse(&frame["cursor"]));
        if is_within(cursor, self.cursor) {
            return;
        }
        match frame["results"].as_array() {
            Some(results) if is_within(after, self.cursor) && is_within(self.cursor, cursor) => {
                self.merge(results, cursor);
            }
            _ => self.ask().await,
        }
    }

    /// Asks for what is new, until nothing is.
    async fn ask(&mut self) {
        self.asked += 1;
        let id = &self.conversation_id;
        let mut next = Some(format!("/conversations/{id}/changes?after={}", self.cursor()));
        while let Some(path) = next {
            let page = self.api.get(&path).await.expect(200);
            self.take_conversation(&page["conversation"]);
            let results = page["results"].as_array().expect("results");
            self.merge(results, parse(&page["cursor"]));
            next = page["next"].as_str().map(str::to_owned);
        }
    }

    fn merge(&mut self, results: &[Value], cursor: Cursor) {
        for message in results {
            let seq = message["seq"].as_u64().expect("a seq");
            let change = |message: &Value| message["change"].as_u64();
            let known = self.messages.get(&seq).and_then(change);
            if known <= change(message) {
                self.messages.insert(seq, message.clone());
            }
        }
        self.cursor = cursor;
    }

    fn take_conversation(&mut self, conversation: &Value) {
        let version = |conversation: &Value| conversation["version"].as_u64();
        if version(&self.conversation) <= version(conversation) {
            self.conversation = conversation.clone();
        }
    }
}
