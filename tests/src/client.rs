//! An HTTP client of the service.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::response::Response;

/// A client of one service.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    url: String,
}

impl Api {
    /// Returns a client of the service at `url`, which ends without a slash.
    #[must_use]
    pub fn connect(url: &str) -> Self {
        Self { client: Client::new(), url: url.to_owned() }
    }

    /// Returns the service's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request with exactly these headers and this body.
    ///
    /// # Panics
    /// If no response arrives.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Response {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.client.request(method, format!("{}{path}", self.url));
        let mut request = request.body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("a response");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("a body").to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Response { status, headers, text, bytes }
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], "").await
    }

    /// Sends a DELETE.
    pub async fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, &[], "").await
    }

    /// Sends a POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// Sends a POST with a JSON body and an idempotency key.
    pub async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Response {
        self.post_text_with_key(path, key, &body.to_string()).await
    }

    /// Sends a POST with the text of a JSON body and an idempotency key.
    pub async fn post_text_with_key(&self, path: &str, key: &str, body: &str) -> Response {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.send("POST", path, &headers, body).await
    }

    /// Sends a PATCH with a merge patch.
    pub async fn patch(&self, path: &str, body: &Value) -> Response {
        let headers = [("content-type", "application/merge-patch+json")];
        self.send("PATCH", path, &headers, body.to_string()).await
    }

    /// Sends a PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Response {
        self.send("PUT", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// Creates a profile. Returns its id.
    ///
    /// # Panics
    /// If the response is not 201.
    pub async fn profile(&self, first_name: &str) -> String {
        let body = json!({ "first_name": first_name });
        let profile = self.post("/profiles", &body).await.expect(201);
        profile["id"].as_str().expect("an id").to_owned()
    }

    /// Creates a conversation. Returns its id.
    ///
    /// # Panics
    /// If the response is not 201.
    pub async fn conversation(&self, author_id: &str) -> String {
        let body = json!({ "subject": "A subject", "author_id": author_id });
        let conversation = self.post("/conversations", &body).await.expect(201);
        conversation["id"].as_str().expect("an id").to_owned()
    }

    /// Creates a profile and a conversation of it. Returns both ids.
    pub async fn profile_and_conversation(&self) -> (String, String) {
        let profile = self.profile("Ada").await;
        let conversation = self.conversation(&profile).await;
        (profile, conversation)
    }

    /// Posts a message. Returns the posted message.
    ///
    /// # Panics
    /// If the response is not 201.
    pub async fn say(&self, conversation_id: &str, author_id: &str, text: &str) -> Value {
        let body = json!({ "author_id": author_id, "text": text });
        let path = format!("/conversations/{conversation_id}/messages");
        self.post(&path, &body).await.expect(201)
    }

    /// Returns every message of a conversation, oldest first, as a client that polls reads them.
    ///
    /// # Panics
    /// If a response is not 200.
    pub async fn messages(&self, conversation_id: &str) -> Vec<Value> {
        let mut messages = Vec::new();
        let mut next = Some(format!("/conversations/{conversation_id}/messages?limit=100&after=0"));
        while let Some(path) = next {
            let page = self.get(&path).await.expect(200);
            messages.extend(page["results"].as_array().expect("results").iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
        }
        messages
    }
}
