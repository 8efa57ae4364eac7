//! Clients that add and remove members, join and leave, read their inboxes, and mark messages as
//! read. Those who were removed try what they may no longer do.

use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Value, json};
use tests::dynamodb::invocations::Crash;
use tests::guarantees::{Post, Response};

use crate::changers::{delete_message, edit_message, rename};
use crate::clients::{post_until_known, send};
use crate::requests::{Answer, Ask};
use crate::standing::{Candidate, MemberChange, change_member};
use crate::world::World;

const ROLES: [Option<&str>; 4] = [None, None, Some("member"), Some("moderator")];

/// Adds and removes members, sets roles, joins and leaves.
pub(crate) async fn manager(world: Arc<World>, mut rng: Rng, conversation: usize) {
    for _ in 0..rng.u32(2..12) {
        world.pause(&mut rng, 500).await;
        let candidate = draw_candidate(&world, &mut rng);
        let by = match rng.u32(..4) {
            0 => world.draw_user(&mut rng),
            1 => Some(world.owner(conversation)),
            _ => Some(candidate.owner),
        };
        let moderates = by.is_none_or(|user| user == world.owner(conversation));
        let change = match rng.bool() {
            true if moderates => MemberChange::Put(*rng.choice(&ROLES).expect("a role")),
            true => MemberChange::Put(None),
            false => MemberChange::Remove,
        };
        let change = change_member(&world, by, conversation, &candidate, change);
        let removed = change.await.status == 204;
        if removed && world.may_hide(conversation, Some(candidate.owner)) {
            // Not in the same moment as the response.
            world.pause(&mut rng, 50).await;
            for _ in 0..rng.u32(1..5) {
                try_as_removed(&world, &mut rng, conversation, &candidate).await;
            }
        }
    }
}

/// Draws a profile that can be a member.
fn draw_candidate(world: &World, rng: &mut Rng) -> Candidate {
    rng.choice(&world.known().candidates).expect("a candidate").clone()
}

/// Sends a request to a private conversation for someone who was removed.
async fn try_as_removed(
    world: &Arc<World>,
    rng: &mut Rng,
    conversation: usize,
    candidate: &Candidate,
) {
    let user = Some(candidate.owner);
    let number = rng.u32(..);
    match rng.u32(..9) {
        0 => {
            let seq = rng.u64(..5);
            mark(world, rng, conversation, candidate, seq).await;
        }
        1 => replay(world, rng, conversation, candidate.owner).await,
        2 => {
            let Some(seq) = draw_message(world, rng, conversation) else { return };
            let text = format!("edited outside, {number}");
            edit_message(world, rng, user, conversation, seq, text).await;
        }
        3 => rename(world, rng, user, conversation, format!("Renamed outside, {number}")).await,
        4 => {
            let Some(seq) = draw_message(world, rng, conversation) else { return };
            delete_message(world, rng, user, conversation, seq).await;
        }
        5 => {
            let join = MemberChange::Put(None);
            change_member(world, user, conversation, candidate, join).await;
        }
        6 => {
            let path = vec![world.path(conversation)];
            let ask = Ask { function: "delete-conversation", user, path, ..Ask::default() };
            let answer = world.ask_until(ask, Crash::Never).await;
            if !matches!(answer.status, 403 | 404 | 500 | 503) {
                world.violation(format!("a member deleted a conversation: {answer:?}"));
            }
        }
        7 => {
            let name = format!("outside-{number}");
            let author = world.authors.iter().position(|id| *id == candidate.id);
            let Some(author) = author else { return };
            let keyed = rng.bool();
            let post = Post { name, author, conversation, keyed, responses: Vec::new() };
            post_until_known(world, rng, &post).await;
        }
        _ => drop(read(world, rng, user, conversation).await),
    }
}

