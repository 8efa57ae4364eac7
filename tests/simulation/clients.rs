//! Clients that post: they repeat requests and give up. Some edit or delete what they posted.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tests::dynamodb::invocations::Crash;
use tests::guarantees::{Post, Response};
use tokio::time::{Instant, sleep, timeout};

use crate::changers::{delete_message, edit_message};
use crate::requests::Ask;
use crate::world::World;

/// A client that posts some messages, and edits or deletes some of them.
pub(crate) async fn poster(world: Arc<World>, mut rng: Rng, client: usize, author: usize) {
    let user = Some(world.owners[author]);
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
            0 => delete_message(&world, &mut rng, user, post.conversation, seq).await,
            1 | 2 => {
                let text = format!("edited {}", post.name);
                edit_message(&world, &mut rng, user, post.conversation, seq, text).await;
            }
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
            Some(Response::Refused(429 | 503)) => sleep(Duration::from_secs(1) / world.haste).await,
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
    send_until(world, post, key, world.draw_crash("create-message")).await
}

/// Sends one request to post, to a function that dies at this point.
async fn send_until(world: &World, post: &Post, key: Option<String>, crash: Crash) -> Response {
    let author = &world.authors[post.author];
    let body = json!({ "author_id": author, "text": "x", "metadata": { "name": post.name } });
    let path = vec![world.path(post.conversation)];
    let user = Some(world.owners[post.author]);
    let ask = Ask { function: "create-message", user, path, key, body, ..Ask::default() };
    let answer = world.ask_until(ask, crash).await;
    match answer.status {
        201 => {
            if answer.replayed && !post.keyed {
                world.violation(format!("a replay without a key: {post:?}"));
            }
            let seq = answer.body["seq"].as_u64().unwrap_or_default();
            world.known().stored.push((post.conversation, seq, Instant::now()));
            Response::Stored(answer.body)
        }
        410 => Response::Gone,
        500 => Response::Undecided,
        status => Response::Refused(status),
    }
}

/// Sends more posts than a conversation admits in a second. All functions die after they have
/// reserved a place. Then some clients are refused.
pub(crate) async fn crowd(world: Arc<World>, mut rng: Rng) {
    world.pause(&mut rng, 2000).await;
    let post = |number: usize, author: usize| {
        let name = format!("crowd-{number}");
        Post { name, author, conversation: 0, keyed: false, responses: Vec::new() }
    };
    let mut tasks = Vec::new();
    for number in 0..310 {
        let post = post(number, rng.usize(..world.authors.len()));
        let (world, mut rng) = (world.clone(), rng.fork());
        tasks.push(tokio::spawn(async move {
            // The first one begins a new second for the admission.
            if number > 0 {
                sleep(Duration::from_millis(100)).await;
                world.pause(&mut rng, 100).await;
            }
            let response = send_until(&world, &post, None, Crash::AtResponse(2)).await;
            world.known().posts.push(Post { responses: vec![response], ..post });
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    for number in 310..313 {
        let post = post(number, rng.usize(..world.authors.len()));
        post_until_known(&world, &mut rng, &post).await;
    }
}
