//! The open connections, and `@connections`: the service through which functions reach them. Source:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html>
//!
//! The SDK of the functions is answered in this process. So nothing else can send frames to a client.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use percent_encoding::percent_decode_str;
use shared::live::{ConnectionId, MAX_FRAME};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The frames that wait for a client that reads slowly. Beyond that, posts are throttled.
const BUFFER: usize = 256;

/// The open connections.
#[derive(Debug, Default)]
pub struct Connections(Mutex<HashMap<String, Sender<String>>>);

impl Connections {
    /// Adds a connection. Returns the frames that are posted to it.
    pub(super) fn open(&self, id: &ConnectionId) -> Receiver<String> {
        let (sender, frames) = channel(BUFFER);
        self.lock().insert(id.to_string(), sender);
        frames
    }

    /// Removes a connection: it is gone for those who post to it.
    pub(super) fn close(&self, id: &ConnectionId) {
        self.lock().remove(id.as_str());
    }

    /// Answers a request to post a frame, with a status.
    fn post(&self, path: &str, frame: &[u8]) -> u16 {
        let Some(id) = path.rsplit_once("/@connections/").map(|(_, id)| id) else { return 403 };
        let id = percent_decode_str(id).decode_utf8_lossy();
        if frame.len() > MAX_FRAME {
            return 413;
        }
        let Some(sender) = self.lock().get(&*id).cloned() else { return 410 };
        match sender.try_send(String::from_utf8_lossy(frame).into_owned()) {
            Ok(()) => 200,
            Err(TrySendError::Full(_)) => 429,
            Err(TrySendError::Closed(_)) => 410,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Sender<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an HTTP client for the SDK whose requests these connections answer.
pub(super) fn client(connections: Arc<Connections>) -> SharedHttpClient {
    SharedHttpClient::new(InProcess(connections))
}

#[derive(Clone, Debug)]
struct InProcess(Arc<Connections>);

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let status = match request.method() {
            "POST" => self.0.post(request.uri(), request.body().bytes().unwrap_or_default()),
            _ => 403,
        };
        let response = StatusCode::try_from(status)
            .map(|status| HttpResponse::new(status, "{}".into()))
            .map_err(|error| ConnectorError::other(error.into(), None));
        HttpConnectorFuture::new(ready(response))
    }
}
