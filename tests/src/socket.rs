//! A WebSocket client of the service.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::client::Api;

/// The longest wait for a frame. No test expects that a frame takes long.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open connection.
#[derive(Debug)]
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens a connection with a new ticket.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn open(api: &Api) -> Self {
        Self::open_as(api, None).await
    }

    /// Opens a connection with a new ticket of the owner of a token.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn open_as(api: &Api, token: Option<&str>) -> Self {
        let url = ticket(api, token).await;
        Self::connect(&url).await.unwrap_or_else(|status| panic!("refused: {status}"))
    }

    /// Opens an address.
    ///
    /// # Errors
    /// The status of the response that refuses the connection.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn connect(url: &str) -> Result<Self, u16> {
        match connect_async(url).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a text.
    ///
    /// # Panics
    /// If the connection has ended.
    pub async fn send_text(&mut self, text: String) {
        self.0.send(Message::text(text)).await.expect("an open connection");
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) {
        self.send_text(frame.to_string()).await;
    }

    /// Subscribes to a conversation. Returns the answer.
    pub async fn subscribe(&mut self, conversation_id: &str, after: &str) -> Value {
        let action = "subscribe";
        let frame = json!({ "action": action, "conversation_id": conversation_id, "after": after });
        self.send(&frame).await;
        self.next().await
    }

    /// Watches conversations of a profile. Returns the answer.
    pub async fn watch(&mut self, profile_id: &str, conversation_ids: &[&str]) -> Value {
        let frame = json!({
            "action": "watch", "profile_id": profile_id, "conversation_ids": conversation_ids,
        });
        self.send(&frame).await;
        self.next().await
    }

    /// Returns the next frame.
    ///
    /// # Panics
    /// If none arrives.
    pub async fn next(&mut self) -> Value {
        self.receive().await.unwrap_or_else(|code| panic!("closed: {code:?}"))
    }

    /// Returns the code with which the service closes the connection.
    ///
    /// # Panics
    /// If a frame arrives.
    pub async fn closed(&mut self) -> Option<u16> {
        self.receive().await.expect_err("a closed connection")
    }

    /// Returns the next frame.
    ///
    /// # Errors
    /// The code with which the service closes the connection.
    ///
    /// # Panics
    /// If neither arrives.
    pub async fn receive(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let received = timeout(PATIENCE, self.0.next()).await.expect("a frame");
            match received {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(close))) => return Err(close.map(|close| close.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }
}

/// Creates a ticket. Returns the address that it opens.
///
/// # Panics
/// If there is no ticket.
pub async fn ticket(api: &Api, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> =
        authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let ticket = api.send("POST", "/tickets", &headers, "").await.expect(201);
    ticket["url"].as_str().expect("an address").to_owned()
}
