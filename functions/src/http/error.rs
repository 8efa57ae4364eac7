//! Every error that an operation returns, and its response: problem details (RFC 9457).

use super::quota::insert_quota;
use lambda_http::http::StatusCode;
use lambda_http::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use lambda_http::{Body, Response};
use problem_details::{ProblemDetails, ProblemType};
use serde::Serialize;
use shared::error::{Cause, FieldErrors};
use shared::text::MAX_BODY;

/// Why a request failed. The text of each error is for the client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Malformed request: invalid JSON, id or query parameter.
    #[error("{0}")]
    Malformed(String),
    /// The request has no verified access token.
    #[error("Send a valid access token in the header Authorization.")]
    Unauthenticated,
    /// The access token lacks this scope.
    #[error("Use an access token with the scope {0}.")]
    MissingScope(&'static str),
    /// The body is larger than [`MAX_BODY`] bytes.
    #[error("Send at most {MAX_BODY} bytes.")]
    TooLarge,
    /// The body's media type is none of these.
    #[error("Send the body as {}.", .0.join(" or "))]
    MediaType(&'static [&'static str]),
    /// An error of the domain.
    #[error(transparent)]
    Domain(#[from] shared::Error),
}

impl Error {
    /// A bug; the cause is logged, never sent.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Domain(shared::Error::internal(cause))
    }

    /// Returns the error and its causes in one line, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        match self {
            Self::Domain(error) => error.chain(),
            error => error.to_string(),
        }
    }

    /// Returns the stable code that names the cause.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    /// Returns whether the service is the cause.
    #[must_use]
    pub fn is_server_error(&self) -> bool {
        self.status_and_code().0.is_server_error()
    }

    /// Returns the status, and the stable code that names the cause.
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        use shared::Error as Domain;
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::MissingScope(_) => (StatusCode::FORBIDDEN, "missing_scope"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type"),
            Self::Domain(error) => match error {
                Domain::Forbidden => (StatusCode::FORBIDDEN, "not_owner"),
                Domain::NotModerator => (StatusCode::FORBIDDEN, "not_moderator"),
                Domain::NotAMember => (StatusCode::FORBIDDEN, "not_a_member"),
                Domain::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
                Domain::Conflict(conflict) => (StatusCode::CONFLICT, conflict.code()),
                Domain::Gone => (StatusCode::GONE, "gone"),
                Domain::CursorUnknown => (StatusCode::GONE, "cursor_unknown"),
                Domain::ConnectionEnded => (StatusCode::GONE, "connection_ended"),
                Domain::TooManySubscriptions => {
                    (StatusCode::TOO_MANY_REQUESTS, "too_many_subscriptions")
                }
                Domain::PreconditionFailed => {
                    (StatusCode::PRECONDITION_FAILED, "precondition_failed")
                }
                Domain::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
                Domain::ConversationBusy => (StatusCode::TOO_MANY_REQUESTS, "conversation_busy"),
                Domain::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
                Domain::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
                Domain::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
                Domain::OutcomeUnknown(_) => (StatusCode::INTERNAL_SERVER_ERROR, "outcome_unknown"),
                Domain::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            },
        }
    }

    /// Returns after how many seconds the request may be sent again.
    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Domain(shared::Error::RateLimited { retry_after, .. }) => Some(*retry_after),
            Self::Domain(shared::Error::ConversationBusy | shared::Error::Unavailable(_)) => {
                Some(1)
            }
            _ => None,
        }
    }

    /// Renders the error as problem details.
    #[must_use]
    pub fn to_response(&self, request_id: &str) -> Response<Body> {
        let (status, code) = self.status_and_code();
        let errors = match self {
            Self::Domain(shared::Error::Invalid(errors)) => Some(errors),
            _ => None,
        };
        let problem = ProblemDetails::from_status_code(status)
            .with_type(ProblemType::default())
            .with_detail(self.to_string())
            .with_extensions(Extensions { code, request_id, errors });
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = Response::new(Body::Text(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::Domain(shared::Error::RateLimited { quota, .. }) = self {
            insert_quota(headers, quota);
        }
        response
    }
}

/// The members that our problem details add to those of RFC 9457.
#[derive(Serialize)]
struct Extensions<'e> {
    code: &'static str,
    request_id: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'e FieldErrors>,
}
