//! The deletion of conversations and profiles, and the job that removes deleted conversations.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tests::guarantees::Post;
use tokio::time::sleep;

use crate::clients::post_until_known;
use crate::creators::delete;
use crate::world::{Ask, World};

/// The time from a deletion until the items are removed.
const RETENTION: Duration = Duration::from_secs(10 * 60);
/// The time of one invocation of the job.
const INVOCATION: Duration = Duration::from_secs(8);

/// Deletes conversations and profiles in some runs, while others use them.
pub(crate) async fn deleter(world: Arc<World>, mut rng: Rng) {
    if rng.u32(..3) == 0 {
        world.pause(&mut rng, 2000).await;
        let conversation = rng.usize(..world.conversations.len());
        world.known().deleted_conversations.push(conversation);
        let path = vec![world.path(conversation)];
        let confirmed = delete(&world, &mut rng, "delete-conversation", path).await;
        world.mark_deleted(&format!("Conversation {conversation}"), confirmed);
        // Nothing is due yet. A job that removed items now would leave some.
        for _ in 0..rng.u32(3..12) {
            purge(&world).await;
            world.pause(&mut rng, 100).await;
        }
    }
    if rng.u32(..8) == 0 {
        world.pause(&mut rng, 2000).await;
        let author = rng.usize(..world.authors.len());
        world.known().deleted_profiles.push(author);
        let path = vec![("profile_id", world.authors[author].clone())];
        let confirmed = delete(&world, &mut rng, "delete-profile", path).await;
        world.mark_deleted(&format!("Author {author}"), confirmed);
    }
}

/// Runs the job once. Returns whether it succeeded.
async fn purge(world: &World) -> bool {
    let deadline = tokio::time::Instant::now() + INVOCATION / world.haste.min(2);
    let table = world.table.for_request(deadline);
    let succeeded = functions::jobs::purge_deleted(table).await.is_ok();
    world.dynamodb.note(&format!("purge-deleted {succeeded}"));
    succeeded
}

/// Waits for the end of the retention, runs the job while late requests arrive, and checks that
/// nothing of the deleted conversations remains.
pub(crate) async fn purge_when_due(world: &Arc<World>, rng: &mut Rng, trouble: u32) {
    let deleted = deleted(world);
    if deleted.is_empty() {
        return;
    }
    sleep(RETENTION - Duration::from_secs(20)).await;
    world.dynamodb.storm(trouble);
    let mut late = Vec::new();
    for (number, conversation) in deleted.iter().enumerate() {
        late.push(tokio::spawn(late_requests(world.clone(), rng.fork(), number, *conversation)));
    }
    for _ in 0..rng.u32(2..5) {
        world.pause(rng, 15_000).await;
        let (one, mut rng) = (world.clone(), rng.fork());
        late.push(tokio::spawn(async move {
            purge(&one).await;
            one.pause(&mut rng, 1000).await;
            purge(&one).await;
        }));
    }
    for task in late {
        task.await.expect("no panic");
    }
    world.dynamodb.calm();
    sleep(Duration::from_secs(20)).await;
    if !purge(world).await {
        world.violation("purge-deleted failed without a fault".to_owned());
    }
    // An attempt that arrives now would leave an item that the job does not find.
    sleep(Duration::from_secs(20)).await;
    check_removed(world, &deleted);
}

/// Posts into a deleted conversation, repeats an earlier post, and reads it.
async fn late_requests(world: Arc<World>, mut rng: Rng, number: usize, conversation: usize) {
    let before = {
        let known = world.known();
        let mut posts = known.posts.iter();
        posts.find(|post| post.conversation == conversation && post.keyed).cloned()
    };
    for attempt in 0..6 {
        world.pause(&mut rng, 6000).await;
        let name = format!("late-{number}-{attempt}");
        let (author, keyed) = (rng.usize(..world.authors.len()), rng.bool());
        let post = Post { name, author, conversation, keyed, responses: Vec::new() };
        post_until_known(&world, &mut rng, &post).await;
        if let Some(post) = &before {
            let post = Post { responses: Vec::new(), ..post.clone() };
            post_until_known(&world, &mut rng, &post).await;
        }
        let path = vec![world.path(conversation)];
        let ask = Ask { function: "get-conversation", path, ..Ask::default() };
        let status = world.ask(ask).await.status;
        if !matches!(status, 404 | 503) {
            world.violation(format!("a deleted conversation answered {status}"));
        }
    }
}

/// Returns the conversations that are marked deleted, or gone. A deletion may have failed.
fn deleted(world: &World) -> Vec<usize> {
    let items = world.dynamodb.all_items("chat");
    let mut deleted = world.known().deleted_conversations.clone();
    deleted.retain(|conversation| {
        let pk = format!("CONVERSATION#{}", world.conversations[*conversation]);
        let mut heads = items.iter().filter(|item| item["sk"]["S"] == "CONVERSATION");
        !heads.any(|item| item["pk"]["S"] == *pk && item["deleted_at"].is_null())
    });
    deleted
}

/// Checks that nothing of the deleted conversations is in the table.
fn check_removed(world: &World, deleted: &[usize]) {
    let items = world.dynamodb.all_items("chat");
    for conversation in deleted {
        let pk = format!("CONVERSATION#{}", world.conversations[*conversation]);
        let here = items.iter().filter(|item| item["pk"]["S"] == *pk);
        let keys: Vec<&str> = here.filter_map(|item| item["sk"]["S"].as_str()).collect();
        if keys.is_empty() {
            world.known().purged += 1;
        } else {
            world.violation(format!("conversation {conversation} was purged, but has {keys:?}"));
        }
    }
}
