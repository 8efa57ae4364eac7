//! The state in the end, and everything that contradicts it.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::guarantees::{Author, Conversation, History, Post};
use tokio::time::{Duration, Instant};

use crate::live::checks;
use crate::live::sockets::Posted;
use crate::looks::{self, Look};
use crate::requests::Ask;
use crate::standing::Standings;
use crate::stored::Stored;
use crate::world::World;
use crate::{attempts, rest};

/// The longest that a reader waits for a stored message.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Returns everything that does not hold.
pub(crate) async fn violations(world: &World, purged: bool) -> Vec<String> {
    let hidden = world.known().looks.len();
    let limited = world.weather.posts_per_second > 0 || world.weather.crowd;
    let mut history = History { limited, ..History::default() };
    for index in 0..world.authors.len() {
        history.authors.push(author(world, index).await);
    }
    let mut feed_violations = Vec::new();
    let stored = Stored::read(world);
    for index in 0..world.conversations.len() {
        let (conversation, subject) = conversation(world, index).await;
        let messages = conversation.messages.iter().flatten().cloned().collect::<Vec<Value>>();
        let known = world.known();
        let followed = known.followed.iter().chain(&known.listened);
        let followed = followed.filter(|followed| followed.conversation == index);
        for followed in followed.filter(|_| conversation.messages.is_some()) {
            feed_violations.extend(followed.violations(world, &messages, &subject, &stored));
        }
        feed_violations.extend(stored.change_violations(&world.conversations[index]));
        drop(known);
        history.conversations.push(conversation);
    }
    let names = names(world, &stored).await;
    let member_violations = member_violations(world, &stored, &history, purged, hidden).await;
    let known = world.known();
    history.posts = merged(&known.posts);
    history.edits.clone_from(&known.edits);
    history.deletions.clone_from(&known.deletions);
    let mut violations = known.violations.clone();
    violations.extend(history.violations());
    violations.extend(feed_violations);
    violations.extend(attempts::violations(&known.attempts, &known.observed, &stored));
    drop(known);
    if world.weather.is_timed() && world.haste == 1 {
        violations.extend(waiting_violations(world));
    }
    violations.extend(creation_violations(world, &names));
    violations.extend(member_violations);
    violations.extend(world.refusal_violations());
    violations
}

/// Checks the members at rest, and what responses showed of private conversations before.
async fn member_violations(
    world: &World,
    stored: &Stored,
    history: &History,
    purged: bool,
    looks: usize,
) -> Vec<String> {
    let (requests, ended_profiles) = {
        let known = world.known();
        (known.member_requests.clone(), known.ended_profiles.clone())
    };
    let standings = Standings { world, requests, ended_profiles };
    let mut violations = rest::violations(world, stored, &standings, purged).await;
    let looks: Vec<Look> = world.known().looks.drain(..looks).collect();
    let begun = world.known().begun.clone();
    let place = |message: &Value| {
        let name = message["metadata"]["name"].as_str()?;
        Some((message["seq"].as_u64()?, *begun.get(name)?))
    };
    let places = history
        .conversations
        .iter()
        .map(|conversation| conversation.messages.iter().flatten().filter_map(place).collect());
    let places: Vec<BTreeMap<u64, Instant>> = places.collect();
    let (shown, hidden) = looks::violations(&looks, &standings, &places, &begun);
    violations.extend(shown);
    let posted = world.sockets.take_posted();
    violations.extend(checks::violations(&posted, &standings, &places, &begun));
    for Posted { started, frame, .. } in &posted {
        violations.extend(world.known().observed.record(*started, frame));
    }
    world.known().hidden = hidden.len();
    looks::compare(world, hidden).await;
    violations
}

/// Checks that each creation has as many effects as its responses say.
fn creation_violations(world: &World, names: &[String]) -> Vec<String> {
    let mut violations = Vec::new();
    for creation in &world.known().creations {
        let found = names.iter().filter(|name| **name == creation.name).count();
        let most = if creation.keyed { 1 } else { 1 + creation.undecided };
        let (least, most) = match creation.deleted {
            None => (1, most),
            Some(true) => (0, most - 1),
            Some(false) => (0, most),
        };
        if !(least..=most).contains(&found) {
            let name = &creation.name;
            violations.push(format!("{name} exists {found} times instead of {least} to {most}"));
        }
    }
    violations
}

