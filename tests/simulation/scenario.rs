//! One run of the simulation.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use local::engine;
use local::template::Template;
use serde_json::json;
use shared::{RateLimit, Table};
use tests::dynamodb::seeded::{Counts, Seeded};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::live::listener::{hoarder, listener};
use crate::live::stream;
use crate::requests::USERS;
use crate::standing::Candidate;
use crate::weather::Weather;
use crate::world::{Origin, World};
use crate::{changers, clients, creators, deletion, followers, members, outcome, pollers};

/// The result of a seed.
pub(crate) struct Run {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) posts: usize,
    pub(crate) changes: usize,
    pub(crate) followers: usize,
    pub(crate) listeners: usize,
    pub(crate) frames: usize,
    pub(crate) crashed_posts: usize,
    pub(crate) purged: usize,
    pub(crate) member_requests: usize,
    pub(crate) hidden: usize,
}

/// The sums over many seeds.
#[derive(Default)]
pub(crate) struct Totals {
    seeds: u64,
    posts: usize,
    changes: usize,
    followers: usize,
    listeners: usize,
    frames: usize,
    crashed_posts: usize,
    purged: usize,
    member_requests: usize,
    hidden: usize,
    counts: Counts,
}

impl Totals {
    pub(crate) fn add(&mut self, run: &Run) {
        self.seeds += 1;
        self.posts += run.posts;
        self.changes += run.changes;
        self.followers += run.followers;
        self.listeners += run.listeners;
        self.frames += run.frames;
        self.crashed_posts += run.crashed_posts;
        self.purged += run.purged;
        self.member_requests += run.member_requests;
        self.hidden += run.hidden;
        self.counts.add(&run.counts);
    }

    pub(crate) fn describe(&self, first: u64) -> String {
        let Self { seeds, posts, changes, followers, crashed_posts, purged, counts, .. } = self;
        let (member_requests, hidden) = (self.member_requests, self.hidden);
        let (listeners, frames) = (self.listeners, self.frames);
        let Counts { requests, faults, late, unreadable, closed_gaps, views } = counts;
        format!(
            "{seeds} seeds from {first}: {posts} posts, {changes} requests to change something, \
             {followers} followers, {listeners} live clients, {frames} frames, {crashed_posts} crashed posts, {closed_gaps} closed gaps, \
             {purged} purged conversations, {member_requests} requests to change a member, {hidden} \
             responses to others than members, {requests} requests to the table, {faults} faults ({late} \
             late arrivals, {unreadable} unreadable responses), {} partial views of transactions, {} \
             early idempotency keys, {} outdated views of the index, {} of an item",
            views.partial, views.early_keys, views.outdated_index, views.outdated_items
        )
    }
}

/// Plays a seed.
pub(crate) async fn scenario(seed: u64, sockets: bool) -> Run {
    let haste = if sockets { 20 } else { 1 };
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    let weather = Weather::draw(&mut rng);
    let database = engine::open(None).expect("a database");
    let dynamodb = Seeded::new(database, seed, haste, weather.slow);
    let table = if sockets {
        Table::connect(&dynamodb.listen().await, "chat")
    } else {
        Table::with_http_client(dynamodb.client(), "chat")
    };
    let table = table.with_rate_limit(RateLimit(weather.posts_per_second));
    table.create(&Template::parse().expect("the template").table).await.expect("a table");
    let mut world = World::new(table, dynamodb, weather, rng.fork(), haste);
    world.dynamodb.note(&format!("{weather:?}"));
    world.storm();
    prepare(&mut world, &mut rng).await;
    let world = Arc::new(world);
    use_it(&world, &mut rng).await;
    // Over sockets the time is real, so nothing becomes due.
    if !sockets {
        deletion::purge_when_due(&world, &mut rng).await;
    }
    let frames = world.sockets.count();
    let violations = outcome::violations(&world, !sockets).await;
    let known = world.known();
    Run {
        violations,
        trace: world.dynamodb.trace(),
        counts: world.dynamodb.counts(),
        posts: known.posts.len(),
        changes: known.attempts.len(),
        followers: known.followed.len(),
        listeners: known.listened.len(),
        frames,
        crashed_posts: world.crashed_posts.load(Ordering::Relaxed),
        purged: known.purged,
        member_requests: known.member_requests.len(),
        hidden: known.hidden,
    }
}

