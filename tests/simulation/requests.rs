//! Requests to the operations, and their responses.

use std::collections::HashMap;

use lambda_http::http::Method;
use lambda_http::{Body, Context, Request, RequestExt, Response};
use serde_json::Value;

/// A request to an operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) function: &'a str,
    pub(crate) path: Vec<(&'static str, String)>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) key: Option<String>,
    /// The version in `If-Match`.
    pub(crate) expected: Option<u64>,
    pub(crate) body: Value,
}

/// A response of the service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The code of an error.
    pub(crate) code: String,
    pub(crate) body: Value,
    pub(crate) replayed: bool,
    pub(crate) retry_after: Option<u64>,
    /// True if the function died. API Gateway answers 500 then.
    pub(crate) died: bool,
}

impl Ask<'_> {
    /// Renders the request as `lambda_http` parses it from an event.
    ///
    /// The event has no deadline, because that would be a time of the machine's clock.
    pub(crate) fn into_request(self) -> Request {
        let Ask { function, path, query, key, expected, body } = self;
        let method = match function.split_once('-').map(|(verb, _)| verb) {
            Some("create") => Method::POST,
            Some("update") => Method::PATCH,
            Some("delete") => Method::DELETE,
            _ => Method::GET,
        };
        let body = if body.is_null() { Body::Empty } else { Body::Text(body.to_string()) };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let version = expected.map(|version| format!("\"{version}\""));
        let media_type = Some("application/json".to_owned());
        let headers =
            [("content-type", media_type), ("idempotency-key", key), ("if-match", version)];
        for (name, value) in headers {
            if let Some(value) = value {
                request.headers_mut().insert(name, value.parse().expect("a value"));
            }
        }
        let parameters = |pairs: Vec<(&str, String)>| -> HashMap<String, Vec<String>> {
            pairs.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect()
        };
        request
            .with_path_parameters(parameters(path))
            .with_query_string_parameters(parameters(query))
            .with_lambda_context(Context::default())
    }
}

impl Answer {
    pub(crate) fn of(response: Response<Body>) -> Self {
        let headers = response.headers();
        let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok());
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        Self {
            status: response.status().as_u16(),
            code: body["code"].as_str().unwrap_or_default().to_owned(),
            replayed: headers.contains_key("idempotency-replayed"),
            retry_after: retry_after.and_then(|seconds| seconds.parse().ok()),
            body,
            died: false,
        }
    }

    /// Returns the response of API Gateway for a function that died.
    pub(crate) fn died() -> Self {
        Self {
            status: 500,
            code: "died".to_owned(),
            body: Value::Null,
            replayed: false,
            retry_after: None,
            died: true,
        }
    }

    /// Returns the messages in a page.
    pub(crate) fn results(&self) -> Vec<Value> {
        self.body["results"].as_array().cloned().unwrap_or_default()
    }
}
