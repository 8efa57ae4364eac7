//! The floor that the functions are measured against: a Lambda function that greets and does nothing else, with their log.

use lambda_http::{Error, Request, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    functions::log::init();
    run(service_fn(|_: Request| async { Ok::<_, Error>("Hello!") })).await
}
