//! A port in front of an engine that records what passes and applies faults by operation.

use std::sync::{Arc, Mutex};

use serde_json::Value;

pub use super::faults::{Fault, Unreadable};
use super::remote::Remote;
use super::{Backend, Executed, Request, faults, listen};

/// A request that was executed, and its response.
#[derive(Clone, Debug)]
pub struct Sent {
    /// For example `Query`.
    pub operation: String,
    /// The body of the request.
    pub request: Value,
    /// The body of the response.
    pub answer: Value,
}

impl Sent {
    /// Returns the capacity units that the engine reports.
    #[must_use]
    pub fn units(&self) -> f64 {
        let units = |consumed: &Value| consumed["CapacityUnits"].as_f64().unwrap_or_default();
        match &self.answer["ConsumedCapacity"] {
            Value::Array(consumed) => consumed.iter().map(units).sum(),
            consumed => units(consumed),
        }
    }
}

/// Sits between the service and an engine, and records the requests that the engine executes.
#[derive(Clone)]
pub struct Recorder {
    /// The endpoint to give to the service.
    pub endpoint: String,
    sent: Arc<Mutex<Vec<Sent>>>,
}

struct Recorded<B> {
    backend: B,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl<B: Backend> Backend for Recorded<B> {
    async fn execute(&self, request: &Request) -> Executed {
        let executed = self.backend.execute(request).await;
        self.sent.lock().expect("no panic").push(Sent {
            operation: request.operation().to_owned(),
            request: request.body.clone(),
            answer: executed.body.clone(),
        });
        executed
    }
}

impl Recorder {
    /// Starts a recorder in front of the engine at this endpoint.
    pub async fn start(engine: String) -> Self {
        Self::with_faults(engine, |_| Fault::None).await
    }

    /// Starts a recorder that asks `fault`, for each request, for the fault of its operation.
    pub async fn with_faults(
        engine: String,
        fault: impl Fn(&str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let backend = Arc::new(Recorded { backend: Remote::new(engine), sent: sent.clone() });
        let endpoint = listen(move |request| {
            let (backend, fault) = (backend.clone(), fault(request.operation()));
            async move { faults::respond(&backend, &request, fault).await }
        });
        Self { endpoint: endpoint.await, sent }
    }

    /// Returns the requests that were executed since the last call.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().expect("no panic"))
    }
}
