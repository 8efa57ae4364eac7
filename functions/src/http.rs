//! What all handlers share of HTTP: the invocation they are given, the replies they make, and the only match from
//! [`Error`] to a status.

use std::env;
use std::fmt::Display;
use std::future::Future;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_http::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{Method, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Context, Request, RequestExt, Response};
use problem_details::{ProblemDetails, ProblemType};
use serde::Serialize;
use shared::error::FieldErrors;
use shared::id::parse_uuid;
use shared::table::{Created, Usage};
use shared::text::MAX_BODY;
use shared::{Caller, Error, Idempotency, Result, Table};
use tokio::time::Instant;

use crate::Reply;

/// How long before the end of the invocation a request is answered, whatever is known by then.
const MARGIN: Duration = Duration::from_secs(2);

/// Whether this process has answered nothing yet.
static COLD: AtomicBool = AtomicBool::new(true);

/// How long an invocation lasts where nobody tells.
const UNTOLD: Duration = Duration::from_secs(10);

/// Lets a token read.
pub(crate) const READ_SCOPE: &str = "chat/read";
/// Lets a token post, and change what is its owner's.
pub(crate) const WRITE_SCOPE: &str = "chat/write";
/// Lets an operator's machine do all that there is.
pub(crate) const ADMIN_SCOPE: &str = "chat/admin";
/// The group of people who may change what belongs to anyone.
const ADMIN_GROUP: &str = "admin";
/// The longest `sub`, in bytes. Source: OpenID Connect Core 1.0, section 2.
const MAX_SUBJECT: usize = 255;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Whether callers have to be signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// They have to: API Gateway has verified a JWT, and its claims stand in the event.
    Jwt,
    /// They need not: everyone may act as anyone. For development.
    Open,
}

impl Auth {
    /// [`Auth::Open`] where `AUTH` is `open`, and closed in every other case.
    #[must_use]
    pub fn from_env() -> Self {
        match env::var("AUTH").as_deref() {
            Ok("open") => Self::Open,
            _ => Self::Jwt,
        }
    }

    /// Who sent this request, if their token lets them send such a one.
    ///
    /// API Gateway has checked the same scopes (`template.yaml`); here they are checked again, so that a route that lost its
    /// authorizer, or its scopes, stays closed. Source of the claims' form:
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>
    fn caller(self, request: &Request) -> Result<Caller> {
        if self == Self::Open {
            return Ok(Caller::Anyone);
        }
        let claims = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => {
                context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref()).map(|jwt| &jwt.claims)
            }
            _ => None,
        };
        let claim = |name: &str| claims.and_then(|claims| claims.get(name)).map(String::as_str).unwrap_or_default();
        let subject = claim("sub");
        if subject.is_empty() || subject.len() > MAX_SUBJECT {
            return Err(Error::Unauthenticated);
        }
        let has_scope = |scope: &str| listed(claim("scope")).chain(listed(claim("scp"))).any(|has| has == scope);
        let operator = has_scope(ADMIN_SCOPE);
        let needed = if request.method() == Method::GET { READ_SCOPE } else { WRITE_SCOPE };
        if !operator && !has_scope(needed) {
            return Err(Error::MissingScope(needed));
        }
        let admin = operator || listed(claim("cognito:groups")).any(|group| group == ADMIN_GROUP);
        Ok(if admin { Caller::Admin(subject.into()) } else { Caller::User(subject.into()) })
    }
}

/// The members of a claim that is a list, which API Gateway writes as `[admin other]`, or of one that is words, as `scope` is.
pub fn listed(claim: &str) -> impl Iterator<Item = &str> {
    claim.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(claim).split(' ')
}

/// What a handler works with: the table for as long as there is time, who asks, and the request.
#[derive(Debug)]
pub struct Invocation {
    /// The table, until this invocation must be answered.
    pub table: Table,
    /// Who asks.
    pub caller: Caller,
    request: Request,
}

