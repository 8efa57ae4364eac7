//! The Lambda function `delete-conversation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run_without_reading(functions::conversations::delete_conversation).await
}
