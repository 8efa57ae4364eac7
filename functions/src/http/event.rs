//! The request in an API Gateway event.
//!
//! `lambda_http` rejects some events that clients can cause, or panics: a header that is not ASCII, a
//! host or query that does not form a URL. No handler reads those parts, so they are repaired here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lambda_http::http::HeaderName;
use lambda_http::request::LambdaRequest;
use lambda_http::{
    Adapter, Error, IntoResponse, LambdaEvent, Request, Service, lambda_runtime, service_fn,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An event that `lambda_http` can parse.
struct Event(LambdaRequest);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let event = Box::<RawValue>::deserialize(deserializer)?;
        parse_repaired(event.get()).map(Self).map_err(D::Error::custom)
    }
}

fn parse_repaired(event: &str) -> serde_json::Result<LambdaRequest> {
    // Nearly every event is fine. The check costs a tenth of parsing and rendering the event.
    if is_parsable(event) {
        return serde_json::from_str(event);
    }
    let mut event = serde_json::from_str(event)?;
    repair(&mut event);
    serde_json::from_str(&event.to_string())
}

/// Returns whether `lambda_http` can parse the event unchanged. Checks only the parts it is known to
/// reject.
fn is_parsable(event: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Checked {
        headers: BTreeMap<String, String>,
        raw_query_string: String,
        request_context: Context,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Context {
        domain_name: String,
    }
    let Ok(checked) = serde_json::from_str::<Checked>(event) else { return false };
    // A name whose last label begins with a digit is parsed as an IPv4 address, and "xn--" as Punycode.
    // Both can be invalid.
    let is_label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
    };
    let is_name = |text: &str| {
        let last = text.rsplit('.').next().unwrap_or_default();
        text.parse::<Ipv4Addr>().is_ok()
            || last.starts_with(|c: char| c.is_ascii_alphabetic()) && text.split('.').all(is_label)
    };
    let is_host = |text: &str| match text.split_once(':') {
        Some((name, port)) => is_name(name) && port.parse::<u16>().is_ok(),
        None => is_name(text),
    };
    let is_header = |(name, value): (&String, &String)| {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && match name.as_str() {
                "" => false,
                "host" => is_host(value),
                "x-forwarded-proto" => value == "https" || value == "http",
                _ => value.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            }
    };
    checked.headers.iter().all(is_header)
        && is_host(&checked.request_context.domain_name)
        && checked
            .raw_query_string
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%=&+".contains(&byte))
}

fn repair(event: &mut Value) {
    if let Some(Value::Object(headers)) = event.get_mut("headers") {
        // Without these headers `lambda_http` builds no absolute URL. Handlers read only the path.
        headers.retain(|name, _| {
            !["host", "x-forwarded-proto"].contains(&name.to_ascii_lowercase().as_str())
        });
        headers.retain(|name, _| name.parse::<HeaderName>().is_ok());
        for value in headers.values_mut() {
            // An invalid idempotency key must stay invalid, and a key with a space is.
            if let Value::String(text) = value {
                *text = text.replace(|c: char| c != '\t' && !(' '..='~').contains(&c), " ");
            }
        }
    }
    if let Some(Value::Object(context)) = event.get_mut("requestContext") {
        context.remove("domainName");
    }
    if let Some(Value::String(query)) = event.get_mut("rawQueryString") {
        *query = query
            .chars()
            .map(|c| {
                if c.is_ascii_graphic() && !"\"#<>".contains(c) {
                    c.to_string()
                } else {
                    encoded(c)
                }
            })
            .collect();
    }
}

fn encoded(c: char) -> String {
    c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns the request in an event.
///
/// # Errors
/// If the text is not an API Gateway event.
pub fn parse(event: &str) -> serde_json::Result<Request> {
    parse_repaired(event).map(Request::from)
}

/// Answers events until the execution environment ends.
pub(crate) async fn serve<'a, S, R>(service: S) -> Result<(), Error>
where
    S: Service<Request, Response = R, Error = Error>,
    S::Future: Send + 'a,
    R: IntoResponse,
{
    let mut service = Adapter::from(service);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Event>| {
        service.call(LambdaEvent::new(event.payload.0, event.context))
    }))
    .await
}
