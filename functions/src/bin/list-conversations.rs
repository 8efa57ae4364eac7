//! The Lambda function `list-conversations`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::conversations::list_conversations).await
}
