//! The end of a run: reads everything through the API and checks it.

use serde_json::Value;
use tests::guarantees::{Author, Conversation, History};

use crate::world::{Ask, World};

/// Returns everything that does not hold.
pub(crate) async fn violations(world: &World) -> Vec<String> {
    let mut history = History::default();
    for index in 0..world.authors.len() {
        history.authors.push(author(world, index).await);
    }
    for index in 0..world.conversations.len() {
        history.conversations.push(conversation(world, index).await);
    }
    let names = names(world).await;
    let known = world.known();
    history.posts = merged(&known.posts);
    history.edits.clone_from(&known.edits);
    history.deletions.clone_from(&known.deletions);
    let mut violations = known.violations.clone();
    violations.extend(history.violations());
    for creation in &known.creations {
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

/// Joins the posts that were repeated later with the posts that they repeat.
fn merged(posts: &[tests::guarantees::Post]) -> Vec<tests::guarantees::Post> {
    let mut merged: Vec<tests::guarantees::Post> = Vec::new();
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

async fn conversation(world: &World, index: usize) -> Conversation {
    let path = vec![world.path(index)];
    let ask = Ask { function: "get-conversation", path: path.clone(), ..Ask::default() };
    let head = world.ask(ask).await;
    let deleted = world.known().deleted_conversations.contains(&index);
    if head.status == 404 && deleted {
        return Conversation { deleted, ..Conversation::default() };
    }
    let mut messages: Vec<Value> = Vec::new();
    loop {
        let after = messages.last().map_or("0".to_owned(), |message| message["seq"].to_string());
        let query = vec![("after", after), ("limit", "100".to_owned())];
        let ask = Ask { function: "list-messages", path: path.clone(), query, ..Ask::default() };
        let page = world.ask(ask).await;
        let results = page.body["results"].as_array().cloned().unwrap_or_default();
        if results.is_empty() {
            break;
        }
        messages.extend(results);
    }
    let last_seq = head.body["last_seq"].as_u64().unwrap_or(u64::MAX);
    let polled = Some(world.known().polled[index].clone());
    Conversation { last_seq, messages: Some(messages), deleted, polled }
}

/// Returns the names of all profiles and the subjects of all conversations.
async fn names(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    for (function, name) in [("list-profiles", "first_name"), ("list-conversations", "subject")] {
        let query = vec![("limit", "100".to_owned())];
        let page = world.ask(Ask { function, query, ..Ask::default() }).await;
        let results = page.body["results"].as_array().cloned().unwrap_or_default();
        names.extend(results.iter().filter_map(|result| result[name].as_str()).map(str::to_owned));
    }
    names
}
