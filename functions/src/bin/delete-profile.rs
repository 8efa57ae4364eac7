//! The Lambda function `delete-profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::profiles::delete_profile).await
}
