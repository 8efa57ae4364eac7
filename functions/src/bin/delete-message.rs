//! The Lambda function `delete-message`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::messages::delete_message).await
}
