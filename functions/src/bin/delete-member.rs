//! The Lambda function `delete-member`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::DELETE_MEMBER).await
}
