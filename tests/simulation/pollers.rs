//! Clients that poll by `after`, and clients that read pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::Value;
use tokio::time::Instant;

use crate::requests::Ask;
use crate::world::World;

/// The messages that a poller saw.
pub(crate) struct Polled {
    pub(crate) conversation: usize,
    /// The messages, in the order of their arrival.
    pub(crate) messages: Vec<Value>,
    /// When each arrived, by `seq`.
    pub(crate) received: BTreeMap<u64, Instant>,
    /// True if the conversation was hidden from it for a time.
    pub(crate) hidden: bool,
}

/// Polls a conversation by `after` until the world is done and nothing more follows.
pub(crate) async fn poller(
    world: Arc<World>,
    mut rng: Rng,
    user: Option<usize>,
    conversation: usize,
) {
    let (messages, received, hidden) = (Vec::new(), BTreeMap::new(), false);
    let mut polled = Polled { conversation, messages, received, hidden };
    loop {
        let last_round = world.is_done();
        let after = polled.messages.last().map_or("0".to_owned(), |last| last["seq"].to_string());
        let limit = rng.usize(1..=20);
        let query = vec![("after", after), ("limit", limit.to_string())];
        let path = vec![world.path(conversation)];
        let ask = Ask { function: "list-messages", user, path, query, ..Ask::default() };
        let answer = world.ask(ask).await;
        let page = answer.results();
        let is_full = page.len() == limit;
        match answer.status {
            200 if last_round && page.is_empty() => break,
            200 => {
                let seqs = page.iter().filter_map(|message| message["seq"].as_u64());
                polled.received.extend(seqs.map(|seq| (seq, Instant::now())));
                polled.messages.extend(page);
            }
            404 if world.is_deleted(conversation) => break,
            404 if world.may_hide(conversation, user) => {
                if last_round {
                    return;
                }
                polled.hidden = true;
            }
            500 | 503 => {}
            status => world.violation(format!("a poll answered {status}")),
        }
        if !is_full {
            world.poll_pause(&mut rng).await;
        }
    }
    world.known().polled.push(polled);
}

/// Reads pages of a conversation now and then.
pub(crate) async fn reader(
    world: Arc<World>,
    mut rng: Rng,
    user: Option<usize>,
    conversation: usize,
) {
    for _ in 0..8 {
        world.pause(&mut rng, 600).await;
        let limit = rng.u64(1..=60);
        let (function, mut query) = match rng.u32(..3) {
            0 => ("list-messages", vec![("before", rng.u64(1..30).to_string())]),
            1 => ("list-messages", Vec::new()),
            _ => ("get-conversation", Vec::new()),
        };
        query.push(("limit", limit.to_string()));
        let path = vec![world.path(conversation)];
        let ask = Ask { function, user, path, query: query.clone(), ..Ask::default() };
        let answer = world.ask(ask).await;
        match answer.status {
            200 => check_page(&world, &query, limit, &answer.body),
            404 if world.is_deleted(conversation) => break,
            404 if world.may_hide(conversation, user) => {}
            500 | 503 => {}
            status => world.violation(format!("{function} answered {status}")),
        }
    }
}

/// Checks that a page has no gap, continues until the first message, and fits its conversation.
fn check_page(world: &World, query: &[(&str, String)], limit: u64, body: &Value) {
    let page = if body["messages"].is_object() { &body["messages"] } else { body };
    let results = page["results"].as_array().into_iter().flatten();
    let seqs: Vec<u64> = results.filter_map(|message| message["seq"].as_u64()).collect();
    let unbroken = seqs.windows(2).all(|pair| pair[0] == pair[1] + 1);
    let complete = seqs.len() as u64 == limit || seqs.last().is_none_or(|last| *last == 1);
    let continues = page["next"].is_string() == seqs.last().is_some_and(|last| *last > 1);
    let newest = seqs.first().copied().unwrap_or_default();
    let before = query.iter().find(|(name, _)| *name == "before");
    let below = before.is_none_or(|(_, before)| newest < before.parse().unwrap_or_default());
    let fits = body["last_seq"].is_null()
        || (body["last_seq"].as_u64() >= Some(newest)
            && body["cursor"]
                .as_str()
                .is_some_and(|cursor| cursor.starts_with(&format!("{newest}."))));
    if !(unbroken && complete && continues && below && fits) {
        world.violation(format!("a page with a gap: {query:?}, {seqs:?}, {}", body["cursor"]));
    }
}
