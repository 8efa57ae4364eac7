//! The simulation: clients use the service while faults drawn from a seed hit its requests to
//! DynamoDB. At the end, a checker compares the table with the responses that the clients received.
//!
//! Each seed runs in one thread on a virtual clock, so it always gives the same run. Only the runs
//! over real sockets take real time and can differ. `cargo test -p tests --test simulation` runs 60
//! seeds, and 8 over sockets. Environment variables:
//! - `SEEDS`: the number of seeds (use `--release` for thousands), or `MINUTES`: the time to run
//! - `FIRST_SEED`: the first seed, also over sockets
//! - `SEED`: only this seed, with its trace
//! - `FAILURES`: the number of failing seeds after which it stops; 1 by default
//! - `SOCKET_SEEDS`: the number of seeds over real sockets, in real time

mod attempts;
mod changers;
mod clients;
mod creators;
mod deletion;
mod followers;
mod live;
mod looks;
mod members;
mod observed;
mod outcome;
mod pollers;
mod requests;
mod rest;
mod scenario;
mod standing;
mod stored;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use scenario::{Run, Totals, scenario};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Runs one seed in this thread: on a virtual clock, or over real sockets in real time.
fn play(seed: u64, sockets: bool) -> Run {
    // The service draws its pauses from this generator.
    fastrand::seed(seed);
    let mut runtime = Builder::new_current_thread();
    runtime.enable_all();
    if !sockets {
        runtime.start_paused(true);
    }
    runtime.build().expect("a runtime").block_on(scenario(seed, sockets))
}

/// Runs seeds in parallel until `count`, `until` or `FAILURES` is reached. Panics if one violates a
/// guarantee.
fn play_all(first: u64, count: u64, until: Option<Instant>, sockets: bool) {
    let next = AtomicU64::new(first);
    let failed: Mutex<BTreeMap<u64, Vec<String>>> = Mutex::default();
    let failures = number("FAILURES").unwrap_or(1);
    let totals: Mutex<Totals> = Mutex::default();
    let threads = if sockets { 8 } else { thread::available_parallelism().map_or(2, usize::from) };
    let play_next = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let over = seed - first >= count || until.is_some_and(|until| Instant::now() > until);
            if over || failed.lock().expect("no panic").len() as u64 >= failures {
                break;
            }
            let violations = match catch_unwind(AssertUnwindSafe(|| play(seed, sockets))) {
                Ok(run) => {
                    totals.lock().expect("no panic").add(&run);
                    run.violations
                }
                Err(_) => vec!["the run panicked".to_owned()],
            };
            if !violations.is_empty() {
                failed.lock().expect("no panic").insert(seed, violations);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play_next);
        }
    });
    println!("{}", totals.lock().expect("no panic").describe(first));
    let failed = failed.into_inner().expect("no panic");
    for (seed, violations) in &failed {
        let repeat = if sockets { "SOCKET_SEEDS=1 FIRST_SEED" } else { "SEED" };
        let note = if sockets { " (real time, so it may not fail again)" } else { "" };
        println!("seed {seed}, repeat with {repeat}={seed}{note}\n  {}", violations.join("\n  "));
    }
    assert!(failed.is_empty(), "{} seeds failed", failed.len());
}

#[test]
fn the_guarantees_hold_under_faults() {
    if let Some(seed) = number("SEED") {
        let run = play(seed, false);
        println!("{}\n{:?}", run.trace.join("\n"), run.counts);
        assert!(run.violations.is_empty(), "seed {seed}\n  {}", run.violations.join("\n  "));
        return;
    }
    let until = number("MINUTES").map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let count = number("SEEDS").unwrap_or(if until.is_some() { u64::MAX } else { 60 });
    play_all(number("FIRST_SEED").unwrap_or(1), count, until, false);
}

#[test]
fn the_guarantees_hold_over_real_sockets() {
    play_all(number("FIRST_SEED").unwrap_or(1), number("SOCKET_SEEDS").unwrap_or(8), None, true);
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 1..6 {
        let (first, second) = (play(seed, false).trace, play(seed, false).trace);
        for (line, (one, other)) in first.iter().zip(&second).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(first.len(), second.len());
    }
}
