//! The Lambda function `list-members`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::LIST_MEMBERS).await
}
