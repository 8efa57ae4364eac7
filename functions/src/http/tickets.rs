//! The handler of tickets.

use std::env;

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
    // Set where functions are deployed. The development server serves both APIs.
    let url = env::var("LIVE_URL").unwrap_or_else(|_| format!("ws://{}/live", invocation.host()));
    let Ticket { secret, expires_at, connection_expires_at } = ticket;
    let url = format!("{url}?ticket={secret}");
    added(&OpenTicket { url, expires_at, connection_expires_at })
}
