//! The Lambda function `delete-profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run_without_reading(functions::profiles::delete_profile).await
}
