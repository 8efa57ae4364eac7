//! The log: one JSON object per line on standard output, where CloudWatch Logs reads it.

use std::{env, fmt, io, panic};

use shared::Time;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log at the level in `AWS_LAMBDA_LOG_LEVEL`, or INFO.
pub fn init() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    subscriber(level.unwrap_or(LevelFilter::INFO), io::stdout).init();
    log_panics();
}

/// Returns the log of a function: its format, at this level.
///
/// Each line has a `level`, and a `timestamp` in RFC 3339. Without both, Lambda takes a line for INFO
/// and drops it if the function's log level is higher. Source: [Log-level filtering][filtering].
///
/// Otherwise the format is `lambda_http`'s. Its filter by module is left out: the regular expressions
/// behind it are a large part of a function's size.
///
/// [filtering]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
pub fn subscriber<W>(
    level: LevelFilter,
    writer: W,
) -> impl Subscriber + for<'span> LookupSpan<'span> + Send + Sync
where
    W: for<'line> MakeWriter<'line> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .with_target(false)
        .with_span_list(false) // It repeats the current span.
        .with_timer(Clock)
        .with_max_level(level)
        .with_writer(writer)
        .finish()
}

/// Writes the `timestamp` of a line.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Time::now())
    }
}

/// Logs each panic as one line with its location. The panic's message is left out: it may quote what
/// a client sent.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        tracing::error!(location = panic.location().map(ToString::to_string), "panic");
    }));
}
