//! The Lambda function `get-profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::profiles::get_profile).await
}