/// Draws one of the messages of a conversation that clients know.
fn draw_message(world: &World, rng: &mut Rng, conversation: usize) -> Option<u64> {
    let known = world.known();
    let here = known.stored.iter().filter(|(there, ..)| *there == conversation);
    rng.choice(here.map(|(_, seq, _)| *seq).collect::<Vec<_>>())
}

/// Reads something of a conversation.
async fn read(world: &World, rng: &mut Rng, user: Option<usize>, conversation: usize) -> Answer {
    let seq = rng.u64(1..12);
    let mut path = vec![world.path(conversation)];
    let (function, query) = match rng.u32(..8) {
        0 => ("get-conversation", vec![]),
        1 => ("list-messages", vec![]),
        2 => ("list-messages", vec![("before", seq.to_string())]),
        3 => ("list-messages", vec![("after", seq.to_string())]),
        4 => ("list-changes", vec![("after", "0.0".to_owned())]),
        5 => ("list-changes", vec![("after", format!("{}.0", seq * 100))]),
        6 => ("list-members", vec![("limit", "2".to_owned())]),
        _ => {
            path.push(("seq", seq.to_string()));
            ("get-message", vec![])
        }
    };
    let answer = world.ask(Ask { function, user, path, query, ..Ask::default() }).await;
    let known = match answer.status {
        200 | 500 | 503 => true,
        404 => {
            function == "get-message"
                || world.is_deleted(conversation)
                || world.may_hide(conversation, user)
        }
        410 => answer.code == "cursor_unknown",
        _ => false,
    };
    if !known {
        world.violation(format!("{function}: {answer:?}"));
    }
    answer
}

/// Repeats an earlier post with its key.
async fn replay(world: &Arc<World>, rng: &mut Rng, conversation: usize, user: usize) {
    let mut earlier: Vec<Post> = world.known().posts.clone();
    earlier.retain(|post| {
        let is_stored = |response: &Response| matches!(response, Response::Stored(_));
        post.keyed
            && post.conversation == conversation
            && world.owners[post.author] == user
            && post.responses.iter().any(is_stored)
    });
    let Some(post) = rng.choice(earlier) else { return };
    let post = Post { responses: Vec::new(), ..post };
    post_until_known(world, rng, &post).await;
}

/// Removes a member while that member reads and others post.
pub(crate) async fn race(world: Arc<World>, mut rng: Rng, conversation: usize) {
    for number in 0..rng.u32(1..4) {
        world.pause(&mut rng, 2500).await;
        let candidate = draw_candidate(&world, &mut rng);
        let put = MemberChange::Put(None);
        let added = change_member(&world, None, conversation, &candidate, put).await;
        if !matches!(added.status, 200 | 201) {
            continue;
        }
        let mut tasks = Vec::new();
        for _ in 0..rng.u32(1..6) {
            let (world, mut rng, user) = (world.clone(), rng.fork(), Some(candidate.owner));
            tasks.push(tokio::spawn(async move {
                world.pause(&mut rng, 60).await;
                read(&world, &mut rng, user, conversation).await;
            }));
        }
        world.pause(&mut rng, 40).await;
        let remove = MemberChange::Remove;
        change_member(&world, None, conversation, &candidate, remove).await;
        world.pause(&mut rng, 5).await;
        let author = world.origins[conversation].author;
        let name = format!("race-{conversation}-{number}-{}", rng.u32(..));
        let post = Post { name, author, conversation, keyed: false, responses: Vec::new() };
        let response = send(&world, &post, None).await;
        world.known().posts.push(Post { responses: vec![response], ..post });
        for task in tasks {
            task.await.expect("no panic");
        }
    }
}

