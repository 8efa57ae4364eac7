//! The Lambda function `create-ticket`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve_without_reading(&functions::operations::CREATE_TICKET).await
}
