//! Clients of one conversation: they post, repeat requests, give up, edit, delete, poll and read.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tests::guarantees::{Change, Post, Response};
use tokio::time::{sleep, timeout};

use crate::world::{Ask, World};

/// A client that posts some messages, and edits or deletes some of them.
pub(crate) async fn poster(world: Arc<World>, mut rng: Rng, client: usize, author: usize) {
    for number in 0..rng.usize(3..9) {
        world.pause(&mut rng, 400).await;
        let post = Post {
            name: format!("{client}-{number}"),
            author,
            conversation: rng.usize(..world.conversations.len()),
            keyed: rng.u32(..10) < 6,
            responses: Vec::new(),
        };
        let Some(seq) = post_until_known(&world, &mut rng, &post).await else { continue };
        match rng.u32(..12) {
            0 => delete_until_confirmed(&world, &mut rng, post.conversation, seq).await,
            1 | 2 => edit(&world, &post, seq).await,
            _ => {}
        }
    }
}

/// Posts until the outcome is known, as far as it can be. Returns the `seq` if it is stored.
pub(crate) async fn post_until_known(
    world: &Arc<World>,
    rng: &mut Rng,
    post: &Post,
) -> Option<u64> {
    let index = {
        let mut known = world.known();
        known.posts.push(post.clone());
        known.posts.len() - 1
    };
    let key = post.keyed.then(|| format!("post-{}", post.name));
    let mut seq = None;
    for _ in 0..6 {
        let responses = match &key {
            Some(key) if rng.u32(..6) == 0 => twice(world, rng, post, key).await,
            _ => vec![once(world, rng, post, key.clone()).await],
        };
        let last = responses.last().cloned();
        for response in &responses {
            if let Response::Stored(message) = response {
                seq = message["seq"].as_u64();
            }
        }
        world.known().posts[index].responses.extend(responses);
        match last {
            // Some clients repeat although the post is stored.
            Some(Response::Stored(_)) if key.is_some() && rng.u32(..4) == 0 => {}
            Some(Response::Undecided) if key.is_some() => {}
            Some(Response::Refused(503)) => sleep(Duration::from_secs(1) / world.haste).await,
            _ => break,
        }
        // Many repeat immediately, while the first attempt may still be committed.
        if rng.bool() {
            world.pause(rng, 200).await;
        }
    }
    seq
}

/// Sends a post twice, the second time while the first may be in progress.
async fn twice(world: &World, rng: &mut Rng, post: &Post, key: &str) -> Vec<Response> {
    let mut later = rng.fork();
    let (one, other) = tokio::join!(send(world, post, Some(key.to_owned())), async {
        world.pause(&mut later, 150).await;
        send(world, post, Some(key.to_owned())).await
    });
    vec![one, other]
}

/// Sends a post. Some clients give up; the service continues.
async fn once(world: &Arc<World>, rng: &mut Rng, post: &Post, key: Option<String>) -> Response {
    let (task_world, task_post) = (world.clone(), post.clone());
    let sent = tokio::spawn(async move { send(&task_world, &task_post, key).await });
    let patience = match rng.u32(..6) {
        0 => Duration::from_millis(rng.u64(1..300)),
        _ => Duration::from_secs(60),
    };
    match timeout(patience / world.haste.min(4), sent).await {
        Ok(response) => response.expect("no panic"),
        Err(_) => Response::Undecided,
    }
}

/// Sends one request to post.
pub(crate) async fn send(world: &World, post: &Post, key: Option<String>) -> Response {
    let author = &world.authors[post.author];
    let body = json!({ "author_id": author, "text": "x", "metadata": { "name": post.name } });
    let path = vec![world.path(post.conversation)];
    let ask = Ask { function: "create-message", path, key, body, ..Ask::default() };
    let answer = world.ask(ask).await;
    match answer.status {
        201 if answer.replayed && !post.keyed => {
            world.violation(format!("a replay without a key: {post:?}"));
            Response::Stored(answer.body)
        }
        201 => Response::Stored(answer.body),
        410 => Response::Gone,
        500 => Response::Undecided,
        status => Response::Refused(status),
    }
}

