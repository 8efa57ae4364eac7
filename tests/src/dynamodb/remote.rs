//! An engine at an endpoint: the embedded one behind its port, or DynamoDB Local.

use reqwest::Client;

use super::{Backend, Executed, Request};

/// An engine at an endpoint.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    endpoint: String,
}

impl Remote {
    /// Wraps the engine at an endpoint.
    #[must_use]
    pub fn new(endpoint: String) -> Self {
        Self { client: Client::new(), endpoint }
    }
}

impl Backend for Remote {
    async fn execute(&self, request: &Request) -> Executed {
        let body = request.body.to_string();
        let mut headers = request.headers.clone();
        // The body is rendered again, so its length may differ.
        headers.remove("content-length");
        let sent = self.client.post(&self.endpoint).headers(headers).body(body).send().await;
        let response = sent.expect("a response from the engine");
        let status = response.status().as_u16();
        let body = response.json().await.expect("JSON");
        Executed { status, body, settles_in: Default::default() }
    }
}
