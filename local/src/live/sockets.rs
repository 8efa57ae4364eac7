//! The connections at `/live`: API Gateway's part, which opens them, runs the function of each frame,
//! and closes them at its limits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use functions::live::event::logged;
use functions::live::{SocketEvent, connect, disconnect, subscribe, unsubscribe, watch};
use lambda_http::Context;
use serde_json::{Value, json};
use shared::Table;
use shared::live::{ConnectionId, MAX_FRAME};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::Live;
use crate::hosts::error_response;

/// The largest message, in bytes, which may consist of several frames.
const MAX_MESSAGE: usize = 128 * 1024;
/// The buffer of a connection, in bytes. Clients send short frames.
const READ_BUFFER: usize = 4 * 1024;
/// The longest time for a client to take a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The status of a close frame. Source: RFC 6455, section 7.4.1.
const GOING_AWAY: u16 = 1001;
const TOO_BIG: u16 = 1009;

/// Returns the route of the WebSocket API.
pub(crate) fn router(live: Live) -> Router {
    let live = Arc::new(live);
    Router::new().route(
        "/live",
        get(move |RawQuery(query), upgrade| async move {
            open(live, query.unwrap_or_default(), upgrade).await
        }),
    )
}

/// Opens a connection, unless the function `connect` refuses it.
async fn open(live: Arc<Live>, query: String, upgrade: WebSocketUpgrade) -> Response {
    let id = BASE64_STANDARD.encode(&Uuid::new_v4().as_bytes()[..11]);
    let query: Value = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), json!(value)))
        .collect();
    let event = event(&id, "$connect", query, None);
    let Ok((id, event)) = event else {
        return error_response(StatusCode::BAD_REQUEST, "Bad Request").into_response();
    };
    let table = live.table();
    match run(&table, connect(table.clone(), event)).await {
        200 => {}
        403 => return error_response(StatusCode::FORBIDDEN, "Forbidden").into_response(),
        _ => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return error_response(status, "Internal server error").into_response();
        }
    }
    let upgrade = upgrade.max_frame_size(MAX_FRAME).max_message_size(MAX_MESSAGE);
    let upgrade = upgrade.read_buffer_size(READ_BUFFER);
    upgrade.on_upgrade(move |socket| serve(live, id, socket))
}

/// Serves an open connection until it ends.
async fn serve(live: Arc<Live>, id: ConnectionId, mut socket: WebSocket) {
    let mut frames = live.connections.open(&id);
    let end = Instant::now() + live.limits.lifetime;
    let mut idle = Instant::now() + live.limits.idle;
    let status = loop {
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => receive(&live, &id, text.as_str()),
                Some(Ok(Message::Binary(_))) => receive(&live, &id, ""),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => break None,
                Some(Err(_)) => break Some(TOO_BIG),
            },
            Some(frame) = frames.recv() => {
                let sent = timeout(SEND_TIMEOUT, socket.send(Message::text(frame))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break None;
                }
            }
            () = sleep_until(end.min(idle)) => break Some(GOING_AWAY),
        }
        idle = Instant::now() + live.limits.idle;
    };
    live.connections.close(&id);
    if let Some(code) = status {
        let close = CloseFrame { code, reason: "".into() };
        let _ = timeout(SEND_TIMEOUT, socket.send(Message::Close(Some(close)))).await;
    }
    if let Ok((_, event)) = event(id.as_str(), "$disconnect", json!({}), None) {
        let table = live.table();
        run(&table, disconnect(table.clone(), event)).await;
    }
}

/// Runs the function of a frame in the background, as API Gateway does: frames of one connection may
/// overtake each other.
fn receive(live: &Arc<Live>, id: &ConnectionId, text: &str) {
    let frame: Value = serde_json::from_str(text).unwrap_or_default();
    let action = frame["action"].as_str().unwrap_or_default().to_owned();
    let Ok((_, event)) = event(id.as_str(), &action, json!({}), Some(text)) else { return };
    let (live, id) = (live.clone(), id.clone());
    tokio::spawn(async move {
        let (table, publisher) = (live.table(), live.publisher.clone());
        let own = table.clone();
        let status = match action.as_str() {
            "subscribe" => run(&table, subscribe(own, publisher, event)).await,
            "unsubscribe" => run(&table, unsubscribe(own, publisher, event)).await,
            "watch" => run(&table, watch(own, publisher, event)).await,
            _ => 403,
        };
        let message = match status {
            200 => return,
            403 => "Forbidden",
            _ => "Internal server error",
        };
        let request_id = Uuid::new_v4();
        let error = json!({ "message": message, "connectionId": id, "requestId": request_id });
        let _ = live.publisher.post(&id, &error.to_string()).await;
    });
}

/// Runs a function as its binary does, with its log line.
async fn run(table: &Table, handling: impl Future<Output = u16>) -> u16 {
    logged(&Context::default(), table, handling).await
}

/// Returns the event that API Gateway sends to a function, and the id of its connection.
fn event(
    id: &str,
    route: &str,
    query: Value,
    body: Option<&str>,
) -> serde_json::Result<(ConnectionId, SocketEvent)> {
    let event: SocketEvent = serde_json::from_value(json!({
        "requestContext": { "connectionId": id, "routeKey": route, "apiId": "local" },
        "queryStringParameters": query,
        "body": body,
        "isBase64Encoded": false,
    }))?;
    Ok((event.connection().clone(), event))
}
