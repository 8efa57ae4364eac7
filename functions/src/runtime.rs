//! The Lambda runtime: each binary's `main` calls one of these functions.

use std::future::Future;

use lambda_http::{Body, Error, LambdaEvent, Request, Response, lambda_runtime, service_fn};
use serde::de::IgnoredAny;
use shared::Table;

use crate::http::invocation::deadline;
use crate::http::{Auth, Operation, event};
use crate::log;

/// Serves one operation. Before the first event it connects to the table by a read, so the function
/// needs the permission `dynamodb:BatchGetItem`.
pub async fn serve(operation: &'static Operation) -> Result<(), Error> {
    log::init();
    let table = Table::from_env()?;
    table.warm_up().await;
    answer_events(table, operation).await
}

/// Serves one operation without that permission: it connects to the table with the first request.
pub async fn serve_without_reading(operation: &'static Operation) -> Result<(), Error> {
    log::init();
    answer_events(Table::from_env()?, operation).await
}

async fn answer_events(table: Table, operation: &'static Operation) -> Result<(), Error> {
    let (table, auth) = (&table, Auth::from_env());
    event::serve(service_fn(|request| async move {
        Ok::<_, Error>(operation.respond(table, auth, request).await)
    }))
    .await
}

/// Serves a public route, which needs neither a caller nor the table.
pub async fn serve_public(respond: fn(&Request) -> Response<Body>) -> Result<(), Error> {
    log::init();
    event::serve(service_fn(|request| async move { Ok::<_, Error>(respond(&request)) })).await
}

/// Serves a scheduled job. The content of its events is ignored.
pub async fn serve_job<F>(job: impl Fn(Table) -> F) -> Result<(), Error>
where
    F: Future<Output = shared::Result<()>>,
{
    log::init();
    let table = Table::from_env()?;
    let (table, job) = (&table, &job);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<IgnoredAny>| async move {
        let table = table.for_request(deadline(&event.context));
        Box::pin(job(table)).await.map_err(|error| Error::from(error.chain()))
    }))
    .await
}