/// Marks messages as read for the profiles of a user, sometimes fewer than before, and reads
/// inboxes.
pub(crate) async fn member(world: Arc<World>, mut rng: Rng, user: usize) {
    for _ in 0..rng.u32(4..14) {
        world.pause(&mut rng, 600).await;
        let candidate = draw_candidate(&world, &mut rng);
        if rng.u32(..3) == 0 {
            read_inbox(&world, &mut rng, Some(user), &candidate).await;
            continue;
        }
        let conversation = rng.usize(..world.conversations.len());
        let Candidate { id, owner } = candidate;
        let candidate = Candidate { id, owner: if rng.u32(..6) == 0 { user } else { owner } };
        let seq = rng.u64(..20);
        let mut later = rng.fork();
        if rng.bool() {
            mark(&world, &mut rng, conversation, &candidate, seq).await;
        } else {
            let second = later.u64(..20);
            tokio::join!(mark(&world, &mut rng, conversation, &candidate, seq), async {
                world.pause(&mut later, 40).await;
                mark(&world, &mut later, conversation, &candidate, second).await
            });
        }
    }
}

/// Marks messages as read, once.
pub(crate) async fn mark(
    world: &World,
    rng: &mut Rng,
    conversation: usize,
    candidate: &Candidate,
    seq: u64,
) -> Answer {
    world.pause(rng, 20).await;
    let user = Some(candidate.owner);
    let path = vec![world.path(conversation), ("profile_id", candidate.id.clone())];
    let body = json!({ "seq": seq });
    let ask = Ask { function: "mark-read", user, path, body, ..Ask::default() };
    let answer = world.ask(ask).await;
    let holds = match answer.status {
        200 => answer.body["read_seq"].as_u64() >= Some(seq),
        403 => world
            .known()
            .candidates
            .iter()
            .all(|one| one.id != candidate.id || one.owner != candidate.owner),
        404 | 500 | 503 => true,
        422 => answer.code == "invalid",
        _ => false,
    };
    if !holds {
        world.violation(format!("mark-read up to {seq}: {answer:?}"));
    }
    answer
}

/// Reads an inbox page by page. Returns its entries if that was possible.
pub(crate) async fn read_inbox(
    world: &World,
    rng: &mut Rng,
    user: Option<usize>,
    candidate: &Candidate,
) -> Option<Vec<Value>> {
    let limit = rng.usize(1..4);
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.map(|after| ("after", after)));
        let path = vec![("profile_id", candidate.id.clone())];
        let ask = Ask { function: "list-memberships", user, path, query, ..Ask::default() };
        let answer = world.ask(ask).await;
        let is_own = user.is_none_or(|user| user == candidate.owner);
        let holds = match answer.status {
            200 => is_own,
            403 => !is_own,
            404 => world.known().ended_profiles.contains_key(&candidate.id),
            500 | 503 => true,
            _ => false,
        };
        let page = answer.results();
        let order = page.iter().map(activity).collect::<Vec<_>>();
        if !holds || !order.is_sorted_by(|one, next| one > next) {
            world.violation(format!("inbox of {candidate:?} for {user:?}: {answer:?}"));
        }
        if answer.status != 200 {
            return None;
        }
        entries.extend(page);
        let next = answer.body["next"].as_str();
        let next = next.and_then(|next| Some(next.split_once("after=")?.1.to_owned()));
        after = Some(match next {
            Some(next) => next,
            None => return Some(entries),
        });
    }
}

/// Returns the order of an entry in an inbox.
pub(crate) fn activity(entry: &Value) -> (String, String) {
    let conversation = &entry["conversation"];
    let text = |name: &str| conversation[name].as_str().map(str::to_owned);
    let at = text("last_message_at").or(text("created_at"));
    (at.unwrap_or_default(), text("id").unwrap_or_default())
}

/// Adds a profile to a conversation for an administrator, until that is confirmed or impossible.
pub(crate) async fn add(world: &World, rng: &mut Rng, conversation: usize, candidate: &Candidate) {
    for _ in 0..6 {
        let put = MemberChange::Put(*rng.choice(&ROLES).expect("a role"));
        let answer = change_member(world, None, conversation, candidate, put).await;
        if !matches!(answer.status, 500 | 503) {
            return;
        }
        world.pause(rng, 1000).await;
    }
}
