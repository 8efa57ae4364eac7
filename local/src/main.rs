//! `cargo run -p local`: runs the whole chat API on this machine.

use std::io;
use std::process::{ExitCode, exit};

use clap::Parser;
use local::server::{Options, parser_error, run};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The exit status of a program that a signal stops, here SIGINT. Source: POSIX shells.
const INTERRUPTED: i32 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => return fail(&parser_error(&error)),
        // Help or version.
        Err(error) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    start_log();
    let signals = match listen_for_signals() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen for signals: {error}")),
    };
    match run(&options, stopped(signals)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Logs warnings of the functions and of the table to stderr, and nothing of the engine: it warns
/// of each failed condition, which is normal.
fn start_log() {
    let targets = Targets::new()
        .with_targets([("functions", LevelFilter::WARN), ("shared", LevelFilter::WARN)]);
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(io::stderr))
        .with(targets)
        .init();
}

/// Completes at the first signal. The second one exits immediately.
async fn stopped(mut signals: UnboundedReceiver<()>) {
    signals.recv().await;
    eprintln!("Stopping when open requests are answered; press Ctrl-C again to stop now.");
    tokio::spawn(async move {
        signals.recv().await;
        exit(INTERRUPTED);
    });
}

/// Returns a channel that gets one item for each Ctrl-C or SIGTERM.
fn listen_for_signals() -> io::Result<UnboundedReceiver<()>> {
    let (sender, receiver) = unbounded_channel();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let (mut signal, sender) = (signal(kind)?, sender.clone());
            tokio::spawn(async move {
                while signal.recv().await.is_some() && sender.send(()).is_ok() {}
            });
        }
    }
    #[cfg(not(unix))]
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() && sender.send(()).is_ok() {}
    });
    Ok(receiver)
}
