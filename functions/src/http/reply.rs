//! Successful replies.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION};
use lambda_http::{Body, Response};
use serde::Serialize;
use shared::table::Created;
use shared::{Conversation, Message, PostedMessage, Profile};

use super::error::Error;

/// The result of a handler.
pub type Reply = Result<Response<Body>, Error>;

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A single resource with a version.
pub trait Versioned: Serialize {
    /// Returns the version, which is the resource's `ETag`.
    fn version(&self) -> u64;
}

impl Versioned for Profile {
    fn version(&self) -> u64 {
        self.version
    }
}

impl Versioned for Conversation {
    fn version(&self) -> u64 {
        self.version
    }
}

impl Versioned for Message {
    fn version(&self) -> u64 {
        self.change
    }
}

impl Versioned for PostedMessage {
    fn version(&self) -> u64 {
        self.message.change
    }
}

/// Replies 200 with a page, or a resource without a version.
pub fn page(page: &impl Serialize) -> Reply {
    json(StatusCode::OK, page)
}

/// Replies 200 with a resource and its `ETag`.
pub fn ok<T: Versioned>(resource: &T) -> Reply {
    tagged(StatusCode::OK, resource)
}

/// Replies 201 with a resource that has neither a version nor a path of its own.
pub fn added(resource: &impl Serialize) -> Reply {
    json(StatusCode::CREATED, resource)
}

fn tagged<T: Versioned>(status: StatusCode, resource: &T) -> Reply {
    let mut response = json(status, resource)?;
    let etag = format!("\"{}\"", resource.version());
    let etag = HeaderValue::try_from(etag).map_err(Error::internal)?;
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

/// Replies 201 with a resource, its `ETag` and its location, a path.
pub fn created<T: Versioned>(created: &Created<T>, location: impl FnOnce(&T) -> String) -> Reply {
    let mut response = tagged(StatusCode::CREATED, &created.resource)?;
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
