//! The Lambda function `unsubscribe` of the WebSocket API.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve_frames(functions::live::unsubscribe).await
}