/// Creates the authors and the conversations.
async fn prepare(world: &mut World, rng: &mut Rng) {
    for number in 0..rng.usize(1..=3) {
        let body = json!({ "first_name": format!("Author {number}") });
        let owner = rng.usize(..USERS);
        let id = creators::create(world, rng, "create-profile", owner, body).await;
        world.known().candidates.push(Candidate { id: id.clone(), owner });
        world.authors.push(id);
        world.owners.push(owner);
    }
    for number in 0..rng.usize(0..=2) {
        let (body, owner) =
            (json!({ "first_name": format!("Listener {number}") }), rng.usize(..USERS));
        let id = creators::create(world, rng, "create-profile", owner, body).await;
        world.known().candidates.push(Candidate { id, owner });
    }
    for number in 0..rng.usize(1..=3) {
        let author = rng.usize(..world.authors.len());
        let private = !world.weather.crowd && rng.bool();
        let body = json!({
            "subject": format!("Conversation {number}"),
            "author_id": world.authors[author],
            "visibility": if private { "private" } else { "public" },
        });
        let owner = world.owners[author];
        let id = creators::create(world, rng, "create-conversation", owner, body).await;
        world.conversations.push(id);
        world.origins.push(Origin { private, author });
        let candidates = world.known().candidates.clone();
        for candidate in candidates.iter().filter(|_| rng.u32(..3) > 0).collect::<Vec<_>>() {
            members::add(world, rng, number, candidate).await;
        }
    }
}

/// Lets all clients use the service until the writers have finished and every late request has
/// arrived.
async fn use_it(world: &Arc<World>, rng: &mut Rng) {
    let readers = start_readers(world, rng);
    let listeners = start_listeners(world, rng);
    for writer in start_writers(world, rng) {
        writer.await.expect("no panic");
    }
    world.calm();
    sleep(Duration::from_secs(5) / world.haste).await;
    world.finish();
    sleep(Duration::from_secs(35) / world.haste).await;
    world.end();
    for reader in readers.into_iter().chain(listeners) {
        reader.await.expect("no panic");
    }
}

fn start_readers(world: &Arc<World>, rng: &mut Rng) -> Vec<JoinHandle<()>> {
    let mut readers = Vec::new();
    for conversation in 0..world.conversations.len() {
        let user = world.draw_user(rng);
        let poller = pollers::poller(world.clone(), rng.fork(), user, conversation);
        readers.push(tokio::spawn(poller));
        let user = world.draw_user(rng);
        let reader = pollers::reader(world.clone(), rng.fork(), user, conversation);
        readers.push(tokio::spawn(reader));
        for _ in 0..rng.u32(1..=3) {
            let user = world.draw_user(rng);
            let follower = followers::follower(world.clone(), rng.fork(), user, conversation);
            readers.push(tokio::spawn(follower));
        }
        let inventor = followers::inventor(world.clone(), rng.fork(), conversation);
        readers.push(tokio::spawn(inventor));
    }
    readers
}

/// Starts live delivery and its clients, in virtual time only.
fn start_listeners(world: &Arc<World>, rng: &mut Rng) -> Vec<JoinHandle<()>> {
    let mut listeners = Vec::new();
    if world.weather.live && world.haste == 1 {
        let records = world.dynamodb.records();
        tokio::spawn(stream::deliver_all(world.clone(), rng.fork(), records));
        listeners.push(tokio::spawn(hoarder(world.clone(), rng.fork())));
        for conversation in 0..world.conversations.len() {
            for _ in 0..rng.u32(1..=2) {
                let candidates = world.known().candidates.clone();
                let user = match world.origins[conversation].private && rng.u32(..4) > 0 {
                    true => rng.choice(candidates).map(|one| one.owner),
                    false => world.draw_user(rng),
                };
                let listener = listener(world.clone(), rng.fork(), user, conversation);
                listeners.push(tokio::spawn(listener));
            }
        }
    }
    listeners
}

fn start_writers(world: &Arc<World>, rng: &mut Rng) -> Vec<JoinHandle<()>> {
    let mut writers = Vec::new();
    for client in 0..rng.usize(2..=5) {
        let author = rng.usize(..world.authors.len());
        let poster = clients::poster(world.clone(), rng.fork(), client, author);
        writers.push(tokio::spawn(poster));
    }
    for client in 0..rng.usize(0..=3) {
        writers.push(tokio::spawn(changers::editor(world.clone(), rng.fork(), client)));
    }
    for client in 0..rng.usize(0..=2) {
        writers.push(tokio::spawn(changers::renamer(world.clone(), rng.fork(), client)));
        writers.push(tokio::spawn(changers::promoter(world.clone(), rng.fork(), client)));
    }
    for user in 0..USERS {
        writers.push(tokio::spawn(members::member(world.clone(), rng.fork(), user)));
    }
    for conversation in 0..world.conversations.len() {
        for _ in 0..rng.u32(1..=3) {
            let manager = members::manager(world.clone(), rng.fork(), conversation);
            writers.push(tokio::spawn(manager));
        }
        writers.push(tokio::spawn(members::race(world.clone(), rng.fork(), conversation)));
    }
    writers.push(tokio::spawn(creators::creator(world.clone(), rng.fork())));
    writers.push(tokio::spawn(deletion::deleter(world.clone(), rng.fork())));
    if world.weather.crowd {
        writers.push(tokio::spawn(clients::crowd(world.clone(), rng.fork())));
    }
    writers
}
