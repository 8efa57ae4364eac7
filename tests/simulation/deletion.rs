//! The deletion of conversations and profiles, and the job that removes deleted conversations.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tests::dynamodb::invocations::Crash;
use tests::guarantees::Post;
use tokio::time::{Instant, sleep};

use crate::changers::{edit_message, rename};
use crate::clients::post_until_known;
use crate::creators::delete;
use crate::members::mark;
use crate::requests::Ask;
use crate::standing::{MemberChange, change_member};
use crate::stored::Stored;
use crate::world::World;

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
        let user = rng.bool().then(|| world.owner(conversation));
        let confirmed = delete(&world, &mut rng, "delete-conversation", user, path).await;
        world.mark_deleted(&world.conversations[conversation], confirmed);
        if confirmed {
            world.known().ended_conversations.insert(conversation, Instant::now());
        }
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
        world.begin_deletion(&world.authors[author]);
        let user = rng.bool().then(|| world.owners[author]);
        let confirmed = delete(&world, &mut rng, "delete-profile", user, path).await;
        world.mark_deleted(&world.authors[author], confirmed);
    }
}

/// Runs the job once. It may die. Returns whether it succeeded.
async fn purge(world: &World) -> bool {
    world.purge(INVOCATION / world.haste.min(2), world.draw_crash("purge-deleted")).await
}

/// Waits for the end of the retention, runs the job while late requests arrive, and checks that
/// nothing of the deleted conversations remains. [`crate::rest`] checks the deleted profiles.
pub(crate) async fn purge_when_due(world: &Arc<World>, rng: &mut Rng) {
    let mut deleted = world.known().deleted_conversations.clone();
    deleted.retain(|conversation| is_marked(world, *conversation));
    sleep(RETENTION - Duration::from_secs(20)).await;
    world.storm();
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
    world.calm();
    sleep(Duration::from_secs(40)).await;
    // A profile is removed by a run that finds no membership of it.
    for _ in 0..3 {
        if !world.purge(INVOCATION, Crash::Never).await {
            world.violation("purge-deleted failed without a fault".to_owned());
        }
        sleep(Duration::from_secs(5)).await;
    }
    // What a late attempt has stored in between, the job would not find.
    sleep(Duration::from_secs(40)).await;
    check_removed(world, &deleted);
}

/// Posts into a deleted conversation, repeats an earlier post, edits, renames, deletes and reads.
async fn late_requests(world: Arc<World>, mut rng: Rng, number: usize, conversation: usize) {
    let (before, place) = {
        let known = world.known();
        let mut posts = known.posts.iter();
        let before = posts.find(|post| post.conversation == conversation && post.keyed).cloned();
        let mut stored = known.stored.iter().filter(|(there, ..)| *there == conversation);
        (before, stored.next().map(|(_, seq, _)| *seq))
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
        if let Some(seq) = place {
            let text = format!("edited late, {number}, {attempt}");
            edit_message(&world, &mut rng, None, conversation, seq, text).await;
        }
        let subject = format!("Renamed late, {number}, {attempt}");
        rename(&world, &mut rng, None, conversation, subject).await;
        change_members(&world, &mut rng, conversation).await;
        let after = vec![("after", "0.0".to_owned())];
        let reads = [("get-conversation", Vec::new()), ("list-changes", after)];
        for (function, query) in reads {
            let path = vec![world.path(conversation)];
            let ask = Ask { function, path, query, ..Ask::default() };
            let status = world.ask(ask).await.status;
            if !matches!(status, 404 | 500 | 503) {
                world.violation(format!("{function} of a deleted conversation: {status}"));
            }
        }
        if rng.bool() {
            let path = vec![world.path(conversation)];
            let ask = Ask { function: "delete-conversation", path, ..Ask::default() };
            world.ask(ask).await;
        }
    }
}

/// Adds, marks and removes a member of a deleted conversation.
async fn change_members(world: &World, rng: &mut Rng, conversation: usize) {
    let candidate = rng.choice(&world.known().candidates).expect("a candidate").clone();
    for change in [MemberChange::Put(None), MemberChange::Remove] {
        change_member(world, None, conversation, &candidate, change).await;
        let seq = rng.u64(..5);
        mark(world, rng, conversation, &candidate, seq).await;
    }
}

/// Returns whether a conversation is marked deleted, or gone. A deletion may have failed.
fn is_marked(world: &World, conversation: usize) -> bool {
    Stored::read(world).head(&world.conversations[conversation]).is_none()
}

/// Checks that nothing of the deleted conversations is in the table.
fn check_removed(world: &World, deleted: &[usize]) {
    let stored = Stored::read(world);
    for conversation in deleted {
        let id = &world.conversations[*conversation];
        let keys = stored.keys(id);
        if keys.is_empty() {
            world.known().purged += 1;
        } else {
            world.violation(format!("conversation {conversation} was purged, but has {keys:?}"));
        }
    }
}
