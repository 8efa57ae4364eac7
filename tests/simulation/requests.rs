//! Requests to the operations, and their responses.

use std::collections::HashMap;

use functions::http::auth::{READ_SCOPE, WRITE_SCOPE};
use lambda_http::http::Method;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Context, Request, RequestExt, Response};
use serde_json::{Value, json};

/// The `sub` of each user. The first is a prefix of two others.
pub(crate) const SUBJECTS: [&str; 4] = ["ann", "ann#", "ann%23", "änn"];

/// The number of users.
pub(crate) const USERS: usize = SUBJECTS.len();

/// A request to an operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) function: &'static str,
    /// The caller; `None`: an administrator.
    pub(crate) user: Option<usize>,
    pub(crate) path: Vec<(&'static str, String)>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) key: Option<String>,
    /// The `exp` of the caller's token.
    pub(crate) token_expires: Option<i64>,
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
    /// The headers that do not differ from response to response, sorted.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) replayed: bool,
    pub(crate) retry_after: Option<u64>,
    /// True if the function died. API Gateway answers 500 then.
    pub(crate) died: bool,
}

impl Ask {
    /// Renders the request as `lambda_http` parses it from an event.
    ///
    /// The event has no deadline, because that would be a time of the machine's clock.
    pub(crate) fn into_request(self) -> Request {
        let Ask { function, user, path, query, key, token_expires, expected, body } = self;
        let method = match function.split_once('-').map(|(verb, _)| verb) {
            Some("create") => Method::POST,
            Some("update") => Method::PATCH,
            Some("delete") => Method::DELETE,
            Some("put" | "mark") => Method::PUT,
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
            .with_request_context(context(user, token_expires))
            .with_lambda_context(Context::default())
    }
}

/// Returns the context of a request with the token of a user, or of an administrator.
fn context(user: Option<usize>, expires: Option<i64>) -> RequestContext {
    let subject = user.map_or("admin", |user| SUBJECTS[user]);
    let groups = if user.is_none() { "[admin]" } else { "[]" };
    let scope = format!("{READ_SCOPE} {WRITE_SCOPE}");
    let mut claims = json!({ "sub": subject, "scope": scope, "cognito:groups": groups });
    if let Some(expires) = expires {
        claims["exp"] = json!(expires.to_string());
    }
    let context = json!({
        "authorizer": { "jwt": { "claims": claims, "scopes": null } },
        "http": { "method": "", "path": "", "protocol": "", "sourceIp": "", "userAgent": "" },
        "timeEpoch": 0,
    });
    RequestContext::ApiGatewayV2(serde_json::from_value(context).expect("a context"))
}

impl Answer {
    pub(crate) fn of(response: Response<Body>) -> Self {
        let headers = response.headers();
        let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok());
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let mut kept: Vec<(String, String)> = Vec::new();
        for (name, value) in headers {
            kept.push((name.to_string(), value.to_str().unwrap_or_default().to_owned()));
        }
        kept.sort();
        Self {
            status: response.status().as_u16(),
            code: body["code"].as_str().unwrap_or_default().to_owned(),
            headers: kept,
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
            headers: Vec::new(),
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
