//! HTTP requests to the service, each with a deadline.

use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION};
use uuid::Uuid;

/// A client of one service.
pub(crate) struct Client<'c> {
    agent: Agent,
    url: &'c str,
    token: Option<&'c str>,
    /// The longest duration of one request.
    request_limit: Duration,
    /// The time at which requests stop.
    deadline: Instant,
}

/// A response of the service.
pub(crate) struct Response {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The header `Location`, or nothing.
    pub(crate) location: String,
    /// True if the response is a replay (`Idempotency-Replayed: true`).
    pub(crate) replayed: bool,
    /// The body; `null` if it is not JSON.
    pub(crate) body: Value,
}

/// A POST with its idempotency key.
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) key: Uuid,
}

impl Post {
    /// Creates a POST with a new idempotency key.
    pub(crate) fn new(path: &str, body: Value) -> Self {
        Self { path: path.to_owned(), body, key: Uuid::new_v4() }
    }
}

impl<'c> Client<'c> {
    /// Creates a client. No request lasts longer than `request_limit`.
    pub(crate) fn new(url: &'c str, token: Option<&'c str>, request_limit: Duration) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
        let url = url.trim_end_matches('/');
        Self { agent, url, token, request_limit, deadline: Instant::now() }
    }

    /// Allows requests during the next `limit`.
    pub(crate) fn start(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
    }

    /// Sends a request without a body.
    pub(crate) fn send(&self, method: &str, path: &str) -> Result<Response, String> {
        self.exchange(method, path, None, None)
    }

    /// Sends a PATCH.
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Result<Response, String> {
        self.exchange("PATCH", path, Some(body), None)
    }

    /// Sends a PUT.
    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<Response, String> {
        self.exchange("PUT", path, Some(body), None)
    }

    /// Sends a POST.
    pub(crate) fn post(&self, post: &Post) -> Result<Response, String> {
        self.exchange("POST", &post.path, Some(&post.body), Some(post.key))
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<Uuid>,
    ) -> Result<Response, String> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err("out of time".into());
        }
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key.to_string());
        }
        if let Some(token) = self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(body).map_err(|error| error.to_string())?;
        let timeout = remaining.min(self.request_limit);
        let request = self.agent.configure_request(request).timeout_global(Some(timeout)).build();
        let mut response = self.agent.run(request).map_err(|error| error.to_string())?;
        let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
        Ok(Response {
            status: response.status().as_u16(),
            location: header(response.headers(), LOCATION.as_str()).to_owned(),
            replayed: header(response.headers(), "idempotency-replayed") == "true",
            body: serde_json::from_str(&text).unwrap_or_default(),
        })
    }
}

impl Response {
    /// Returns the response if it has this status, otherwise an error with the problem's details.
    pub(crate) fn expect_status(self, status: u16) -> Result<Self, String> {
        if self.status == status {
            return Ok(self);
        }
        // API Gateway's own responses have a `message` instead of problem details.
        let detail = self.body["detail"].as_str().or(self.body["message"].as_str());
        let mut reason = format!("status {}", self.status);
        if let Some(detail) = detail {
            reason = format!("{reason}: {detail}");
        }
        if let Some(id) = self.body["request_id"].as_str() {
            reason = format!("{reason} (request {id})");
        }
        Err(reason)
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