fn message_path(world: &World, conversation: usize, seq: u64) -> Vec<(&'static str, String)> {
    vec![world.path(conversation), ("seq", seq.to_string())]
}

async fn edit(world: &World, post: &Post, seq: u64) {
    let Post { name, conversation, .. } = post;
    let path = message_path(world, *conversation, seq);
    let body = json!({ "text": format!("edited {name}") });
    let ask = Ask { function: "update-message", path, body, ..Ask::default() };
    let confirmed = match world.ask(ask).await.status {
        200 => true,
        404 if world.known().deleted_conversations.contains(conversation) => false,
        500 | 503 => false,
        status => return world.violation(format!("update-message answered {status}")),
    };
    world.known().edits.push(Change { conversation: *conversation, seq, confirmed });
}

/// Deletes a message until the response confirms it; deleting it again confirms it again.
async fn delete_until_confirmed(world: &World, rng: &mut Rng, conversation: usize, seq: u64) {
    let index = {
        let mut known = world.known();
        known.deletions.push(Change { conversation, seq, confirmed: false });
        known.deletions.len() - 1
    };
    for _ in 0..rng.u32(1..6) {
        let path = message_path(world, conversation, seq);
        let ask = Ask { function: "delete-message", path, ..Ask::default() };
        match world.ask(ask).await.status {
            204 => {
                world.known().deletions[index].confirmed = true;
                if rng.bool() {
                    return;
                }
            }
            404 if world.known().deleted_conversations.contains(&conversation) => return,
            500 | 503 => world.pause(rng, 1000).await,
            status => return world.violation(format!("delete-message answered {status}")),
        }
    }
}

/// Polls a conversation by `after` until the world is done and nothing more follows.
pub(crate) async fn poller(world: Arc<World>, mut rng: Rng, conversation: usize) {
    let mut seen: Vec<Value> = Vec::new();
    loop {
        let last_round = world.is_done();
        let after = seen.last().map_or("0".to_owned(), |message| message["seq"].to_string());
        let query = vec![("after", after), ("limit", rng.u32(1..=20).to_string())];
        let path = vec![world.path(conversation)];
        let ask = Ask { function: "list-messages", path, query, ..Ask::default() };
        let answer = world.ask(ask).await;
        let page = answer.body["results"].as_array().cloned().unwrap_or_default();
        match answer.status {
            200 if last_round && page.is_empty() => break,
            200 => seen.extend(page),
            404 if world.known().deleted_conversations.contains(&conversation) => break,
            500 | 503 => {}
            status => world.violation(format!("a poll answered {status}")),
        }
        world.pause(&mut rng, 500).await;
    }
    world.known().polled[conversation] = seen;
}

/// Reads the newest page of a conversation now and then.
pub(crate) async fn reader(world: Arc<World>, mut rng: Rng, conversation: usize) {
    for _ in 0..8 {
        world.pause(&mut rng, 600).await;
        let path = vec![world.path(conversation)];
        let ask = Ask { function: "get-conversation", path, ..Ask::default() };
        let answer = world.ask(ask).await;
        match answer.status {
            200 => check_page(&world, &answer.body),
            404 if world.known().deleted_conversations.contains(&conversation) => break,
            503 => {}
            status => world.violation(format!("get-conversation answered {status}")),
        }
    }
}

/// Checks that a page of the newest messages has no gap, and nothing above `last_seq`.
fn check_page(world: &World, body: &Value) {
    let results = body["messages"]["results"].as_array().into_iter().flatten();
    let seqs: Vec<u64> = results.filter_map(|message| message["seq"].as_u64()).collect();
    let unbroken = seqs.windows(2).all(|pair| pair[0] == pair[1] + 1)
        && (seqs.len() == 50 || seqs.last().is_none_or(|last| *last == 1));
    let last_seq = &body["last_seq"];
    if !unbroken || last_seq.as_u64() < seqs.first().copied() {
        world.violation(format!("a page with a gap: {seqs:?}, last_seq {last_seq}"));
    }
}
