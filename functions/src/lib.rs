//! One handler for each operation of the chat API, grouped by resource, and what every function's `main` calls.
//!
//! A request travels: API Gateway event → [`http::respond`] → handler → one method of [`shared::Table`] → response. Each
//! handler is a binary of its own in `src/bin`, named as the function in `template.yaml` is.

pub mod body;
pub mod conversations;
pub mod documentation;
pub mod event;
pub mod http;
pub mod log;
pub mod messages;
pub mod openapi;
pub mod profiles;
pub mod sign_in;
pub mod smoke;

use std::future::Future;
use std::pin::Pin;

use lambda_http::{Body, Error, LambdaEvent, Request, Response, lambda_runtime, service_fn};
use serde::de::IgnoredAny;
use shared::Table;

use crate::http::{Auth, Invocation, deadline, respond, respond_to_anyone};

/// What a handler answers.
pub type Reply = shared::Result<Response<Body>>;

/// A handler, for a server that has all of them in one process.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// An operation: it is told who asks, and given the table.
    Operation(fn(Invocation) -> Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// What anyone may read, signed in or not: it is given neither a caller nor the table.
    Public(fn(&Request) -> Reply),
}

impl Handler {
    /// Answers a request as the handler's own function would.
    pub async fn respond(self, table: &Table, auth: Auth, request: Request) -> Response<Body> {
        match self {
            Self::Operation(handler) => respond(table, auth, &handler, request).await,
            Self::Public(handler) => respond_to_anyone(handler, &request),
        }
    }
}

/// Serves one handler as a Lambda function: takes events from the runtime for as long as the environment lives. Before the first
/// one it connects to the table by reading, for which the function needs `BatchGetItem`.
pub async fn run<F>(handler: impl Fn(Invocation) -> F + Sync) -> Result<(), Error>
where
    F: Future<Output = Reply> + Send,
{
    log::init();
    let table = Table::from_env()?;
    table.warm_up().await;
    serve(table, handler).await
}

/// The same, for a function that may not read: it connects to the table with its first request.
pub async fn run_without_reading<F>(handler: impl Fn(Invocation) -> F + Sync) -> Result<(), Error>
where
    F: Future<Output = Reply> + Send,
{
    log::init();
    serve(Table::from_env()?, handler).await
}

async fn serve<F>(table: Table, handler: impl Fn(Invocation) -> F + Sync) -> Result<(), Error>
where
    F: Future<Output = Reply> + Send,
{
    let auth = Auth::from_env();
    let (table, handler) = (&table, &handler);
    event::serve(service_fn(|request| async move { Ok::<_, Error>(respond(table, auth, handler, request).await) })).await
}

/// Serves a handler that anyone may ask, as a Lambda function: it needs neither a table nor a caller.
pub async fn run_public(handler: fn(&Request) -> Reply) -> Result<(), Error> {
    log::init();
    event::serve(service_fn(|request| async move { Ok::<_, Error>(respond_to_anyone(handler, &request)) })).await
}

/// Runs a task as a Lambda function on a schedule; what the event says does not matter.
pub async fn run_scheduled<F>(task: impl Fn(Table) -> F) -> Result<(), Error>
where
    F: Future<Output = shared::Result<()>>,
{
    log::init();
    let table = Table::from_env()?;
    let (table, task) = (&table, &task);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<IgnoredAny>| async move {
        Box::pin(task(table.until(deadline(&event.context)))).await.map_err(|error| Error::from(error.chain()))
    }))
    .await
}

/// The handler behind a function, by the function's name; `None` when there is no such function.
#[must_use]
pub fn handler(function: &str) -> Option<Handler> {
    Some(Handler::Operation(match function {
        "get-documentation" => return Some(Handler::Public(documentation::get_documentation)),
        "create-profile" => |invocation| Box::pin(profiles::create_profile(invocation)),
        "list-profiles" => |invocation| Box::pin(profiles::list_profiles(invocation)),
        "get-profile" => |invocation| Box::pin(profiles::get_profile(invocation)),
        "update-profile" => |invocation| Box::pin(profiles::update_profile(invocation)),
        "delete-profile" => |invocation| Box::pin(profiles::delete_profile(invocation)),
        "create-conversation" => |invocation| Box::pin(conversations::create_conversation(invocation)),
        "list-conversations" => |invocation| Box::pin(conversations::list_conversations(invocation)),
        "get-conversation" => |invocation| Box::pin(conversations::get_conversation(invocation)),
        "update-conversation" => |invocation| Box::pin(conversations::update_conversation(invocation)),
        "delete-conversation" => |invocation| Box::pin(conversations::delete_conversation(invocation)),
        "create-message" => |invocation| Box::pin(messages::create_message(invocation)),
        "list-messages" => |invocation| Box::pin(messages::list_messages(invocation)),
        "get-message" => |invocation| Box::pin(messages::get_message(invocation)),
        "update-message" => |invocation| Box::pin(messages::update_message(invocation)),
        "delete-message" => |invocation| Box::pin(messages::delete_message(invocation)),
        _ => return None,
    }))
}
