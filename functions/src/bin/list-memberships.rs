//! The Lambda function `list-memberships`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::LIST_MEMBERSHIPS).await
}
