//! One run of the simulation.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use local::engine;
use local::template::{TEMPLATE, Template};
use serde_json::json;
use shared::Table;
use tests::dynamodb::seeded::{Counts, Seeded};
use tokio::time::sleep;

use crate::world::{World, clock};
use crate::{clients, creators, deletion, outcome};

/// The result of a seed.
pub(crate) struct Run {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) posts: usize,
    pub(crate) purged: usize,
}

/// The sums over many seeds.
#[derive(Default)]
pub(crate) struct Totals {
    seeds: u64,
    posts: usize,
    purged: usize,
    counts: Counts,
}

impl Totals {
    pub(crate) fn add(&mut self, run: &Run) {
        self.seeds += 1;
        self.posts += run.posts;
        self.purged += run.purged;
        self.counts.add(&run.counts);
    }

    pub(crate) fn describe(&self, first: u64) -> String {
        let Self { seeds, posts, purged, counts } = self;
        let Counts { requests, faults, late, unreadable, views } = counts;
        format!(
            "{seeds} seeds from {first}: {posts} posts, {purged} purged conversations, {requests} \
             requests to the table, {faults} faults ({late} late arrivals, {unreadable} unreadable \
             responses), {} partial views of transactions, {} early idempotency keys, {} outdated \
             views of the index",
            views.partial, views.early_keys, views.outdated_index
        )
    }
}

/// Plays a seed.
pub(crate) async fn scenario(seed: u64, sockets: bool) -> Run {
    let haste = if sockets { 20 } else { 1 };
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    let trouble = *rng.choice(&[0, 5, 15, 40]).expect("a share");
    let dynamodb = Seeded::new(engine::open(None).expect("a database"), seed, haste);
    let table = if sockets {
        Table::connect(&dynamodb.listen().await, "chat")
    } else {
        Table::with_http_client(dynamodb.client(), "chat")
    };
    let table = table.with_clock(clock(haste));
    table.create(&Template::parse(TEMPLATE).expect("the template").table).await.expect("a table");
    let mut world = World::new(table, dynamodb, haste);
    world.dynamodb.storm(trouble);
    prepare(&mut world, &mut rng).await;
    let world = Arc::new(world);
    use_it(&world, &mut rng).await;
    let is_deleted = !world.known().deleted_conversations.is_empty();
    // Over sockets the time is real, so nothing becomes due.
    if is_deleted && !sockets {
        deletion::purge_when_due(&world, &mut rng, trouble).await;
    }
    let violations = outcome::violations(&world).await;
    let posts = world.known().posts.len();
    let purged = world.known().purged;
    let (trace, counts) = (world.dynamodb.trace(), world.dynamodb.counts());
    Run { violations, trace, counts, posts, purged }
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
    world.known().polled = vec![Vec::new(); world.conversations.len()];
}

/// Lets all clients use the service until the posters have finished and every late request has
/// arrived.
async fn use_it(world: &Arc<World>, rng: &mut Rng) {
    let mut followers = Vec::new();
    for conversation in 0..world.conversations.len() {
        let poller = clients::poller(world.clone(), rng.fork(), conversation);
        followers.push(tokio::spawn(poller));
        let reader = clients::reader(world.clone(), rng.fork(), conversation);
        followers.push(tokio::spawn(reader));
    }
    let mut writers = Vec::new();
    for client in 0..rng.usize(2..=5) {
        let author = rng.usize(..world.authors.len());
        let poster = clients::poster(world.clone(), rng.fork(), client, author);
        writers.push(tokio::spawn(poster));
    }
    writers.push(tokio::spawn(creators::creator(world.clone(), rng.fork())));
    writers.push(tokio::spawn(deletion::deleter(world.clone(), rng.fork())));
    for writer in writers {
        writer.await.expect("no panic");
    }
    world.dynamodb.calm();
    sleep(Duration::from_secs(20) / world.haste).await;
    world.done.store(true, Ordering::Relaxed);
    for follower in followers {
        follower.await.expect("no panic");
    }
}
