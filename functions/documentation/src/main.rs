//! The Lambda function `get-documentation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve_public(documentation::respond).await
}
