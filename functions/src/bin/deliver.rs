//! The Lambda function `deliver`, which gets the records of the table's stream.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve_stream().await
}
