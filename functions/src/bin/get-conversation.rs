//! The Lambda function `get-conversation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::conversations::get_conversation).await
}
