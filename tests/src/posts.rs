//! A stand-in for `@connections`: records the frames that functions post, and answers as a test says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use functions::live::Publisher;
use serde_json::Value;
use shared::live::ConnectionId;

/// The posts of a service. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Posts(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    posted: Vec<(String, Value)>,
    /// The statuses of the next posts to a connection; then 200.
    statuses: HashMap<String, Vec<u16>>,
}

impl Posts {
    /// Returns a publisher whose frames are recorded here.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::with_http_client(self.clone())
    }

    /// Answers the next posts to a connection with these statuses.
    pub fn answer(&self, connection: &ConnectionId, statuses: &[u16]) {
        let statuses = statuses.iter().rev().copied().collect();
        self.lock().statuses.insert(connection.to_string(), statuses);
    }

    /// Returns the frames that were posted since the last call, whatever the answer was.
    #[must_use]
    pub fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.lock().posted)
    }

    /// Returns the frames to one connection since the last call. Forgets the others.
    #[must_use]
    pub fn take_to(&self, connection: &ConnectionId) -> Vec<Value> {
        let posted = self.take().into_iter();
        posted.filter(|(to, _)| *to == connection.as_str()).map(|(_, frame)| frame).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }
}

impl HttpClient for Posts {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Posts {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (_, id) = request.uri().rsplit_once("/@connections/").expect("a connection");
        let id = id.replace("%3D", "=");
        let frame = request.body().bytes().expect("a body");
        let frame = serde_json::from_slice(frame).expect("JSON");
        let mut state = self.lock();
        state.posted.push((id.clone(), frame));
        let status = state.statuses.get_mut(&id).and_then(Vec::pop).unwrap_or(200);
        let status = status.try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, "{}".into())))
    }
}
