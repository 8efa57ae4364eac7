//! The floor that the functions are measured against: what `cargo lambda new` makes, a function that greets and does nothing else.

use lambda_http::{Error, Request, run, service_fn, tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(service_fn(|_: Request| async { Ok::<_, Error>("Hello!") })).await
}
