//! The Lambda function `smoke-test`; and, with a URL, the same walk from a terminal:
//! `cargo run -p functions --bin smoke-test -- http://127.0.0.1:3000`. Where that is closed, `TOKEN` is its access token.

use std::env;

use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};
use serde::de::IgnoredAny;
use smoke_test::sign_in::SignIn;
use smoke_test::{Report, run, walk};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if let Some(url) = env::args().nth(1) {
        let token = env::var("TOKEN").ok();
        let report = run(&url, token.as_deref(), |step| {
            println!("{:8.1} ms  {}", step.took.as_secs_f64() * 1e3, step.name)
        });
        return passed(report);
    }
    functions::log::init();
    let (url, stack, sign_in) =
        (env::var("API_URL")?, env::var("STACK_NAME")?, SignIn::from_env()?);
    let (url, stack, sign_in) = (&url, &stack, sign_in.as_ref());
    lambda_runtime::run(service_fn(move |_: LambdaEvent<IgnoredAny>| async move {
        let report = walk(url, sign_in).await;
        println!("{}", report.to_metrics(stack));
        passed(report)
    }))
    .await
}

/// Fails with the step that failed, so that the function, or the command, does too.
fn passed(report: Report) -> Result<(), Error> {
    report.failure.map_or(Ok(()), |failure| Err(failure.into()))
}
