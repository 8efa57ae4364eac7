//! The Lambda function `create-conversation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::conversations::create_conversation).await
}
