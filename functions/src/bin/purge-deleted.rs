//! The Lambda function `purge-deleted`, which runs on a schedule.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    functions::run_scheduled(functions::conversations::purge_deleted).await
}