impl Invocation {
    /// A parameter of the path.
    pub fn path<T>(&self, name: &str) -> Result<T>
    where
        T: FromStr<Err: Display>,
    {
        let parameters = self.request.path_parameters_ref();
        let text = parameters.and_then(|parameters| parameters.first(name)).unwrap_or_default();
        text.parse().map_err(|error| Error::Malformed(format!("{name} {error}")))
    }

    /// The parameters of the query, of which only `allowed` may be there, each once.
    pub fn query(&self, allowed: &[&str]) -> Result<Query> {
        let mut query = Query(Vec::new());
        let Some(parameters) = self.request.query_string_parameters_ref() else { return Ok(query) };
        for (name, value) in parameters.iter() {
            if !allowed.contains(&name) {
                return Err(Error::Malformed(match allowed {
                    [] => format!("{name:?}: this operation takes no query parameters"),
                    _ => format!("{name:?}: the query parameters are {}", allowed.join(", ")),
                }));
            }
            if query.text(name).is_some() {
                return Err(Error::Malformed(format!("{name} is given more than once")));
            }
            query.0.push((name.into(), value.into()));
        }
        Ok(query)
    }

    /// The bytes of the body, whose media type is one of these; no more than [`MAX_BODY`].
    pub(crate) fn body(&self, media_types: &[&str], refusal: &'static str) -> Result<&[u8]> {
        let content_type = self.request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_types.iter().any(|accepted| accepted.eq_ignore_ascii_case(media_type)) {
            return Err(Error::MediaType(refusal));
        }
        Ok(self.request.body().as_ref())
    }

    /// The idempotency key of a POST, bare or quoted, bound to this function, the ids of its path and its body.
    pub fn idempotency(&self, function: &str, path_ids: &[String]) -> Result<Option<Idempotency>> {
        let Some(value) = self.request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let key = parse_uuid(bare).map_err(|error| Error::Malformed(format!("Idempotency-Key {error}")))?;
        Ok(Some(Idempotency::new(key, function, path_ids, self.request.body())))
    }
}

/// The parameters of a query.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// One of them, if it is given.
    pub fn get<T>(&self, name: &str) -> Result<Option<T>>
    where
        T: FromStr<Err: Display>,
    {
        let parse = |text: &str| text.parse().map_err(|error| Error::Malformed(format!("{name} {error}")));
        self.text(name).map(parse).transpose()
    }
}

/// When an invocation has to be answered: [`MARGIN`] before it would be cut off. `cargo lambda watch` tells a deadline in 1970;
/// one that has passed counts as not told.
#[must_use]
pub fn deadline(context: &Context) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(context.deadline).checked_sub(now).unwrap_or(UNTOLD);
    Instant::now() + left.saturating_sub(MARGIN)
}

/// Answers a request: finds out who asks and until when, calls the handler, turns an error into its status, and writes the one
/// line of the log.
pub async fn respond<F>(table: &Table, auth: Auth, handler: &impl Fn(Invocation) -> F, request: Request) -> Response<Body>
where
    F: Future<Output = Reply>,
{
    let exchange = Exchange::start(&request);
    let table = table.until(deadline(&exchange.context));
    let reply = match auth.caller(&request) {
        _ if request.body().len() > MAX_BODY => Err(Error::TooLarge),
        Ok(caller) => handler(Invocation { table: table.clone(), caller, request }).await,
        Err(error) => Err(error),
    };
    exchange.finish(reply, table.usage())
}

/// Answers a request that needs neither a caller nor the table.
pub fn respond_to_anyone(handler: fn(&Request) -> Reply, request: &Request) -> Response<Body> {
    Exchange::start(request).finish(handler(request), Usage::default())
}

/// What every answer takes from its request, whoever makes it.
struct Exchange {
    started: Instant,
    context: Context,
    route: String,
}

