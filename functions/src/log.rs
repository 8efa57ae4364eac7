//! The log: one JSON object per line on standard output, where CloudWatch Logs reads it.

use std::{env, panic};

use tracing::level_filters::LevelFilter;

/// Starts the log at the level in `AWS_LAMBDA_LOG_LEVEL`, or INFO.
///
/// The format is `lambda_http`'s. Its filter by module is left out: the regular expressions behind it
/// are a large part of a function's size.
pub fn init() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .json()
        .with_target(false)
        .without_time()
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .init();
    log_panics();
}

/// Logs each panic as one line with its location. The panic's message is left out: it may quote what
/// a client sent.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        tracing::error!(location = panic.location().map(ToString::to_string), "panic");
    }));
}
