//! The Lambda function `create-profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::CREATE_PROFILE).await
}
