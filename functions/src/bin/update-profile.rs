//! The Lambda function `update-profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::profiles::update_profile).await
}
