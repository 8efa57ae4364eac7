//! Clients that follow the changes of a conversation, as the documentation tells them to.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::Value;
use tokio::time::Instant;

use crate::observed::content;
use crate::requests::{Answer, Ask};
use crate::stored::Stored;
use crate::world::World;

/// A follower's copy of a conversation.
pub(crate) struct Followed {
    pub(crate) conversation: usize,
    pub(crate) user: Option<usize>,
    /// True if the conversation was hidden from it for a time.
    pub(crate) hidden: bool,
    /// The messages from the oldest page that it has loaded up to the newest.
    messages: BTreeMap<u64, Value>,
    /// Changed messages below the oldest page that it has loaded.
    aside: BTreeMap<u64, Value>,
    /// The lowest `seq` that it has loaded; 1 if none is below.
    lowest: u64,
    cursor: (u64, u64),
    subject: Value,
    version: u64,
    /// When it has started, and when each new message arrived.
    pub(crate) started: Instant,
    pub(crate) received: BTreeMap<u64, Instant>,
}

/// Follows a conversation until nothing follows any more.
pub(crate) async fn follower(
    world: Arc<World>,
    mut rng: Rng,
    user: Option<usize>,
    conversation: usize,
) {
    world.pause(&mut rng, 5_000).await;
    let mut from_nothing = rng.u32(..4) == 0;
    'restarted: loop {
        let start = match from_nothing {
            true => Some(Followed::nothing(user, conversation)),
            false => Followed::start(&world, &mut rng, user, conversation).await,
        };
        let Some(mut followed) = start else {
            let hidden = world.is_done() && world.may_hide(conversation, user);
            if world.is_deleted(conversation) || hidden {
                return;
            }
            world.poll_pause(&mut rng).await;
            continue;
        };
        loop {
            let last_round = world.is_done();
            match followed.poll(&world, &mut rng).await {
                Poll::Restart => {
                    from_nothing = false;
                    continue 'restarted;
                }
                Poll::Ended => return,
                Poll::Hidden if last_round => return,
                Poll::More => {}
                Poll::Nothing if last_round => {
                    world.known().followed.push(followed);
                    return;
                }
                Poll::Nothing | Poll::Failed | Poll::Hidden => world.poll_pause(&mut rng).await,
            }
        }
    }
}

/// The result of a poll.
pub(crate) enum Poll {
    /// Nothing is new, and everything is loaded.
    Nothing,
    /// More may follow.
    More,
    /// It has to be repeated.
    Failed,
    /// The cursor is unknown.
    Restart,
    /// The conversation is deleted.
    Ended,
    /// The client may not see the conversation now.
    Hidden,
}

impl Followed {
    /// Starts without any message.
    pub(crate) fn nothing(user: Option<usize>, conversation: usize) -> Self {
        Self {
            conversation,
            user,
            hidden: false,
            messages: BTreeMap::new(),
            aside: BTreeMap::new(),
            lowest: 1,
            cursor: (0, 0),
            subject: Value::Null,
            version: 0,
            started: Instant::now(),
            received: BTreeMap::new(),
        }
    }

    /// Starts with the newest messages.
    pub(crate) async fn start(
        world: &World,
        rng: &mut Rng,
        user: Option<usize>,
        conversation: usize,
    ) -> Option<Self> {
        let query = vec![("limit", rng.u32(0..12).to_string())];
        let path = vec![world.path(conversation)];
        let ask = Ask { function: "get-conversation", user, path, query, ..Ask::default() };
        let answer = world.ask(ask).await;
        if answer.status != 200 {
            return None;
        }
        let body = &answer.body;
        let mut followed = Self::nothing(user, conversation);
        for message in body["messages"]["results"].as_array().into_iter().flatten() {
            followed.messages.insert(seq(message), message.clone());
        }
        followed.lowest = followed.messages.keys().next().copied().unwrap_or(1);
        followed.learn(body);
        followed.cursor = cursor(&body["cursor"]);
        if rng.u32(..16) == 0 {
            // A client may invent a cursor.
            followed.cursor.0 += 100_000;
        }
        Some(followed)
    }

