//! What must be true in the end, whatever went wrong: of the table, and of what every client was told.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::clients::{Told, World};

/// Everything that is not as it was promised.
pub(crate) async fn broken(world: &World) -> Vec<String> {
    let mut broken = std::mem::take(&mut world.known().wrong);
    let mut conversations: Vec<Option<Vec<Value>>> = Vec::new();
    for conversation in 0..world.conversations.len() {
        conversations.push(messages(world, conversation, &mut broken).await);
    }
    check_created(world, &mut broken).await;
    check_points(world, &conversations, &mut broken).await;
    check_told(world, &conversations, &mut broken);
    check_polled(world, &conversations, &mut broken);
    check_changes(world, &conversations, &mut broken);
    broken
}

/// All messages of a conversation, `None` when it is deleted; and that they stand in one unbroken order.
async fn messages(
    world: &World,
    conversation: usize,
    broken: &mut Vec<String>,
) -> Option<Vec<Value>> {
    let path = [world.path(conversation)];
    let head = world.ask("get-conversation", &path, &[], None, &Value::Null).await;
    if head.status == 404 && world.known().deleted_conversations.contains(&conversation) {
        return None;
    }
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().map_or("0".to_owned(), |message| message["seq"].to_string());
        let query = [("after", after), ("limit", "100".to_owned())];
        let page = world.ask("list-messages", &path, &query, None, &Value::Null).await;
        let results = page.body["results"].as_array().cloned().unwrap_or_default();
        if results.is_empty() {
            break;
        }
        all.extend(results);
    }
    for (message, seq) in all.iter().zip(1_u64..) {
        if message["seq"] != seq {
            broken.push(format!("conversation {conversation}: {} at place {seq}", message["seq"]));
        }
    }
    if head.body["last_seq"] != json!(all.len()) {
        broken.push(format!(
            "conversation {conversation}: last_seq {} of {} messages",
            head.body["last_seq"],
            all.len()
        ));
    }
    Some(all)
}

/// What was created with a key is there once; without one, no more often than nobody knew.
async fn check_created(world: &World, broken: &mut Vec<String>) {
    let mut names: Vec<String> = Vec::new();
    for (function, name) in [("list-profiles", "first_name"), ("list-conversations", "subject")] {
        let page =
            world.ask(function, &[], &[("limit", "100".to_owned())], None, &Value::Null).await;
        let results = page.body["results"].as_array().cloned().unwrap_or_default();
        names.extend(
            results.iter().map(|result| result[name].as_str().unwrap_or_default().to_owned()),
        );
    }
    let known = world.known();
    let deleted = known.deleted_profiles.len() + known.deleted_conversations.len();
    for (created, keyed, unknown) in &known.creations {
        let there = names.iter().filter(|name| *name == created).count();
        let most = if *keyed { 1 } else { 1 + unknown };
        if there > most || (there == 0 && deleted == 0) {
            broken.push(format!("{created} is there {there} times instead of 1 to {most}"));
        }
    }
}

/// Points = messages posted, and a congratulation at the next place of every tenth.
async fn check_points(
    world: &World,
    conversations: &[Option<Vec<Value>>],
    broken: &mut Vec<String>,
) {
    let mut points: HashMap<String, Vec<u64>> = HashMap::new();
    for messages in conversations.iter().flatten() {
        let mut due: Option<(String, u64)> = None;
        for message in messages {
            let number = message["points"].as_u64().unwrap_or_default();
            if message["type"] == "action" {
                let congratulated =
                    message["metadata"]["profile_id"].as_str().unwrap_or_default().to_owned();
                if due.take() != Some((congratulated, number)) {
                    broken.push(format!("a congratulation that is not due: {message}"));
                }
                continue;
            }
            if let Some(due) = due.take() {
                broken.push(format!("no congratulation for {due:?}"));
            }
            let author = message["author_id"].as_str().unwrap_or_default().to_owned();
            due = number.is_multiple_of(10).then(|| (author.clone(), number));
            points.entry(author).or_default().push(number);
        }
        if let Some(due) = due {
            broken.push(format!("no congratulation for {due:?}"));
        }
    }
    let all_there = conversations.iter().all(Option::is_some);
    for (index, author) in world.authors.iter().enumerate() {
        let mut earned = points.remove(author).unwrap_or_default();
        earned.sort_unstable();
        let profile = world
            .ask("get-profile", &[("profile_id", author.clone())], &[], None, &Value::Null)
            .await;
        let deleted = profile.status == 404 && world.known().deleted_profiles.contains(&index);
        let total = if deleted {
            earned.len() as u64
        } else {
            profile.body["points"].as_u64().unwrap_or(u64::MAX)
        };
        let whole = earned.iter().copied().eq(1..=total);
        let distinct = earned.windows(2).all(|pair| pair[0] < pair[1])
            && earned.last().is_none_or(|last| *last <= total);
        // Where a conversation is gone, some of the points were earned there.
        if if all_there { !whole } else { !deleted && !distinct } {
            broken.push(format!("author {index}: {total} points, earned {earned:?}"));
        }
    }
}

