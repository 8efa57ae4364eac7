//! The Lambda runtime: each binary's `main` calls one of these functions.

use std::future::Future;

use lambda_http::{Body, Error, LambdaEvent, Request, Response, lambda_runtime, service_fn};
use serde::de::IgnoredAny;
use serde_json::json;
use shared::Table;

use crate::http::invocation::deadline;
use crate::http::{Auth, Operation, event};
use crate::live::event::logged;
use crate::live::{Publisher, SocketEvent, StreamEvent, deliver};
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

/// Serves a function that opens or ends connections.
pub async fn serve_connections<F>(handler: fn(Table, SocketEvent) -> F) -> Result<(), Error>
where
    F: Future<Output = u16>,
{
    log::init();
    let table = &Table::from_env()?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SocketEvent>| async move {
        let (event, context) = event.into_parts();
        let table = table.for_request(deadline(&context));
        let handling = Box::pin(handler(table.clone(), event));
        Ok::<_, Error>(json!({ "statusCode": logged(&context, &table, handling).await }))
    }))
    .await
}

/// Serves a function that answers frames.
pub async fn serve_frames<F>(handler: fn(Table, Publisher, SocketEvent) -> F) -> Result<(), Error>
where
    F: Future<Output = u16>,
{
    log::init();
    let (table, publisher) = (&Table::from_env()?, &Publisher::from_env()?);
    table.warm_up().await;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SocketEvent>| async move {
        let (event, context) = event.into_parts();
        let table = table.for_request(deadline(&context));
        let handling = Box::pin(handler(table.clone(), publisher.clone(), event));
        Ok::<_, Error>(json!({ "statusCode": logged(&context, &table, handling).await }))
    }))
    .await
}

/// Serves `deliver`, which gets the records of the table's stream.
pub async fn serve_stream() -> Result<(), Error> {
    log::init();
    let (table, publisher) = (&Table::from_env()?, &Publisher::from_env()?);
    table.warm_up().await;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<StreamEvent>| async move {
        let (event, context) = event.into_parts();
        let table = table.for_request(deadline(&context));
        Ok::<_, Error>(Box::pin(deliver(table, publisher.clone(), event)).await)
    }))
    .await
}
