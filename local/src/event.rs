//! The event that API Gateway sends to a function: HTTP API, payload format 2.0. Source:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderName, USER_AGENT};
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::template::Route;

/// A request that has a route.
pub(crate) struct Routed<'r> {
    pub(crate) parts: &'r Parts,
    pub(crate) body: &'r [u8],
    pub(crate) route: &'r Route,
    /// The path parameters, percent-encoded.
    pub(crate) path: Vec<(&'r str, &'r str)>,
    pub(crate) request_id: &'r str,
    /// `requestContext.authorizer`, if the route has an authorizer.
    pub(crate) authorizer: Option<Value>,
}

impl Routed<'_> {
    /// Returns the event.
    pub(crate) fn event(&self) -> Value {
        let mut event = json!({
            "version": "2.0",
            "routeKey": self.route_key(),
            "rawPath": decode(self.parts.uri.path()),
            "rawQueryString": self.parts.uri.query().unwrap_or_default(),
            "headers": self.headers(),
            "requestContext": self.context(),
            "isBase64Encoded": false,
        });
        let cookies = self.cookies();
        if !cookies.is_empty() {
            event["cookies"] = json!(cookies);
        }
        let query = self.query();
        if !query.is_empty() {
            event["queryStringParameters"] = json!(query);
        }
        if !self.path.is_empty() {
            let decoded = self.path.iter().map(|(name, value)| ((*name).to_owned(), decode(value)));
            event["pathParameters"] = decoded.map(|(name, value)| (name, json!(value))).collect();
        }
        match std::str::from_utf8(self.body) {
            Ok("") => {}
            Ok(text) if is_sent_as_text(&self.parts.headers) => event["body"] = json!(text),
            _ => {
                event["body"] = json!(BASE64_STANDARD.encode(self.body));
                event["isBase64Encoded"] = json!(true);
            }
        }
        event
    }

    fn route_key(&self) -> String {
        format!("{} {}", self.route.method, self.route.path)
    }

    fn context(&self) -> Map<String, Value> {
        let time = Timestamp::now();
        let context = json!({
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": text(&self.parts.headers, &HOST),
            "domainPrefix": "local",
            "http": {
                "method": self.route.method,
                "path": decode(self.parts.uri.path()),
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": text(&self.parts.headers, &USER_AGENT),
            },
            "requestId": self.request_id,
            "routeKey": self.route_key(),
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": time.as_millisecond(),
        });
        let Value::Object(mut context) = context else { return Map::new() };
        context.extend(self.authorizer.clone().map(|value| ("authorizer".to_owned(), value)));
        context
    }

    fn headers(&self) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for (name, value) in self.parts.headers.iter().filter(|(name, _)| *name != COOKIE) {
            let value = String::from_utf8_lossy(value.as_bytes());
            append(&mut headers, name.as_str().to_owned(), &value);
        }
        headers.insert("x-forwarded-proto".into(), "http".into());
        headers.insert("x-forwarded-for".into(), "127.0.0.1".into());
        headers
    }

    fn cookies(&self) -> Vec<String> {
        let values = self.parts.headers.get_all(COOKIE).iter();
        let values = values.map(|value| value.to_str().unwrap_or_default());
        values.flat_map(|value| value.split("; ").map(str::to_owned)).collect()
    }

    fn query(&self) -> BTreeMap<String, String> {
        let mut query = BTreeMap::new();
        let raw = self.parts.uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            append(&mut query, name.into_owned(), &value);
        }
        query
    }
}

/// Returns whether API Gateway sends the body as text. It encodes bodies of other media types, or
/// of none, in base64.
fn is_sent_as_text(headers: &HeaderMap) -> bool {
    let content_type = text(headers, &CONTENT_TYPE).to_ascii_lowercase();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript"].contains(&media_type)
}

/// Adds a value. Repeated values are separated by commas.
fn append(map: &mut BTreeMap<String, String>, name: String, value: &str) {
    map.entry(name)
        .and_modify(|values| *values = format!("{values},{value}"))
        .or_insert_with(|| value.to_owned());
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
