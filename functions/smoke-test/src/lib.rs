//! Smoke test: runs a user's journey through the public URL of a service and measures each step.
//!
//! The binary `smoke-test` runs it as a Lambda function on a schedule, or from a terminal.
//!
//! - [`run`]: signs in, then runs the journey
//! - [`journey`]: the steps, and the cleanup that follows them
//! - [`report`]: the result, and its CloudWatch metrics
//! - [`sign_in`]: access tokens, by OAuth 2.0 client credentials
//! - `client`: HTTP requests with a deadline

mod client;
pub mod journey;
pub mod report;
pub mod sign_in;

use tokio::task::spawn_blocking;

use journey::Limits;
use report::Report;
use sign_in::SignIn;

/// Runs the journey at `url`, with an access token of `sign_in` if the service requires one.
///
/// After a failure the next run gets a new token, because the failure may be the token's.
pub async fn run(url: &str, sign_in: Option<&SignIn>) -> Report {
    let token = match sign_in {
        Some(sign_in) => match sign_in.token().await {
            Ok(token) => Some(token),
            Err(error) => return Report::failed(format!("sign-in: {error}")),
        },
        None => None,
    };
    let url = url.to_owned();
    let journey = move || journey::run(&url, token.as_deref(), Limits::default(), |_| {});
    let report = spawn_blocking(journey).await;
    let report = report.unwrap_or_else(|error| Report::failed(error.to_string()));
    if let (Some(sign_in), Some(_)) = (sign_in, &report.failure) {
        sign_in.forget();
    }
    report
}
