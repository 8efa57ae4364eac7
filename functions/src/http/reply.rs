//! Successful replies.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use lambda_http::{Body, Response};
use serde::Serialize;
use shared::table::Created;

use super::error::Error;

/// What a handler returns.
pub type Reply = Result<Response<Body>, Error>;

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Replies 200 with a resource or a page.
pub fn ok(resource: &impl Serialize) -> Reply {
    json(StatusCode::OK, resource)
}

/// Replies 201 with a resource and its location, a path.
pub fn created<T: Serialize>(created: &Created<T>, location: impl FnOnce(&T) -> String) -> Reply {
    let mut response = json(StatusCode::CREATED, &created.resource)?;
    let location = HeaderValue::try_from(location(&created.resource)).map_err(Error::internal)?;
    response.headers_mut().insert(LOCATION, location);
    if created.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Replies 204.
pub fn no_content() -> Reply {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn json(status: StatusCode, resource: &impl Serialize) -> Reply {
    let body = serde_json::to_string(resource).map_err(Error::internal)?;
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}
