//! The Lambda function `create-profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::profiles::create_profile).await
}
