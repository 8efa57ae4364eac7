//! The Lambda function `get-conversation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::GET_CONVERSATION).await
}
