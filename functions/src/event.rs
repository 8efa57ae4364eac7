//! The request behind an event of API Gateway.
//!
//! `lambda_http` gives up on an event, or panics, over what clients may well send: a header that is not ASCII, a host or query
//! that does not make a URL. Such a request is no error of the service; no handler looks at those parts. They are put in order here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lambda_http::http::HeaderName;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Error, IntoResponse, LambdaEvent, Request, Service, lambda_runtime, service_fn};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An event that `lambda_http` can read.
struct Event(LambdaRequest);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let event = Box::<RawValue>::deserialize(deserializer)?;
        read(event.get()).map(Self).map_err(D::Error::custom)
    }
}

fn read(event: &str) -> serde_json::Result<LambdaRequest> {
    // Nearly every event is in order. To look is a tenth of what it costs to take one apart and put it together again.
    if is_in_order(event) {
        return serde_json::from_str(event);
    }
    let mut event = serde_json::from_str(event)?;
    put_in_order(&mut event);
    serde_json::from_str(&event.to_string())
}

/// Whether `lambda_http` can read an event as it is: told from the parts over which it may stumble.
fn is_in_order(event: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Seen {
        headers: BTreeMap<String, String>,
        raw_query_string: String,
        request_context: Context,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Context {
        domain_name: String,
    }
    let Ok(seen) = serde_json::from_str::<Seen>(event) else { return false };
    // A last label that begins with a digit makes a name an address, and "xn--" is Punycode: both may be none.
    let is_label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
    };
    let is_name = |text: &str| {
        let last = text.rsplit('.').next().unwrap_or_default();
        text.parse::<Ipv4Addr>().is_ok() || last.starts_with(|c: char| c.is_ascii_alphabetic()) && text.split('.').all(is_label)
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
    seen.headers.iter().all(is_header)
        && is_host(&seen.request_context.domain_name)
        && seen.raw_query_string.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%=&+".contains(&byte))
}

fn put_in_order(event: &mut Value) {
    if let Some(Value::Object(headers)) = event.get_mut("headers") {
        // Without them `lambda_http` makes no URL of its own; it is the path that matters.
        headers.retain(|name, _| !["host", "x-forwarded-proto"].contains(&name.to_ascii_lowercase().as_str()));
        headers.retain(|name, _| name.parse::<HeaderName>().is_ok());
        for value in headers.values_mut() {
            // What is wrong stays wrong: an idempotency key that is none must not become no key.
            if let Value::String(text) = value {
                *text = text.replace(|c: char| c != '\t' && !(' '..='~').contains(&c), "?");
            }
        }
    }
    if let Some(Value::Object(context)) = event.get_mut("requestContext") {
        context.remove("domainName");
    }
    if let Some(Value::String(query)) = event.get_mut("rawQueryString") {
        *query =
            query.chars().map(|c| if c.is_ascii_graphic() && !"\"#<>".contains(c) { c.to_string() } else { encoded(c) }).collect();
    }
}

fn encoded(c: char) -> String {
    c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The request of an event.
///
/// # Errors
/// When it is not an event of API Gateway.
pub fn request(event: &str) -> serde_json::Result<Request> {
    read(event).map(Request::from)
}

/// Answers events for as long as the environment lives.
pub(crate) async fn serve<'a, S, R>(service: S) -> Result<(), Error>
where
    S: Service<Request, Response = R, Error = Error>,
    S::Future: Send + 'a,
    R: IntoResponse,
{
    let mut service = Adapter::from(service);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Event>| service.call(LambdaEvent::new(event.payload.0, event.context))))
        .await
}
