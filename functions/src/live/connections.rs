//! The functions `connect` and `disconnect`: a connection opens and ends.

use lambda_http::http::StatusCode;
use shared::Table;

use super::event::SocketEvent;

/// Opens a connection with a ticket. Returns 403 if the ticket is unknown, used or expired.
///
/// It subscribes to nothing: a connection that is still opening cannot receive frames.
pub async fn connect(table: Table, event: SocketEvent) -> u16 {
    let Some(ticket) = event.ticket() else { return StatusCode::FORBIDDEN.as_u16() };
    let status = match table.connect_with_ticket(event.connection(), ticket).await {
        Ok(true) => StatusCode::OK,
        Ok(false) => StatusCode::FORBIDDEN,
        Err(error) => {
            tracing::error!(error = error.chain(), "connection not opened");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    status.as_u16()
}

/// Forgets a connection that has ended. Nothing depends on it: its items expire.
pub async fn disconnect(table: Table, event: SocketEvent) -> u16 {
    if let Err(error) = table.disconnect(event.connection()).await {
        tracing::warn!(error = error.chain(), "connection not removed");
    }
    StatusCode::OK.as_u16()
}
