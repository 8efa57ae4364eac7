//! Measures speed and size against the floor, and prints tables and limits. `tests/bench` builds
//! and runs it.
//!
//! Times depend on the machine, so no time fails the bench. A wrong count does.

mod chat;
mod cold;
mod growth;
mod lambda;
mod money;
mod report;
mod speed;
mod warm;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use report::Report;

/// Measures the service's speed, size and cost.
#[derive(Parser)]
struct Options {
    /// Fewer starts and smaller tables, as in CI.
    #[arg(long)]
    short: bool,
    /// Only these parts.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Folder of the release binaries; by default the bench's own.
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Cold,
    Warm,
    Instructions,
    Speed,
    Money,
    Growth,
}

/// The measured release binaries.
struct Binaries {
    floor: PathBuf,
    create_message: PathBuf,
    local: PathBuf,
}

impl Binaries {
    /// Finds them: by default in the parent of this binary's folder.
    fn find(given: Option<PathBuf>) -> Self {
        let own = || {
            env::current_exe()
                .ok()
                .and_then(|path| path.ancestors().nth(2).map(PathBuf::from))
                .unwrap_or_default()
        };
        let folder = given.unwrap_or_else(own);
        Self {
            floor: folder.join("examples/floor"),
            create_message: folder.join("create-message"),
            local: folder.join("local"),
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let first_random = cold::first_random_bytes();
    let options = Options::parse();
    let binaries = Binaries::find(options.binaries);
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let pick = |short, long| if options.short { short } else { long };
    let mut report = Report::default();
    if wanted(Part::Cold) {
        cold::run(&binaries, pick(20, 100), first_random, &mut report).await;
    }
    if wanted(Part::Warm) {
        warm::run(&binaries, pick(5, 20), &mut report).await;
    }
    if wanted(Part::Instructions) {
        warm::instructions(&binaries, pick(100, 500)).await;
    }
    if wanted(Part::Speed) {
        let length = Duration::from_secs(pick(2, 10) as u64);
        report = tokio::task::spawn_blocking(move || {
            speed::run(&binaries, length, &mut report);
            report
        })
        .await
        .expect("a report");
    }
    if wanted(Part::Money) || wanted(Part::Growth) {
        let sizes: &[usize] =
            if options.short { &[10, 1_000, 10_000] } else { &[10, 1_000, 100_000, 1_000_000] };
        let (messages, conversations) = (pick(10_000, 1_000_000), pick(1_000, 100_000));
        let chat = money::run(sizes, conversations, &mut report).await;
        if wanted(Part::Growth) {
            growth::run(chat, messages, conversations, pick(500, 3_000), &mut report).await;
        }
    }
    if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
