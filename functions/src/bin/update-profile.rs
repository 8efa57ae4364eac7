//! The Lambda function `update-profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::UPDATE_PROFILE).await
}
