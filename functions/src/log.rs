//! The log: lines of JSON on standard output, which is what CloudWatch Logs is given.

use std::{env, panic};

use tracing::level_filters::LevelFilter;

/// Starts the log, from `AWS_LAMBDA_LOG_LEVEL` up, or else from INFO up.
///
/// It is written as `lambda_http` writes it, without the filter by module: its regular expressions are what makes a function larger.
pub fn init() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt().json().with_target(false).without_time().with_max_level(level).init();
    log_panics();
}

/// From now on a panic is a line like the others: with its place, and without what it says, which may quote what a client sent.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| tracing::error!(location = panic.location().map(ToString::to_string), "panic")));
}
