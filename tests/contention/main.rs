//! Measures contention: the service's own `Table::create_message` on a simulated DynamoDB, in
//! virtual time.
//!
//! `cargo run -p tests --example contention` prints the tables of the documentation and draws their
//! picture. `--compare` measures other backoffs. The same `--seed` gives the same numbers.

mod backoffs;
mod load;
mod picture;

use std::path::Path;
use std::thread;

use clap::Parser;

use backoffs::{BACKOFFS, SHIPPED};
use load::{Contended, Outcome, Posters, Scenario};

/// Numbers of concurrent posters.
const CLOSED: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Rates of independent posts, per second.
const OPEN: [f64; 6] = [1.0, 4.0, 7.0, 13.0, 20.0, 25.0];

/// Measures contention on a simulated DynamoDB.
#[derive(Debug, Parser)]
struct Options {
    /// Compare backoffs.
    #[arg(long)]
    compare: bool,
    /// Seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let options = Options::parse();
    if options.compare { compare(options.seed) } else { publish(options.seed) }
}

/// Prints the tables and draws the picture of the documentation.
fn publish(seed: u64) {
    let mut scenarios = Vec::new();
    for contended in [Contended::Conversation, Contended::Author] {
        let posters = CLOSED.map(Posters::Closed).into_iter().chain(OPEN.map(Posters::Open));
        scenarios.extend(posters.map(|posters| Scenario {
            posters,
            contended,
            backoff: SHIPPED.1,
            seed,
        }));
    }
    let outcomes = run_all(&scenarios);
    let all: Vec<(&Scenario, &Outcome)> = scenarios.iter().zip(&outcomes).collect();
    for contended in [Contended::Conversation, Contended::Author] {
        print_header(contended);
        for (scenario, outcome) in
            all.iter().filter(|(scenario, _)| scenario.contended == contended)
        {
            println!("| {} | {outcome} |", scenario.posters);
        }
    }
    let curves: Vec<(usize, &Outcome)> = all
        .iter()
        .filter(|(scenario, _)| scenario.contended == Contended::Conversation)
        .filter_map(|(scenario, outcome)| match scenario.posters {
            Posters::Closed(posters) => Some((posters, *outcome)),
            Posters::Open(_) => None,
        })
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures/contention.svg");
    std::fs::write(&file, picture::draw(&curves)).expect("the picture is written");
    println!("\nThe picture is in {}.", file.display());
}

fn print_header(first: impl std::fmt::Display) {
    println!(
        "\n| {first} | posts/s | p50 | p99 | longest | 5xx | transactions per post | \
         write units per post | posts by one poster |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
}

/// Measures the same scenarios with each backoff.
fn compare(seed: u64) {
    let posters = [16, 64, 256].map(Posters::Closed).into_iter().chain([25.0].map(Posters::Open));
    for posters in posters {
        let scenarios = BACKOFFS.map(|(_, backoff)| Scenario {
            posters,
            contended: Contended::Conversation,
            backoff,
            seed,
        });
        print_header(posters);
        for ((name, _), outcome) in BACKOFFS.iter().zip(run_all(&scenarios)) {
            println!("| {name} | {outcome} |");
        }
    }
}

/// Runs each scenario in its own thread, because the service's random pauses are drawn per thread.
fn run_all(scenarios: &[Scenario]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            scenarios.iter().map(|scenario| scope.spawn(|| scenario.run())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}
