//! The handler of tickets.

use std::env;

use lambda_http::http::HeaderMap;
use lambda_http::http::header::HOST;
use serde::Serialize;
use shared::Time;
use shared::live::Ticket;
use utoipa::ToSchema;

use super::invocation::Invocation;
use super::reply::{Reply, added};

/// The right to open one WebSocket connection.
#[derive(Serialize, ToSchema)]
#[schema(as = Ticket)]
pub struct OpenTicket {
    /// The address to open, once. It contains a secret.
    #[schema(format = "uri")]
    url: String,
    /// Until when it can be opened: 60 seconds.
    expires_at: Time,
    /// When the connection ends: with the access token, or after 2 hours.
    connection_expires_at: Time,
}

/// Create a ticket: the address of a WebSocket connection, which opens once.
///
/// Messages, edits and deletions arrive through the connection as they happen.
#[utoipa::path(
    post, path = "/tickets", tag = "live",
    responses((status = 201, body = OpenTicket)),
)]
pub async fn create_ticket(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let ticket = table.create_ticket(caller, invocation.token_expiry()).await?;
    let url = live_url(invocation.headers());
    let Ticket { secret, expires_at, connection_expires_at } = ticket;
    let url = format!("{url}?ticket={secret}");
    added(&OpenTicket { url, expires_at, connection_expires_at })
}

/// Returns the address of the WebSocket API, by the headers of a request.
pub fn live_url(headers: &HeaderMap) -> String {
    // Set where functions are deployed. The development server serves both APIs.
    env::var("LIVE_URL").unwrap_or_else(|_| {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        format!("ws://{host}/live")
    })
}
