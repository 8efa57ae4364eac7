//! The Lambda function `create-conversation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::CREATE_CONVERSATION).await
}
