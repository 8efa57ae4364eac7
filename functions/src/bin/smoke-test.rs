//! The Lambda function `smoke-test`; and, with a URL, the same walk from a terminal:
//! `cargo run -p functions --bin smoke-test -- http://127.0.0.1:3000`.

use std::env;

use functions::smoke::{Report, run};
use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn, tracing};
use serde::de::IgnoredAny;
use tokio::task::spawn_blocking;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if let Some(url) = env::args().nth(1) {
        let report = run(&url, |step| println!("{:8.1} ms  {}", step.took.as_secs_f64() * 1e3, step.name));
        return passed(report);
    }
    tracing::init_default_subscriber();
    let (url, stack) = (env::var("API_URL")?, env::var("STACK_NAME")?);
    let (url, stack) = (&url, &stack);
    lambda_runtime::run(service_fn(move |_: LambdaEvent<IgnoredAny>| async move {
        let url = url.clone();
        let report = spawn_blocking(move || run(&url, |_| {})).await?;
        println!("{}", report.to_metrics(stack));
        passed(report)
    }))
    .await
}

/// Fails with the step that failed, so that the function, or the command, does too.
fn passed(report: Report) -> Result<(), Error> {
    report.failure.map_or(Ok(()), |failure| Err(failure.into()))
}
