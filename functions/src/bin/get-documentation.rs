//! The Lambda function `get-documentation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run_public(functions::documentation::get_documentation).await
}