    /// Asks for changes and, at the same time, for an older page.
    pub(crate) async fn poll(&mut self, world: &World, rng: &mut Rng) -> Poll {
        let limit = *rng.choice(&[1, 2, 5, 20]).expect("a limit");
        let after = ("after", self.cursor());
        let changes = self.ask(world, "list-changes", after, limit);
        let loads = self.lowest > 1 && rng.bool();
        let older = async {
            match loads {
                true => {
                    let before = ("before", self.lowest.to_string());
                    Some(self.ask(world, "list-messages", before, limit).await)
                }
                false => None,
            }
        };
        let (changes, older) = tokio::join!(changes, older);
        // They may arrive in either order.
        let older_first = rng.bool();
        if older_first {
            self.take_older(world, older.as_ref());
        }
        let poll = self.take_changes(world, &changes);
        if !older_first {
            self.take_older(world, older.as_ref());
        }
        match poll {
            Poll::Nothing if self.lowest > 1 => Poll::More,
            poll => poll,
        }
    }

    async fn ask(
        &self,
        world: &World,
        function: &'static str,
        start: (&'static str, String),
        limit: usize,
    ) -> Answer {
        let query = vec![start, ("limit", limit.to_string())];
        let path = vec![world.path(self.conversation)];
        let user = self.user;
        world.ask(Ask { function, user, path, query, ..Ask::default() }).await
    }

    /// Takes the changes over: keeps for each `seq` the message with the higher `change`.
    fn take_changes(&mut self, world: &World, answer: &Answer) -> Poll {
        match answer.status {
            200 => {}
            404 if world.is_deleted(self.conversation) => return Poll::Ended,
            404 if world.may_hide(self.conversation, self.user) => {
                self.hidden = true;
                return Poll::Hidden;
            }
            410 if answer.code == "cursor_unknown" && self.cursor.0 >= 100_000 => {
                return Poll::Restart;
            }
            500 | 503 => return Poll::Failed,
            status => {
                world.violation(format!("list-changes answered {status} after {:?}", self.cursor));
                return Poll::Failed;
            }
        }
        let results = answer.results();
        self.merge(&results);
        self.learn(&answer.body["conversation"]);
        let (before, after) = (self.cursor, cursor(&answer.body["cursor"]));
        // A client without messages needs no earlier changes, so its change may rise alone.
        if after.0 < before.0 || after.1 < before.1 {
            world.violation(format!("a cursor went back from {before:?} to {after:?}"));
        }
        self.cursor = after;
        let more = !answer.body["next"].is_null();
        if results.is_empty() && !more && before == after { Poll::Nothing } else { Poll::More }
    }

    /// Takes the messages of a page or a frame.
    fn merge(&mut self, results: &[Value]) {
        for message in results {
            let place = seq(message);
            if place > self.cursor.0 {
                self.received.entry(place).or_insert_with(Instant::now);
            }
            let known = if place < self.lowest { &mut self.aside } else { &mut self.messages };
            keep_newer(known, message);
        }
    }

    /// Takes a live frame over. Returns false if the client has to ask instead.
    pub(crate) fn take_frame(&mut self, frame: &Value) -> bool {
        self.learn(&frame["conversation"]);
        let (after, end) = (cursor(&frame["after"]), cursor(&frame["cursor"]));
        if is_within(end, self.cursor) {
            return true;
        }
        let fits = is_within(after, self.cursor) && is_within(self.cursor, end);
        let Some(results) = frame["results"].as_array().filter(|_| fits) else { return false };
        self.merge(results);
        self.cursor = end;
        true
    }

    /// Returns the cursor as text.
    pub(crate) fn cursor(&self) -> String {
        let (seq, change) = self.cursor;
        format!("{seq}.{change}")
    }

    /// Loads older pages, until all are loaded or one fails.
    pub(crate) async fn load_older(&mut self, world: &World) {
        while self.lowest > 1 {
            let (lowest, before) = (self.lowest, ("before", self.lowest.to_string()));
            let page = self.ask(world, "list-messages", before, 5).await;
            self.take_older(world, Some(&page));
            if self.lowest == lowest {
                return;
            }
        }
    }

    /// Takes an older page over, with what was kept aside for it.
    fn take_older(&mut self, world: &World, answer: Option<&Answer>) {
        let Some(answer) = answer.filter(|answer| answer.status == 200) else { return };
        for message in answer.results() {
            if seq(&message) + 1 != self.lowest {
                let (seq, lowest) = (seq(&message), self.lowest);
                world.violation(format!("a page below {lowest} continues with {seq}"));
            }
            self.lowest = seq(&message);
            keep_newer(&mut self.messages, &message);
            if let Some(kept) = self.aside.remove(&self.lowest) {
                keep_newer(&mut self.messages, &kept);
            }
        }
    }

    /// Learns the subject, unless a newer one is known.
    fn learn(&mut self, conversation: &Value) {
        let version = conversation["version"].as_u64().unwrap_or_default();
        if version >= self.version {
            self.version = version;
            self.subject = conversation["subject"].clone();
        }
    }

    /// Returns what differs from the messages and the subject that are stored.
    pub(crate) fn violations(
        &self,
        world: &World,
        messages: &[Value],
        subject: &Value,
        stored: &Stored,
    ) -> Vec<String> {
        let mut violations = Vec::new();
        for message in messages {
            let known = self.messages.get(&seq(message)).map(content);
            if known.as_ref() != Some(&content(message)) {
                violations.push(format!("a follower has {known:?} instead of {message}"));
            }
        }
        if self.messages.len() != messages.len() || self.subject != *subject {
            let (count, stored) = (self.messages.len(), messages.len());
            let known = &self.subject;
            let what = format!("a follower has {count} of {stored} messages, {known}, {subject}");
            violations.push(what);
        }
        let id = &world.conversations[self.conversation];
        let last_change = stored.head(id).map_or(0, |(last_change, _)| last_change);
        if self.cursor != (messages.len() as u64, last_change) {
            violations.push(format!("a follower ends at {:?}, {last_change}", self.cursor));
        }
        violations
    }
}

/// Returns whether no part of one cursor is greater than that of the other.
fn is_within(one: (u64, u64), other: (u64, u64)) -> bool {
    one.0 <= other.0 && one.1 <= other.1
}

/// Keeps the message with the higher `change`.
fn keep_newer(messages: &mut BTreeMap<u64, Value>, message: &Value) {
    let known = messages.get(&seq(message));
    if known.is_none_or(|known| known["change"].as_u64() <= message["change"].as_u64()) {
        messages.insert(seq(message), message.clone());
    }
}

fn seq(message: &Value) -> u64 {
    message["seq"].as_u64().unwrap_or_default()
}

/// Parses a cursor such as `12.3`.
fn cursor(cursor: &Value) -> (u64, u64) {
    let parts = cursor.as_str().and_then(|cursor| cursor.split_once('.'));
    let (seq, change) = parts.expect("a cursor");
    (seq.parse().expect("a number"), change.parse().expect("a number"))
}

/// A client that invents cursors. Whatever it asks, others must not be misled.
pub(crate) async fn inventor(world: Arc<World>, mut rng: Rng, conversation: usize) {
    for _ in 0..rng.u32(0..12) {
        world.pause(&mut rng, 800).await;
        let (seq, change) = (rng.u64(..12), rng.u64(..8));
        let query = vec![("after", format!("{seq}.{change}")), ("limit", "5".to_owned())];
        let path = vec![world.path(conversation)];
        let ask = Ask { function: "list-changes", path, query, ..Ask::default() };
        let answer = world.ask(ask).await;
        let allowed = matches!(answer.status, 200 | 410 | 500 | 503)
            || (answer.status == 404 && world.is_deleted(conversation));
        if !allowed {
            world.violation(format!("list-changes answered {} to {seq}.{change}", answer.status));
        }
    }
}
