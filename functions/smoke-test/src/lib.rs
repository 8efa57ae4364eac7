//! Smoke test: runs a user's journey through the public URL of a service and measures each step.
//!
//! The binary `smoke-test` runs it as a Lambda function on a schedule, or from a terminal.
//!
//! - [`run`]: signs in, then runs the journey
//! - [`journey`]: the steps, and the cleanup that follows them
//! - [`report`]: the result, and its CloudWatch metrics
//! - [`sign_in`]: access tokens, by OAuth 2.0 client credentials
//! - `leftovers`: what an earlier run did not delete
//! - `client`: HTTP requests with a deadline

mod client;
pub mod journey;
mod leftovers;
pub mod report;
pub mod sign_in;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use journey::Limits;
use report::Report;
use sign_in::SignIn;

/// Runs the journey at `url`, with an access token of `sign_in` if the service requires one. Returns
/// its report before `deadline`, also if the service does not respond.
///
/// After a failure the next run gets a new token, because the failure may be the token's.
pub async fn run(url: &str, sign_in: Option<&SignIn>, deadline: Instant) -> Report {
    let token = match sign_in {
        Some(sign_in) => match timeout_at(deadline, sign_in.token()).await {
            Ok(Ok(token)) => Some(token),
            Ok(Err(error)) => return Report::failed(format!("sign-in: {error}")),
            Err(_) => return Report::failed("sign-in: out of time".into()),
        },
        None => None,
    };
    let url = url.to_owned();
    let limits = Limits::until(deadline);
    let journey = move || journey::run(&url, token.as_deref(), limits, |_| {});
    let report = spawn_blocking(journey).await;
    let report = report.unwrap_or_else(|error| Report::failed(error.to_string()));
    if let (Some(sign_in), Some(_)) = (sign_in, &report.failure) {
        sign_in.forget();
    }
    report
}