impl Exchange {
    fn start(request: &Request) -> Self {
        let route = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => context.route_key.clone().unwrap_or_default(),
            _ => String::new(),
        };
        Self { started: Instant::now(), context: request.lambda_context(), route }
    }

    /// The answer, with the headers that all have; and the one line of the log.
    fn finish(self, reply: Reply, usage: Usage) -> Response<Body> {
        let Self { started, context, route } = self;
        let mut response = reply.unwrap_or_else(|error| {
            let response = problem(&error, &context.request_id);
            // What a client cannot change is logged here, and nowhere else.
            if response.status().is_server_error() {
                tracing::error!(
                    request_id = context.request_id,
                    status = response.status().as_u16(),
                    error = error.chain(),
                    "failed"
                );
            }
            response
        });
        let headers = response.headers_mut();
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        tracing::info!(
            request_id = context.request_id,
            function = context.env_config.function_name,
            route,
            status = response.status().as_u16(),
            latency_ms = started.elapsed().as_secs_f64() * 1e3,
            cold_start = COLD.swap(false, Ordering::Relaxed),
            requests = usage.requests,
            transactions = usage.transactions,
            read_units = usage.read_units,
            write_units = usage.write_units,
            "request"
        );
        response
    }
}

/// 200 with a resource or a page of them.
pub fn ok(resource: &impl Serialize) -> Reply {
    json(StatusCode::OK, resource)
}

/// 201 with what was created, and where it is.
pub fn created<T: Serialize>(created: &Created<T>, location: impl FnOnce(&T) -> String) -> Reply {
    let mut response = json(StatusCode::CREATED, &created.resource)?;
    let location = HeaderValue::try_from(location(&created.resource)).map_err(Error::internal)?;
    response.headers_mut().insert(LOCATION, location);
    if created.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// 204.
pub fn no_content() -> Reply {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn json(status: StatusCode, resource: &impl Serialize) -> Reply {
    let mut response = Response::new(Body::Text(serde_json::to_string(resource).map_err(Error::internal)?));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What problem details carry beyond RFC 9457's own members.
#[derive(Serialize)]
struct Extensions<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'e FieldErrors>,
}

/// An error as problem details (RFC 9457).
pub(crate) fn problem(error: &Error, request_id: &str) -> Response<Body> {
    let (status, header) = match error {
        Error::Malformed(_) => (StatusCode::BAD_REQUEST, None),
        Error::Unauthenticated => (StatusCode::UNAUTHORIZED, Some((WWW_AUTHENTICATE, "Bearer"))),
        Error::Forbidden | Error::MissingScope(_) => (StatusCode::FORBIDDEN, None),
        Error::NotFound(_) => (StatusCode::NOT_FOUND, None),
        Error::Conflict(_) => (StatusCode::CONFLICT, None),
        Error::Gone => (StatusCode::GONE, None),
        Error::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
        Error::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
        Error::Invalid(_) | Error::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, None),
        Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Some((RETRY_AFTER, "1"))),
        Error::Unknown(_) | Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
    };
    let mut detail = error.to_string();
    if status.is_server_error() {
        detail.push_str(&format!(" Request id: {request_id}."));
    }
    let errors = if let Error::Invalid(errors) = error { Some(errors) } else { None };
    let problem = ProblemDetails::from_status_code(status)
        .with_type(ProblemType::default())
        .with_detail(detail)
        .with_extensions(Extensions { errors });
    let mut response = Response::new(Body::Text(serde_json::to_string(&problem).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether this method's body is a merge patch.
pub(crate) fn is_patch(invocation: &Invocation) -> bool {
    invocation.request.method() == Method::PATCH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(context: &Context) -> Duration {
        deadline(context).saturating_duration_since(Instant::now())
    }

    #[test]
    fn a_request_is_answered_two_seconds_before_its_invocation_is_cut_off() {
        let mut context = Context::default();
        let cut_off = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_secs(60);
        context.deadline = u64::try_from(cut_off.as_millis()).unwrap_or_default();
        assert!((57..=58).contains(&left(&context).as_secs()));
        context.deadline = 600_000;
        assert!((7..=8).contains(&left(&context).as_secs()), "a deadline in 1970 is none");
    }
}
