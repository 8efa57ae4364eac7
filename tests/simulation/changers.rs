//! Clients that change what others change too: messages, subjects and job titles.

use std::sync::Arc;

use fastrand::Rng;
use serde_json::json;
use tests::guarantees::Change;

use crate::attempts::{Outcome, attempt};
use crate::observed::message_id;
use crate::requests::Ask;
use crate::world::World;

/// Draws a version for `If-Match`: none, the newest that a response showed, or an older one.
fn draw_expected(world: &World, rng: &mut Rng, thing: &str) -> Option<u64> {
    let newest = world.known().observed.version(thing)?;
    match rng.u32(..6) {
        0..=2 => None,
        3 | 4 => Some(newest),
        _ => {
            let known = world.known();
            let versions: Vec<u64> =
                known.observed.contents(thing).map(|(version, _)| version).collect();
            rng.choice(versions)
        }
    }
}

/// Draws one of the messages that clients know, often one of the first, which others choose too.
fn draw_message(world: &World, rng: &mut Rng) -> Option<(usize, u64)> {
    let known = world.known();
    let count = if rng.bool() { known.stored.len() } else { known.stored.len().min(2) };
    let (conversation, seq, _) = *known.stored.get(rng.usize(..count.max(1)))?;
    Some((conversation, seq))
}

/// Edits messages, and deletes some, while others do the same.
pub(crate) async fn editor(world: Arc<World>, mut rng: Rng, client: usize) {
    for number in 0..rng.u32(2..9) {
        world.pause(&mut rng, 500).await;
        let Some((conversation, seq)) = draw_message(&world, &mut rng) else { continue };
        if rng.u32(..12) == 0 {
            let user = world.draw_user(&mut rng);
            delete_message(&world, &mut rng, user, conversation, seq).await;
        } else {
            let text = format!("edited by {client}, {number}");
            let user = world.draw_user(&mut rng);
            edit_message(&world, &mut rng, user, conversation, seq, text).await;
        }
    }
}

/// Renames conversations.
pub(crate) async fn renamer(world: Arc<World>, mut rng: Rng, client: usize) {
    for number in 0..rng.u32(1..5) {
        world.pause(&mut rng, 800).await;
        let conversation = rng.usize(..world.conversations.len());
        let subject = format!("Renamed by {client}, {number}");
        let user = world.draw_user(&mut rng);
        rename(&world, &mut rng, user, conversation, subject).await;
    }
}

/// Renames a conversation, once.
pub(crate) async fn rename(
    world: &World,
    rng: &mut Rng,
    user: Option<usize>,
    conversation: usize,
    subject: String,
) {
    let id = &world.conversations[conversation];
    let path = vec![world.path(conversation)];
    let expected = draw_expected(world, rng, id);
    let body = json!({ "subject": subject });
    let ask = Ask { function: "update-conversation", user, path, expected, body, ..Ask::default() };
    attempt(world, ask, id, Some(subject)).await;
}

/// Changes the job titles of authors.
pub(crate) async fn promoter(world: Arc<World>, mut rng: Rng, client: usize) {
    for number in 0..rng.u32(1..5) {
        world.pause(&mut rng, 800).await;
        let id = rng.choice(&world.authors).expect("an author").clone();
        let title = format!("Title by {client}, {number}");
        let path = vec![("profile_id", id.clone())];
        let expected = draw_expected(&world, &mut rng, &id);
        let body = json!({ "job_title": title });
        let ask = Ask { function: "update-profile", path, expected, body, ..Ask::default() };
        attempt(&world, ask, &id, Some(title)).await;
    }
}

fn message_path(world: &World, conversation: usize, seq: u64) -> Vec<(&'static str, String)> {
    vec![world.path(conversation), ("seq", seq.to_string())]
}

/// Edits a message. Some clients repeat the edit, with another text, when they get no answer.
pub(crate) async fn edit_message(
    world: &World,
    rng: &mut Rng,
    user: Option<usize>,
    conversation: usize,
    seq: u64,
    text: String,
) {
    let thing = message_id(&world.conversations[conversation], seq);
    for number in 0..rng.u32(1..4) {
        let text = if number == 0 { text.clone() } else { format!("{text}, again {number}") };
        let path = message_path(world, conversation, seq);
        let expected = draw_expected(world, rng, &thing);
        let body = match rng.bool() {
            true => json!({ "text": text, "metadata": { "edit": text } }),
            false => json!({ "text": text }),
        };
        let ask = Ask { function: "update-message", user, path, expected, body, ..Ask::default() };
        let (outcome, answer) = attempt(world, ask, &thing, Some(text)).await;
        let confirmed = matches!(outcome, Outcome::Confirmed(_));
        world.known().edits.push(Change { conversation, seq, confirmed });
        if !matches!(answer.status, 500 | 503) {
            return;
        }
    }
}

/// Deletes a message, until the response confirms it; deleting it again confirms it again.
pub(crate) async fn delete_message(
    world: &World,
    rng: &mut Rng,
    user: Option<usize>,
    conversation: usize,
    seq: u64,
) {
    let index = {
        let mut known = world.known();
        known.deletions.push(Change { conversation, seq, confirmed: false });
        known.deletions.len() - 1
    };
    let thing = message_id(&world.conversations[conversation], seq);
    for _ in 0..rng.u32(1..6) {
        let path = message_path(world, conversation, seq);
        let expected = draw_expected(world, rng, &thing);
        let ask = Ask { function: "delete-message", user, path, expected, ..Ask::default() };
        match attempt(world, ask, &thing, None).await.0 {
            Outcome::Confirmed(_) => {
                world.known().deletions[index].confirmed = true;
                if rng.bool() {
                    return;
                }
            }
            Outcome::Refused(403 | 404 | 412) => return,
            _ => world.pause(rng, 1000).await,
        }
    }
}
