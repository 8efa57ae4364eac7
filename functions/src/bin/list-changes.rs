//! The Lambda function `list-changes`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::LIST_CHANGES).await
}
