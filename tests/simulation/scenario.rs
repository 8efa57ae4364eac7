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

use crate::weather::Weather;
use crate::world::World;
use crate::{changers, clients, creators, deletion, followers, outcome, pollers};

/// The result of a seed.
pub(crate) struct Run {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) posts: usize,
    pub(crate) changes: usize,
    pub(crate) followers: usize,
    pub(crate) crashed_posts: usize,
    pub(crate) purged: usize,
}

/// The sums over many seeds.
#[derive(Default)]
pub(crate) struct Totals {
    seeds: u64,
    posts: usize,
    changes: usize,
    followers: usize,
    crashed_posts: usize,
    purged: usize,
    counts: Counts,
}

impl Totals {
    pub(crate) fn add(&mut self, run: &Run) {
        self.seeds += 1;
        self.posts += run.posts;
        self.changes += run.changes;
        self.followers += run.followers;
        self.crashed_posts += run.crashed_posts;
        self.purged += run.purged;
        self.counts.add(&run.counts);
    }

    pub(crate) fn describe(&self, first: u64) -> String {
        let Self { seeds, posts, changes, followers, crashed_posts, purged, counts } = self;
        let Counts { requests, faults, late, unreadable, closed_gaps, views } = counts;
        format!(
            "{seeds} seeds from {first}: {posts} posts, {changes} requests to change something, \
             {followers} followers, {crashed_posts} crashed posts, {closed_gaps} closed gaps, \
             {purged} purged conversations, {requests} requests to the table, {faults} faults ({late} \
             late arrivals, {unreadable} unreadable responses), {} partial views of transactions, {} \
             early idempotency keys, {} outdated views of the index",
            views.partial, views.early_keys, views.outdated_index
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
    let violations = outcome::violations(&world).await;
    let known = world.known();
    Run {
        violations,
        trace: world.dynamodb.trace(),
        counts: world.dynamodb.counts(),
        posts: known.posts.len(),
        changes: known.attempts.len(),
        followers: known.followed.len(),
        crashed_posts: world.crashed_posts.load(Ordering::Relaxed),
        purged: known.purged,
    }
}

/// Creates the authors and the conversations.
async fn prepare(world: &mut World, rng: &mut Rng) {
    for number in 0..rng.usize(1..=3) {
        let body = json!({ "first_name": format!("Author {number}") });
        let id = creators::create(world, rng, "create-profile", body).await;
        world.authors.push(id);
    }
    for number in 0..rng.usize(1..=2) {
        let subject = format!("Conversation {number}");
        let body = json!({ "subject": subject, "author_id": world.authors[0] });
        let id = creators::create(world, rng, "create-conversation", body).await;
        world.conversations.push(id);
    }
}

/// Lets all clients use the service until the writers have finished and every late request has arrived.
async fn use_it(world: &Arc<World>, rng: &mut Rng) {
    let readers = start_readers(world, rng);
    for writer in start_writers(world, rng) {
        writer.await.expect("no panic");
    }
    world.calm();
    sleep(Duration::from_secs(5) / world.haste).await;
    world.finish();
    sleep(Duration::from_secs(35) / world.haste).await;
    world.end();
    for reader in readers {
        reader.await.expect("no panic");
    }
}

fn start_readers(world: &Arc<World>, rng: &mut Rng) -> Vec<JoinHandle<()>> {
    let mut readers = Vec::new();
    for conversation in 0..world.conversations.len() {
        let poller = pollers::poller(world.clone(), rng.fork(), conversation);
        readers.push(tokio::spawn(poller));
        let reader = pollers::reader(world.clone(), rng.fork(), conversation);
        readers.push(tokio::spawn(reader));
        for _ in 0..rng.u32(1..=3) {
            let follower = followers::follower(world.clone(), rng.fork(), conversation);
            readers.push(tokio::spawn(follower));
        }
        let inventor = followers::inventor(world.clone(), rng.fork(), conversation);
        readers.push(tokio::spawn(inventor));
    }
    readers
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
    writers.push(tokio::spawn(creators::creator(world.clone(), rng.fork())));
    writers.push(tokio::spawn(deletion::deleter(world.clone(), rng.fork())));
    if world.weather.crowd {
        writers.push(tokio::spawn(clients::crowd(world.clone(), rng.fork())));
    }
    writers
}
