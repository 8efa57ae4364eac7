//! The smoke test as a Lambda function, and as a command.
//!
//! Command: `cargo run -p smoke-test -- http://127.0.0.1:3000`, with an access token in `TOKEN` if
//! the service requires one. Without a URL the binary is the Lambda function.

use std::env;
use std::process::ExitCode;

use functions::http::invocation::deadline;
use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};
use serde::de::IgnoredAny;
use smoke_test::journey::{self, Limits};
use smoke_test::sign_in::SignIn;

const USAGE: &str = "Usage: smoke-test URL\n\n\
    Runs a user's journey through the service at URL, for example http://127.0.0.1:3000.\n\
    If the service requires an access token, set TOKEN.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Error> {
    match env::args().nth(1) {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            Ok(run_once(&url))
        }
        None if env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() => {
            run_function().await.map(|()| ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

/// Runs the journey once and prints each step.
fn run_once(url: &str) -> ExitCode {
    let token = env::var("TOKEN").ok();
    let report = journey::run(url, token.as_deref(), Limits::default(), |step| {
        println!("{:8.1} ms  {}", step.duration.as_secs_f64() * 1e3, step.name)
    });
    match report.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            eprintln!("failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Serves the Lambda function. A failed journey fails the invocation.
async fn run_function() -> Result<(), Error> {
    functions::log::init();
    let url = env::var("API_URL")?;
    let stack = env::var("STACK_NAME")?;
    let sign_in = SignIn::from_env()?;
    let (url, stack, sign_in) = (&url, &stack, sign_in.as_ref());
    lambda_runtime::run(service_fn(move |event: LambdaEvent<IgnoredAny>| async move {
        let report = smoke_test::run(url, sign_in, deadline(&event.context)).await;
        println!("{}", report.to_metrics(stack));
        report.failure.map_or(Ok(()), |failure| Err(Error::from(failure)))
    }))
    .await
}
