//! The events of the WebSocket API, and answering the frames of clients.

use std::collections::HashMap;
use std::future::Future;

use lambda_http::Context;
use lambda_http::http::StatusCode;
use serde::Deserialize;
use shared::live::{ConnectionId, Frame};
use shared::{ConversationId, Table};
use tokio::time::Instant;

use super::publisher::{Posted, Publisher};
use crate::http::body::Fields;
use crate::http::error::Error;

/// An event of the WebSocket API: a connection opens or ends, or sends a frame. Source:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-integration-requests.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketEvent {
    request_context: RequestContext,
    #[serde(default)]
    query_string_parameters: Option<HashMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    connection_id: ConnectionId,
}

impl SocketEvent {
    /// Returns the connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionId {
        &self.request_context.connection_id
    }

    /// Returns the ticket in the address of a connection that opens.
    pub(super) fn ticket(&self) -> Option<&str> {
        self.query_string_parameters.as_ref()?.get("ticket").map(String::as_str)
    }

    /// Returns the fields of a frame, without `action`, by which API Gateway has found the function.
    pub(super) fn fields(&self) -> Result<Fields, Error> {
        let mut fields = Fields::parse(self.body.as_deref().unwrap_or_default().as_bytes())?;
        fields.required::<String>("action")?;
        Ok(fields)
    }
}

/// What a frame of a client has caused.
pub(super) struct Answer {
    /// The conversation that the frame is about, if it names one.
    pub(super) conversation_id: Option<ConversationId>,
    /// The frame to answer with, if there is one.
    pub(super) result: Result<Option<Frame>, Error>,
}

/// Sends the answer to a frame. Returns the status for API Gateway, which tells clients of errors only
/// that there is one; so an answer that was sent is a success.
pub(super) async fn answer(publisher: &Publisher, event: &SocketEvent, answer: Answer) -> u16 {
    let frame = match answer.result {
        Ok(None) => return StatusCode::OK.as_u16(),
        Ok(Some(frame)) => frame,
        Err(error) => {
            if error.is_server_error() {
                tracing::error!(error = error.chain(), "frame failed");
            }
            let (code, detail) = (error.code(), error.to_string());
            Frame::Error { code, detail, conversation_id: answer.conversation_id }
        }
    };
    let posted = match frame.into_json() {
        Ok(json) => publisher.post(event.connection(), &json).await,
        Err(error) => Err(error),
    };
    match posted {
        Ok(Posted::Sent | Posted::Gone) => StatusCode::OK.as_u16(),
        Ok(posted) => {
            tracing::warn!(?posted, "answer not sent");
            StatusCode::INTERNAL_SERVER_ERROR.as_u16()
        }
        Err(error) => {
            tracing::error!(error = error.chain(), "answer not sent");
            StatusCode::INTERNAL_SERVER_ERROR.as_u16()
        }
    }
}

/// Runs a function of the WebSocket API, and logs one line.
pub async fn logged(context: &Context, table: &Table, handling: impl Future<Output = u16>) -> u16 {
    let started = Instant::now();
    let status = handling.await;
    let usage = table.usage();
    tracing::info!(
        lambda_request_id = context.request_id,
        function = context.env_config.function_name,
        status,
        latency_ms = started.elapsed().as_secs_f64() * 1e3,
        requests = usage.requests,
        read_units = usage.read_units,
        write_units = usage.write_units,
        "event handled"
    );
    status
}
