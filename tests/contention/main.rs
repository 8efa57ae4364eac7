//! What contention costs: the real `Table::create_message` on a simulated DynamoDB, in virtual time.
//!
//! `cargo run -p tests --example contention` prints the table of the README and draws its picture; `--compare` prints what other
//! pauses between the attempts would do. A seed (`--seed`) gives the same numbers each time.

mod backoffs;
mod dynamodb;
mod load;
mod picture;

use std::path::Path;
use std::thread;

use clap::Parser;

use backoffs::{BACKOFFS, SHIPPED};
use load::{Contended, Outcome, Posters, Scenario};

/// How many post at once, each as soon as the last post is answered.
const CLOSED: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// How many posts arrive in a second, each on its own.
const OPEN: [f64; 6] = [1.0, 4.0, 7.0, 13.0, 20.0, 25.0];

#[derive(Debug, Parser)]
struct Options {
    /// Compares backoffs instead.
    #[arg(long)]
    compare: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let options = Options::parse();
    if options.compare { compare(options.seed) } else { publish(options.seed) }
}

/// The table and the picture of the README.
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
        println!(
            "\n| {contended} | posts/s | p50 | p99 | longest | 5xx | attempts per post | write units per post | posts by one poster |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
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

/// The same scenarios with each backoff.
fn compare(seed: u64) {
    let posters = [16, 64, 256].map(Posters::Closed).into_iter().chain([25.0].map(Posters::Open));
    for posters in posters {
        let scenarios = BACKOFFS.map(|(_, backoff)| Scenario {
            posters,
            contended: Contended::Conversation,
            backoff,
            seed,
        });
        println!(
            "\n| {posters} | posts/s | p50 | p99 | longest | 5xx | attempts per post | write units per post | posts by one poster |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for ((name, _), outcome) in BACKOFFS.iter().zip(run_all(&scenarios)) {
            println!("| {name} | {outcome} |");
        }
    }
}

/// Runs each scenario on a thread of its own, where the service's random pauses are its alone.
fn run_all(scenarios: &[Scenario]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            scenarios.iter().map(|scenario| scope.spawn(|| scenario.run())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}