/// A 201 is there for ever, and once; a 503 wrote nothing; a repeat answers the same.
fn check_told(world: &World, conversations: &[Option<Vec<Value>>], broken: &mut Vec<String>) {
    let known = world.known();
    for post in &known.posts {
        let stored: Vec<&Value> = post
            .told
            .iter()
            .filter_map(|told| match told {
                Told::Stored(message) => Some(message),
                _ => None,
            })
            .collect();
        let unknown = post.told.iter().filter(|told| matches!(told, Told::Unknown)).count();
        let odd = post.told.iter().any(|told| match told {
            Told::Nothing(503) => false,
            // Gone in the middle: the conversation, or the author.
            Told::Nothing(404) | Told::Gone => {
                !known.deleted_conversations.contains(&post.conversation)
            }
            Told::Nothing(422) => !known.deleted_profiles.contains(&post.author),
            Told::Nothing(_) => true,
            Told::Stored(_) | Told::Unknown => false,
        });
        if odd {
            broken.push(format!("an odd answer: {post:?}"));
        }
        let Some(messages) = &conversations[post.conversation] else { continue };
        let deleted =
            |seq: u64| known.deletions.iter().any(|(place, _)| *place == (post.conversation, seq));
        let found: Vec<u64> = messages
            .iter()
            .filter(|message| message["metadata"]["name"] == *post.name)
            .filter_map(|message| message["seq"].as_u64())
            .collect();
        let places: Vec<u64> =
            stored.iter().filter_map(|message| message["seq"].as_u64()).collect();
        for message in &stored {
            let seq = message["seq"].as_u64().unwrap_or_default();
            let there = messages.get(usize::try_from(seq).unwrap_or_default().wrapping_sub(1));
            let same = there.is_some_and(|there| {
                (there["metadata"]["name"] == *post.name || deleted(seq))
                    && there["points"] == message["points"]
            });
            if !same {
                broken.push(format!("told 201, and not there: {message}"));
            }
            let reward = message["reward"]["seq"].as_u64();
            let rewarded =
                message["points"].as_u64().is_some_and(|points| points.is_multiple_of(10));
            if reward != rewarded.then_some(seq + 1) {
                broken.push(format!("another reward than is due: {message}"));
            }
        }
        if places.windows(2).any(|pair| pair[0] != pair[1]) {
            broken.push(format!("a repeat answered another message: {places:?} {post:?}"));
        }
        let least = usize::from(!stored.is_empty() && !places.iter().any(|seq| deleted(*seq)));
        let most =
            if post.keyed { 1 } else { least.max(usize::from(!stored.is_empty())) + unknown };
        let most = if stored.is_empty() && unknown == 0 { 0 } else { most };
        if !(least..=most).contains(&found.len()) {
            broken.push(format!(
                "stored {} times instead of {least} to {most}: {post:?}",
                found.len()
            ));
        }
    }
}

/// A poller saw every message once and in order.
fn check_polled(world: &World, conversations: &[Option<Vec<Value>>], broken: &mut Vec<String>) {
    let known = world.known();
    for (conversation, seen) in known.polled.iter().enumerate() {
        let Some(messages) = &conversations[conversation] else { continue };
        let identity = |message: &Value| {
            (message["seq"].clone(), message["points"].clone(), message["author_id"].clone())
        };
        if !seen.iter().map(identity).eq(messages.iter().map(identity)) {
            let places: Vec<&Value> = seen.iter().map(|message| &message["seq"]).collect();
            broken.push(format!(
                "conversation {conversation}: of {} messages a poller saw {places:?}",
                messages.len()
            ));
        }
    }
}

/// What was said to be deleted is empty, and what was said to be edited is changed.
fn check_changes(world: &World, conversations: &[Option<Vec<Value>>], broken: &mut Vec<String>) {
    let known = world.known();
    let at = |(conversation, seq): (usize, u64)| {
        let messages = conversations[conversation].as_ref()?;
        messages.get(usize::try_from(seq).ok()? - 1)
    };
    let deletions: BTreeMap<(usize, u64), bool> = known.deletions.iter().copied().collect();
    for (place, answered) in &deletions {
        if let Some(message) = at(*place) {
            let emptied = message["text"] == ""
                && message["metadata"] == json!({})
                && message["deleted_at"].is_string();
            if *answered && !emptied {
                broken.push(format!("told that it is deleted: {message}"));
            }
        }
    }
    for place in known.edits.iter().filter(|place| !deletions.contains_key(place)) {
        let Some(message) = at(*place) else { continue };
        if !message["text"].as_str().is_some_and(|text| text.starts_with("edited"))
            || message["edited_at"].is_null()
        {
            broken.push(format!("told that it is edited: {message}"));
        }
    }
}
