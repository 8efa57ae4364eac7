//! The scheduled Lambda function `purge-deleted`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::runtime::serve_job(functions::jobs::purge_deleted).await
}