/// Checks that no reader waited long for a stored message, whatever gaps were below it.
fn waiting_violations(world: &World) -> Vec<String> {
    let known = world.known();
    let mut violations = Vec::new();
    let polled = known.polled.iter().filter(|polled| !polled.hidden).map(|polled| {
        let started = None;
        (polled.conversation, started, &polled.received)
    });
    let followed = known.followed.iter().filter(|followed| !followed.hidden).map(|followed| {
        let started = Some(followed.started + LONGEST_WAIT);
        (followed.conversation, started, &followed.received)
    });
    for (conversation, started, received) in polled.chain(followed) {
        let here = known.stored.iter().filter(|(there, ..)| *there == conversation);
        for (_, seq, stored_at) in here {
            let Some(received_at) = received.get(seq) else { continue };
            let waited = received_at.saturating_duration_since(*stored_at);
            if waited > LONGEST_WAIT && started.is_none_or(|started| started < *stored_at) {
                violations.push(format!("a reader waited {waited:?} for message {seq}"));
            }
        }
    }
    violations
}

/// Joins the posts that were repeated later with the posts that they repeat.
fn merged(posts: &[Post]) -> Vec<Post> {
    let mut merged: Vec<Post> = Vec::new();
    for post in posts {
        match merged.iter_mut().find(|other| other.name == post.name) {
            Some(other) => other.responses.extend(post.responses.iter().cloned()),
            None => merged.push(post.clone()),
        }
    }
    merged
}

async fn author(world: &World, index: usize) -> Author {
    let id = world.authors[index].clone();
    let path = vec![("profile_id", id.clone())];
    let answer = world.ask(Ask { function: "get-profile", path, ..Ask::default() }).await;
    let deleted = world.known().deleted_profiles.contains(&index);
    Author { id, points: answer.body["points"].as_u64(), deleted }
}

/// Returns a conversation with all its messages, and its subject.
async fn conversation(world: &World, index: usize) -> (Conversation, Value) {
    let path = vec![world.path(index)];
    let ask = Ask { function: "get-conversation", path: path.clone(), ..Ask::default() };
    let head = world.ask(ask).await;
    let deleted = world.is_deleted(index);
    if head.status == 404 && deleted {
        let private = world.origins[index].private;
        return (Conversation { deleted, private, ..Conversation::default() }, Value::Null);
    }
    let mut messages: Vec<Value> = Vec::new();
    loop {
        let after = messages.last().map_or("0".to_owned(), |message| message["seq"].to_string());
        let query = vec![("after", after), ("limit", "100".to_owned())];
        let ask = Ask { function: "list-messages", path: path.clone(), query, ..Ask::default() };
        let results = world.ask(ask).await.results();
        if results.is_empty() {
            break;
        }
        messages.extend(results);
    }
    let last_seq = head.body["last_seq"].as_u64().unwrap_or(u64::MAX);
    let known = world.known();
    let polled = known.polled.iter().find(|polled| polled.conversation == index);
    let polled = polled.map(|polled| polled.messages.clone());
    let (messages, private) = (Some(messages), world.origins[index].private);
    (Conversation { last_seq, messages, deleted, private, polled }, head.body["subject"].clone())
}

/// Returns the first names of all profiles, and the subjects of all conversations before any
/// rename. Private conversations are in no list.
async fn names(world: &World, stored: &Stored) -> Vec<String> {
    let mut names = Vec::new();
    for (function, name) in [("list-profiles", "first_name"), ("list-conversations", "subject")] {
        let query = vec![("limit", "100".to_owned())];
        let page = world.ask(Ask { function, query, ..Ask::default() }).await;
        let known = world.known();
        for result in page.results() {
            let creation = known.creations.iter().find(|creation| result["id"] == creation.id);
            let found = creation.map(|creation| creation.name.as_str()).or(result[name].as_str());
            names.extend(found.map(str::to_owned));
        }
    }
    let known = world.known();
    for (id, items) in stored.live_conversations() {
        let item = &items["CONVERSATION"];
        if item["visibility"]["S"] == "private" {
            let creation = known.creations.iter().find(|creation| creation.id == id);
            let found = creation.map(|creation| creation.name.as_str());
            names.extend(found.or(item["subject"]["S"].as_str()).map(str::to_owned));
        }
    }
    drop(known);
    names
}
