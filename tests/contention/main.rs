//! Measures contention: the service's own code on a simulated DynamoDB, in virtual time, next to its
//! former algorithm.
//!
//! `cargo run --release -p tests --example contention` prints the tables of `docs/PERFORMANCE.md`. It
//! fails if a row misses its target. The same `--seed` gives the same numbers.

mod bars;
mod former;
mod load;
mod outcome;
mod tables;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Parser;

use load::Scenario;
use outcome::Outcome;
use tables::{Row, Size, Table};

/// Measures contention on a simulated DynamoDB, in virtual time, and prints tables in Markdown.
///
/// The exit status is 1 if a row misses its target. `.ci/run` runs `--short`.
#[derive(Debug, Parser)]
struct Options {
    /// Measure fewer loads for a shorter time, and not the former algorithm.
    #[arg(long)]
    short: bool,
    /// Seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Options { short, seed } = Options::parse();
    let tables = Size { short, seed }.tables();
    let rows = || tables.iter().flat_map(|table: &Table| &table.rows);
    let outcomes = run_all(&rows().map(|row| row.scenario).collect::<Vec<_>>());
    let mut rest = outcomes.as_slice();
    for table in &tables {
        let (outcomes, following) = rest.split_at(table.rows.len());
        table.print(outcomes);
        rest = following;
    }
    let missed = |(row, outcome): (&Row, &Outcome)| row.missed(outcome).len();
    let missed: usize = rows().zip(&outcomes).map(missed).sum();
    println!("\n{missed} targets missed");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the scenarios, one at a time on each core. Each has its own thread, because the service's
/// random pauses are drawn per thread.
fn run_all(scenarios: &[Scenario]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let run_some = || {
        let mut outcomes = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(index) else { return outcomes };
            outcomes.push((index, scenario.run()));
            eprintln!("measured {scenario}");
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut outcomes: Vec<(usize, Outcome)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(run_some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
