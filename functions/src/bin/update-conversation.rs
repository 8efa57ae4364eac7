//! The Lambda function `update-conversation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::conversations::update_conversation).await
}
