//! The Lambda function `list-profiles`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run(functions::profiles::list_profiles).await
}
