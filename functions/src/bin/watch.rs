//! The Lambda function `watch` of the WebSocket API.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve_frames(functions::live::watch).await
}
