//! The Lambda function `get-profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve(&functions::operations::GET_PROFILE).await
}
