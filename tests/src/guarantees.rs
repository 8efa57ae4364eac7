//! The checker of the delivery guarantees. See [`History::violations`] for what it checks.
//!
//! A test fills in a [`History`]: the requests of its clients with their responses, and the
//! messages and profiles that the API returns at the end of the test.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

mod conversation;

pub use conversation::check_conversation;
use conversation::{at, is_tenth, polling_violation, reward_violations, sequence_violations};

/// The requests and responses of all clients, and the final state.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The authors of posts.
    pub authors: Vec<Author>,
    /// The conversations that were posted into.
    pub conversations: Vec<Conversation>,
    /// All posts. A stored text message that matches none of them is a violation, unless it is
    /// deleted.
    pub posts: Vec<Post>,
    /// Requests to edit a message, each to a text that starts with "edited".
    pub edits: Vec<Change>,
    /// Requests to delete a message.
    pub deletions: Vec<Change>,
    /// True if posts may be refused with 429.
    pub limited: bool,
}

/// A profile that posts.
#[derive(Clone, Debug, Default)]
pub struct Author {
    /// Its id.
    pub id: String,
    /// Its final points; `None` if it no longer exists, which is a violation unless `deleted`.
    pub points: Option<u64>,
    /// True if a client tried to delete it.
    pub deleted: bool,
}

/// A conversation.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// Its final `last_seq`.
    pub last_seq: u64,
    /// All its final messages, oldest first; `None` if a client tried to delete it and it no longer
    /// exists.
    pub messages: Option<Vec<Value>>,
    /// True if a client tried to delete it.
    pub deleted: bool,
    /// True if only members may post.
    pub private: bool,
    /// The messages that one client received by polling with `after`, in the order received.
    pub polled: Option<Vec<Value>>,
}

/// A message that a client wants to post, and the responses to its requests.
#[derive(Clone, Debug, Default)]
pub struct Post {
    /// Identifies the message: `metadata.name`.
    pub name: String,
    /// The index of its author.
    pub author: usize,
    /// The index of its conversation.
    pub conversation: usize,
    /// True if all its requests carry the same idempotency key.
    pub keyed: bool,
    /// One response for each request.
    pub responses: Vec<Response>,
}

/// The response to a post.
#[derive(Clone, Debug)]
pub enum Response {
    /// 201 with this message.
    Stored(Value),
    /// Refused with this status: this request stored nothing.
    Refused(u16),
    /// 410 to a replay: the conversation is deleted.
    Gone,
    /// 500, or no response: this request may have stored the message.
    Undecided,
}

/// A request to change a message.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The index of its conversation.
    pub conversation: usize,
    /// Its `seq`.
    pub seq: u64,
    /// True if the response confirmed the change.
    pub confirmed: bool,
}

