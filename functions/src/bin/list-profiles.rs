//! The Lambda function `list-profiles`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::LIST_PROFILES).await
}
