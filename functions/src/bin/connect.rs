//! The Lambda function `connect` of the WebSocket API.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve_connections(functions::live::connect).await
}
