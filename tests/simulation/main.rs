//! The promise under faults: clients use the service while everything between it and the table goes wrong that may, drawn from a
//! seed; in the end the table, and all that anyone was told, must add up.
//!
//! `cargo test -p tests --test simulation` runs a slice. Of the environment it reads
//! - `SEEDS`: how many (10000 takes a while: add `--release`), or `MINUTES`: for how long
//! - `FIRST_SEED`: where to begin
//! - `SEED`: this one alone, with all that happened
//! - `SOCKET_SEEDS`: how many over real sockets, in real time

mod clients;
mod network;
mod promise;
mod sockets;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use local::engine;
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use shared::Table;
use tokio::runtime::Builder;
use tokio::time::sleep;

use clients::World;
use network::{Counts, Network};

/// What became of a seed.
struct Run {
    broken: Vec<String>,
    trace: Vec<String>,
    counts: Counts,
    posts: usize,
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Plays a seed: within this thread and on a clock that waits for nobody, so that it is the same each time; or over real sockets.
fn play(seed: u64, sockets: bool) -> Run {
    // The service draws its pauses from this.
    fastrand::seed(seed);
    let mut runtime = Builder::new_current_thread();
    runtime.enable_all();
    if !sockets {
        runtime.start_paused(true);
    }
    runtime.build().expect("a runtime").block_on(scenario(seed, sockets))
}

async fn scenario(seed: u64, sockets: bool) -> Run {
    let haste = if sockets { 20 } else { 1 };
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    let network = Network::new(engine::open(None).expect("a database"), seed, haste);
    let table = if sockets {
        Table::connect(&network.listen().await, "chat")
    } else {
        Table::with_http_client(network.client(), "chat")
    };
    let trouble = network.trouble();
    network.calm();
    table.create(&Template::parse(TEMPLATE).expect("the template").table).await.expect("a table");
    let mut world = World::new(table, network.clone(), haste);
    network.storm(trouble);
    for number in 0..rng.usize(1..=3) {
        let id = world
            .create(&mut rng, "create-profile", json!({ "first_name": format!("Author {number}") }))
            .await;
        world.authors.push(id);
    }
    for number in 0..rng.usize(1..=2) {
        let opening =
            json!({ "subject": format!("Conversation {number}"), "author_id": world.authors[0] });
        let id = world.create(&mut rng, "create-conversation", opening).await;
        world.conversations.push(id);
    }
    world.known().polled = vec![Vec::new(); world.conversations.len()];
    let world = Arc::new(world);
    let done = Arc::new(AtomicBool::new(false));
    let mut lookers = Vec::new();
    for conversation in 0..world.conversations.len() {
        lookers.push(tokio::spawn(clients::poller(
            world.clone(),
            rng.fork(),
            conversation,
            done.clone(),
        )));
        lookers.push(tokio::spawn(clients::reader(world.clone(), rng.fork(), conversation)));
    }
    let mut posters = Vec::new();
    for client in 0..rng.usize(2..=5) {
        let author = rng.usize(..world.authors.len());
        posters.push(tokio::spawn(clients::poster(world.clone(), rng.fork(), client, author)));
    }
    if rng.u32(..8) == 0 {
        world.pause(&mut rng, 2000).await;
        let conversation = rng.usize(..world.conversations.len());
        world.known().deleted_conversations.push(conversation);
        world
            .ask("delete-conversation", &[world.path(conversation)], &[], None, &Value::Null)
            .await;
    }
    if rng.u32(..8) == 0 {
        world.pause(&mut rng, 2000).await;
        let author = rng.usize(..world.authors.len());
        world.known().deleted_profiles.push(author);
        world
            .ask(
                "delete-profile",
                &[("profile_id", world.authors[author].clone())],
                &[],
                None,
                &Value::Null,
            )
            .await;
    }
    for poster in posters {
        poster.await.expect("no panic");
    }
    // Whatever is still on its way arrives.
    network.calm();
    sleep(Duration::from_secs(15) / haste).await;
    done.store(true, Ordering::Relaxed);
    for looker in lookers {
        looker.await.expect("no panic");
    }
    let broken = promise::broken(&world).await;
    let posts = world.known().posts.len();
    Run { broken, trace: network.trace(), counts: network.counts(), posts }
}

/// Plays seeds on all cores, and fails with the first that breaks the promise.
fn play_all(first: u64, count: u64, until: Option<Instant>, sockets: bool) {
    let next = AtomicU64::new(first);
    let failed: Mutex<Option<(u64, Vec<String>)>> = Mutex::new(None);
    let total: Mutex<(u64, Counts, usize)> = Mutex::default();
    let threads = if sockets { 8 } else { thread::available_parallelism().map_or(2, usize::from) };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over =
                        seed - first >= count || until.is_some_and(|until| Instant::now() > until);
                    if over || failed.lock().expect("no panic").is_some() {
                        break;
                    }
                    let run = catch_unwind(AssertUnwindSafe(|| play(seed, sockets)));
                    let broken = run
                        .as_ref()
                        .map_or_else(|_| vec!["a panic".to_owned()], |run| run.broken.clone());
                    if !broken.is_empty() {
                        failed.lock().expect("no panic").get_or_insert((seed, broken));
                    }
                    if let Ok(run) = run {
                        let mut total = total.lock().expect("no panic");
                        total.0 += 1;
                        total.1.requests += run.counts.requests;
                        total.1.faults += run.counts.faults;
                        total.2 += run.posts;
                    }
                }
            });
        }
    });
    let (seeds, counts, posts) = *total.lock().expect("no panic");
    println!(
        "{seeds} seeds from {first}: {posts} posts, {} requests to the table, {} faults",
        counts.requests, counts.faults
    );
    if let Some((seed, broken)) = failed.into_inner().expect("no panic") {
        let how =
            if sockets { "over sockets, so it need not fail again" } else { "replay it: SEED=" };
        panic!("seed {seed}, {how}{seed}\n  {}", broken.join("\n  "));
    }
}

#[test]
fn the_promise_holds_whatever_goes_wrong() {
    if let Some(seed) = number("SEED") {
        let run = play(seed, false);
        println!("{}\n{} posts, {:?}", run.trace.join("\n"), run.posts, run.counts);
        assert!(run.broken.is_empty(), "seed {seed}\n  {}", run.broken.join("\n  "));
        return;
    }
    let until = number("MINUTES").map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let count = number("SEEDS").unwrap_or(if until.is_some() { u64::MAX } else { 60 });
    play_all(number("FIRST_SEED").unwrap_or(1), count, until, false);
}

#[test]
fn the_promise_holds_over_real_sockets() {
    play_all(number("FIRST_SEED").unwrap_or(1), number("SOCKET_SEEDS").unwrap_or(8), None, true);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 1..4 {
        let (first, second) = (play(seed, false).trace, play(seed, false).trace);
        for (line, (one, other)) in first.iter().zip(&second).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(first.len(), second.len());
    }
}
