//! What responses show of private conversations: nothing to those who may not see them, and nothing
//! that was posted after a removal to those who were removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tests::dynamodb::invocations::Invocation;
use tokio::time::Instant;

use crate::requests::{Answer, Ask};
use crate::standing::Standings;
use crate::world::World;

/// A conversation that does not exist.
const ABSENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// The most responses of a seed that are compared with those for an absent conversation.
const COMPARED: usize = 12;
/// Operations that show messages, or how many there are.
const READS: [&str; 7] = [
    "get-conversation",
    "get-message",
    "list-messages",
    "list-changes",
    "list-members",
    "list-memberships",
    "mark-read",
];

/// A request of a user for a private conversation, and what its response showed.
pub(crate) struct Look {
    ask: Ask,
    user: usize,
    conversation: usize,
    started: Instant,
    ended: Instant,
    status: u16,
    body: Value,
    headers: Vec<(String, String)>,
    replayed: bool,
    invocation: Arc<Invocation>,
}

/// Returns what identifies a request to write in later responses: the name of a post, the text of
/// an edit, a subject.
pub(crate) fn marks(body: &Value) -> impl Iterator<Item = &str> {
    let marks = [&body["metadata"]["name"], &body["text"], &body["subject"]];
    marks.into_iter().filter_map(Value::as_str)
}

/// Returns what a response shows of private conversations.
pub(crate) fn looks(
    world: &World,
    ask: &Ask,
    answer: &Answer,
    started: Instant,
    invocation: &Arc<Invocation>,
) -> Vec<Look> {
    let Some(user) = ask.user else { return Vec::new() };
    let look = |id: &Value, body: &Value| {
        let conversation = world.conversations.iter().position(|known| *id == **known)?;
        world.may_hide(conversation, Some(user)).then(|| Look {
            ask: ask.clone(),
            user,
            conversation,
            started,
            ended: Instant::now(),
            status: answer.status,
            body: body.clone(),
            headers: answer.headers.clone(),
            replayed: answer.replayed,
            invocation: invocation.clone(),
        })
    };
    let id = ask.path.iter().find(|(name, _)| *name == "conversation_id");
    match id {
        Some((_, id)) => look(&Value::from(id.as_str()), &answer.body).into_iter().collect(),
        None => {
            let entries = answer.results();
            entries.iter().filter_map(|entry| look(&entry["conversation_id"], entry)).collect()
        }
    }
}

impl Look {
    fn describe(&self) -> String {
        let Self { ask, user, conversation, status, .. } = self;
        let times = (self.started, self.ended);
        format!("{} of user {user} in {conversation}: {status}, {times:?}", ask.function)
    }

    /// Returns whether this status is allowed to those who may not see the conversation.
    fn is_hidden(&self) -> bool {
        let replays = self.ask.function == "create-message" && self.ask.key.is_some();
        matches!(self.status, 404 | 500 | 503) || (self.status == 410 && replays)
    }
}

/// Returns when the newest thing that a response showed began to be written, or when the request
/// started.
pub(crate) fn newest(
    body: &Value,
    started: Instant,
    begun: &BTreeMap<String, Instant>,
    places: &BTreeMap<u64, Instant>,
) -> Instant {
    let (mut marks, mut top) = (BTreeSet::new(), 0);
    collect(body, &mut marks, &mut top);
    let marks = marks.iter().filter_map(|mark| begun.get(mark));
    let below = places.range(..=top).map(|(_, begun)| begun);
    marks.chain(below).copied().fold(started, Instant::max)
}

/// Collects the marks and the highest number of a message in a response.
fn collect(body: &Value, found: &mut BTreeSet<String>, top: &mut u64) {
    found.extend(marks(body).map(str::to_owned));
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    let position = number("read_seq") + number("unread");
    *top = [number("seq"), number("last_seq"), position, *top].into_iter().max().unwrap_or(0);
    let inner: Vec<&Value> = match body {
        Value::Array(values) => values.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    };
    for value in inner {
        collect(value, found, top);
    }
}

/// Returns everything that a response showed to a user who may not see it, and the responses that
/// have to equal those for an absent conversation.
///
/// `places` has, for each conversation, when the post at each `seq` began.
pub(crate) fn violations<'l>(
    looks: &'l [Look],
    standings: &Standings<'_>,
    places: &[BTreeMap<u64, Instant>],
    begun: &BTreeMap<String, Instant>,
) -> (Vec<String>, Vec<&'l Look>) {
    let (mut violations, mut hidden) = (Vec::new(), Vec::new());
    for look in looks {
        let (conversation, user) = (look.conversation, look.user);
        let (function, times) = (look.ask.function, (look.started, look.ended));
        let is_out = |from| standings.is_out(conversation, user, (from, look.ended), look.started);
        let mut found = |what: &str| violations.push(format!("{what}: {}", look.describe()));
        if is_out(look.started) {
            if !look.is_hidden() {
                found("shown to someone who may not see it");
            }
            if look.invocation.stored() > 0 {
                found("a write for someone who may not see it");
            }
            hidden.push(look);
        } else if look.status < 300
            && (READS.contains(&function) || look.replayed)
            && is_out(newest(&look.body, look.started, begun, &places[conversation]))
        {
            found("written after the removal was answered, but shown");
        }
        let shows = ["get-conversation", "list-messages", "list-changes", "list-members"];
        if look.status == 404
            && shows.contains(&function)
            && !standings.world.is_deleted(conversation)
            && standings.is_in(conversation, user, times)
        {
            found("hidden from a member");
        }
    }
    (violations, hidden)
}

/// Checks that responses to those who may not see a conversation equal the responses for a
/// conversation that does not exist.
pub(crate) async fn compare(world: &World, mut hidden: Vec<&Look>) {
    hidden.retain(|look| look.status == 404);
    let step = hidden.len().div_ceil(COMPARED).max(1);
    for Look { ask, body, headers, .. } in hidden.into_iter().step_by(step) {
        let mut absent = ask.clone();
        for (name, value) in &mut absent.path {
            if *name == "conversation_id" {
                ABSENT.clone_into(value);
            }
        }
        let answer = world.ask(absent).await;
        if answer.body != *body || answer.headers != *headers {
            let absent = (answer.headers, answer.body);
            world.violation(format!("{}: {headers:?} {body}, absent: {absent:?}", ask.function));
        }
    }
}
