//! The request behind an event of API Gateway.
//!
//! `lambda_http` gives up on an event, or panics, over what clients may well send: a header that is not ASCII, a host or query
//! that does not make a URL. Such a request is no error of the service; no handler looks at those parts. They are put in order here.

use lambda_http::http::HeaderName;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Error, IntoResponse, LambdaEvent, Request, Service, lambda_runtime, service_fn};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An event that `lambda_http` can read.
struct Event(LambdaRequest);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut event = Value::deserialize(deserializer)?;
        put_in_order(&mut event);
        LambdaRequest::deserialize(event).map(Self).map_err(D::Error::custom)
    }
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
    serde_json::from_str::<Event>(event).map(|event| event.0.into())
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