impl History {
    /// Returns all violations of the guarantees, none if they hold:
    ///
    /// - `seq` counts 1, 2, 3 … without gap or duplicate, up to `last_seq`;
    /// - the points of an author's messages are 1, 2, 3 … up to the author's total, each once;
    /// - each tenth point has one congratulation, at `seq + 1`;
    /// - a message confirmed by a 201 is stored at the `seq` of the response, with its points and
    ///   its congratulation;
    /// - a refused request stored nothing, and an undecided one stored at most one message;
    /// - one idempotency key has one effect, and all its responses show the same message;
    /// - 404 and 410 only if the conversation was deleted or is private, 403 only if it is private, 422 only if the author was, 429 only with a
    ///   limit;
    /// - confirmed edits and deletions are visible;
    /// - a client that polls sees each message once, in order.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for (index, conversation) in self.conversations.iter().enumerate() {
            let Some(messages) = &conversation.messages else { continue };
            let here = sequence_violations(messages, conversation.last_seq);
            let here = here.into_iter().chain(reward_violations(messages));
            let polled = conversation.polled.as_ref();
            let here = here.chain(polled.and_then(|polled| polling_violation(polled, messages)));
            violations.extend(here.map(|what| format!("conversation {index}: {what}")));
            violations.extend(self.unknown_messages(index, messages));
        }
        violations.extend(self.point_violations());
        let copies = self.copies();
        for post in &self.posts {
            let name = (post.conversation, post.name.as_str());
            let found = copies.get(&name).copied().unwrap_or_default();
            let here = self.status_violations(post).into_iter();
            let here = here.chain(self.post_violations(post, found));
            violations.extend(here.map(|what| format!("{what}: {}", describe(post))));
        }
        violations.extend(self.change_violations());
        violations
    }

    /// Returns the number of stored messages by conversation and name.
    fn copies(&self) -> HashMap<(usize, &str), usize> {
        let mut copies = HashMap::new();
        for (index, conversation) in self.conversations.iter().enumerate() {
            for message in conversation.messages.iter().flatten() {
                let name = message["metadata"]["name"].as_str().unwrap_or_default();
                *copies.entry((index, name)).or_default() += 1;
            }
        }
        copies
    }

    /// Returns a violation for each text message that no client posted. Skips deleted messages.
    fn unknown_messages(&self, index: usize, messages: &[Value]) -> Vec<String> {
        let posts = self.posts.iter().filter(|post| post.conversation == index);
        let known: HashSet<&str> = posts.map(|post| post.name.as_str()).collect();
        let texts = messages.iter().filter(|message| message["type"] == "text");
        let present = texts.filter(|message| message["deleted_at"].is_null());
        let unknown = present.filter(|message| {
            !message["metadata"]["name"].as_str().is_some_and(|name| known.contains(name))
        });
        unknown.map(|message| format!("no client posted {message}")).collect()
    }

    /// Checks that the points of each author's messages are 1, 2, 3 … up to the author's total.
    fn point_violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let mut earned: HashMap<&str, Vec<u64>> = HashMap::new();
        let present = self.conversations.iter().flat_map(|conversation| &conversation.messages);
        for message in present.flatten().filter(|message| message["type"] == "text") {
            let author = message["author_id"].as_str().unwrap_or_default();
            earned.entry(author).or_default().extend(message["points"].as_u64());
        }
        let complete =
            self.conversations.iter().all(|conversation| conversation.messages.is_some());
        for (index, author) in self.authors.iter().enumerate() {
            let mut points = earned.remove(author.id.as_str()).unwrap_or_default();
            points.extend(self.points_of_deleted_conversations(index));
            points.sort_unstable();
            let unknown = self.unknown_posts_of_deleted_conversations(index);
            let total = match author.points {
                Some(total) => total,
                None if author.deleted => points.last().copied().unwrap_or_default(),
                None => {
                    violations.push(format!("author {index} is missing, but was not deleted"));
                    continue;
                }
            };
            let holds = if complete {
                points.iter().copied().eq(1..=total)
            } else {
                // Some messages of a deleted conversation may be unknown, so points may have gaps.
                points.windows(2).all(|pair| pair[0] < pair[1])
                    && points.last().is_none_or(|last| *last <= total)
                    && total <= (points.len() + unknown) as u64
            };
            if !holds {
                violations.push(format!("author {index}: total {total}, messages with {points:?}"));
            }
        }
        let others = earned.into_keys().map(|author| format!("messages of unknown {author:?}"));
        violations.extend(others);
        violations
    }

    /// Returns the points that responses with 201 confirm for an author, in conversations that no
    /// longer exist.
    fn points_of_deleted_conversations(&self, author: usize) -> Vec<u64> {
        let mut points = BTreeMap::new();
        for post in self.posts.iter().filter(|post| post.author == author) {
            if self.conversations[post.conversation].messages.is_none() {
                for message in stored(post) {
                    let place = (post.conversation, message["seq"].as_u64());
                    points.insert(place, message["points"].as_u64().unwrap_or_default());
                }
            }
        }
        points.into_values().collect()
    }

    /// Returns the maximum number of messages that an author may have stored in conversations that
    /// no longer exist, not counting messages confirmed by a 201.
    fn unknown_posts_of_deleted_conversations(&self, author: usize) -> usize {
        let gone = |post: &&Post| self.conversations[post.conversation].messages.is_none();
        let posts = self.posts.iter().filter(|post| post.author == author).filter(gone);
        let unknown = posts.map(|post| match undecided(post) {
            count if !post.keyed => count,
            count => usize::from(count > 0 && stored(post).next().is_none()),
        });
        unknown.sum()
    }

    /// Checks the statuses of the responses to a post.
    fn status_violations(&self, post: &Post) -> Option<String> {
        let Conversation { deleted, private, .. } = self.conversations[post.conversation];
        let author_deleted = self.authors[post.author].deleted;
        let allowed = |response: &Response| match response {
            Response::Stored(_) | Response::Undecided | Response::Refused(503) => true,
            Response::Refused(404) => deleted || private,
            Response::Refused(403) => private,
            Response::Gone => (deleted || private) && post.keyed,
            Response::Refused(422) => author_deleted,
            Response::Refused(429) => self.limited,
            Response::Refused(_) => false,
        };
        let odd = post.responses.iter().find(|response| !allowed(response))?;
        Some(format!("unexpected response {odd:?}"))
    }

    /// Checks that a post is stored as its responses say. `found` is the number of stored messages
    /// with its name.
    fn post_violations(&self, post: &Post, found: usize) -> Vec<String> {
        let mut violations = Vec::new();
        let stored: Vec<&Value> = stored(post).collect();
        let seqs: Vec<u64> = stored.iter().filter_map(|message| message["seq"].as_u64()).collect();
        if post.keyed && seqs.windows(2).any(|pair| pair[0] != pair[1]) {
            violations.push(format!("one key, several messages {seqs:?}"));
        }
        for message in &stored {
            let reward = message["reward"]["seq"].as_u64();
            let due = is_tenth(message).then(|| message["seq"].as_u64().unwrap_or_default() + 1);
            if reward != due {
                violations.push(format!("a response has congratulation {reward:?}, not {due:?}"));
            }
        }
        let Some(messages) = &self.conversations[post.conversation].messages else {
            return violations;
        };
        let is_deleted = |seq: u64| {
            let place = (post.conversation, seq);
            self.deletions.iter().any(|deletion| (deletion.conversation, deletion.seq) == place)
        };
        for message in &stored {
            let there = at(messages, message["seq"].as_u64().unwrap_or_default());
            let same = there.is_some_and(|there| {
                let seq = there["seq"].as_u64().unwrap_or_default();
                (there["metadata"]["name"] == *post.name || is_deleted(seq))
                    && there["points"] == message["points"]
            });
            if !same {
                violations.push("201, but not stored".to_owned());
            }
        }
        let undecided = undecided(post);
        let (least, most) = if post.keyed {
            let visible = seqs.first().is_some_and(|seq| !is_deleted(*seq));
            (usize::from(visible), usize::from(!seqs.is_empty() || undecided > 0))
        } else {
            (seqs.iter().filter(|seq| !is_deleted(**seq)).count(), seqs.len() + undecided)
        };
        if !(least..=most).contains(&found) {
            violations.push(format!("stored {found} times instead of {least} to {most}"));
        }
        violations
    }

    /// Checks that confirmed edits and deletions are visible.
    fn change_violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let find = |change: &Change| {
            let messages = self.conversations[change.conversation].messages.as_ref()?;
            at(messages, change.seq)
        };
        for message in self.deletions.iter().filter(|change| change.confirmed).filter_map(find) {
            let is_empty = message["text"] == "" && message["metadata"] == json!({});
            if !is_empty || !message["deleted_at"].is_string() {
                violations.push(format!("204, but not deleted: {message}"));
            }
        }
        for message in self.edits.iter().filter(|change| change.confirmed).filter_map(find) {
            let is_edited = message["text"].as_str().is_some_and(|text| text.starts_with("edited"))
                && message["edited_at"].is_string();
            if !is_edited && message["deleted_at"].is_null() {
                violations.push(format!("200, but not edited: {message}"));
            }
        }
        violations
    }
}

/// Describes a post and its responses in one line.
fn describe(post: &Post) -> String {
    let Post { name, author, conversation, keyed, responses } = post;
    let responses = responses.iter().map(|response| match response {
        Response::Stored(message) => format!("201 at {}", message["seq"]),
        Response::Refused(status) => status.to_string(),
        Response::Gone => "410".to_owned(),
        Response::Undecided => "undecided".to_owned(),
    });
    let responses = responses.collect::<Vec<_>>().join(", ");
    let key = if *keyed { "with a key" } else { "without a key" };
    format!("post {name} of author {author} in conversation {conversation}, {key}: {responses}")
}

fn undecided(post: &Post) -> usize {
    post.responses.iter().filter(|response| matches!(response, Response::Undecided)).count()
}

fn stored(post: &Post) -> impl Iterator<Item = &Value> {
    post.responses.iter().filter_map(|response| match response {
        Response::Stored(message) => Some(message),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
