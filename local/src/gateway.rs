//! Emulates API Gateway in front of the functions.
//!
//! Converts an HTTP request to the event that API Gateway would send, parses it with `lambda_http`,
//! runs the handler of the function to which `template.yaml` routes it, and converts the handler's
//! response to the HTTP response.

use std::collections::HashMap;
use std::future::{Future, IntoFuture, pending};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::middleware::{Next, from_fn};
use functions::http::Auth;
use jiff::Timestamp;
use lambda_http::lambda_runtime::Config;
use lambda_http::{Context, RequestExt};
use serde_json::Value;
use shared::Table;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tower_http::cors::CorsLayer;
use uuid::Uuid;

use crate::authorizer::{Authorizer, Refusal};
use crate::event::Routed;
use crate::hosts::{AllowedHosts, error_response, misdirected};
use crate::live::{self, Live};
use crate::template::{Cors, Route, Template};

/// The maximum total size of path, query and headers that API Gateway accepts, in bytes. Source:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const MAX_HEAD: usize = 10_240;
/// The largest body that API Gateway passes on, in bytes. Source: as above.
const MAX_PAYLOAD: usize = 10 * 1024 * 1024;
/// The time limit for open requests after shutdown begins.
const DRAIN: Duration = Duration::from_secs(3);
/// The length to which the request log truncates a path, in characters.
const MAX_LOGGED_PATH: usize = 200;

/// An emulated API Gateway HTTP API in front of the functions.
#[derive(Debug)]
pub struct Gateway {
    routes: HashMap<Method, matchit::Router<Route>>,
    table: Table,
    auth: Auth,
    authorizer: Option<Arc<Authorizer>>,
    cors: Option<CorsLayer>,
    hosts: AllowedHosts,
    live: Option<Live>,
    request_log: bool,
}

impl Gateway {
    /// Creates a gateway with the routes of a template. The functions use `table`, and `auth`
    /// instead of the environment variable `AUTH`.
    ///
    /// # Errors
    /// If a route of the template cannot be served. The message is one line.
    pub fn new(template: &Template, table: Table, auth: Auth) -> Result<Self, String> {
        let mut routes: HashMap<Method, matchit::Router<Route>> = HashMap::new();
        for route in &template.routes {
            if !is_function(&route.function) {
                return Err(format!("template.yaml: no code for the function {}", route.function));
            }
            let unusable = |error: String| format!("template.yaml: {}: {error}", route.path);
            let method = Method::from_bytes(route.method.as_bytes());
            let router = routes.entry(method.map_err(|error| unusable(error.to_string()))?);
            let inserted = router.or_default().insert(&route.path, route.clone());
            inserted.map_err(|error| unusable(error.to_string()))?;
        }
        let hosts = AllowedHosts::default();
        let (authorizer, cors, live, request_log) = (None, None, None, false);
        Ok(Self { routes, table, auth, authorizer, cors, hosts, live, request_log })
    }

    /// Checks tokens with this authorizer on every route for which the template requires a token.
    #[must_use]
    pub fn with_authorizer(self, authorizer: Arc<Authorizer>) -> Self {
        Self { authorizer: Some(authorizer), ..self }
    }

    /// Enables CORS for web pages of these origins; disables it if there are none.
    ///
    /// # Errors
    /// If an origin, or a method or header in `cors`, is invalid. The message is one line.
    pub fn with_cors_origins(self, origins: &[String], cors: &Cors) -> Result<Self, String> {
        let cors = if origins.is_empty() { None } else { Some(cors.layer(origins)?) };
        Ok(Self { cors, ..self })
    }

    /// Also serves the WebSocket API, at `/live`.
    #[must_use]
    pub fn with_live(self, live: Live) -> Self {
        Self { live: Some(live), ..self }
    }

    /// Accepts only requests whose `Host` header names one of these hosts. Others get 421.
    #[must_use]
    pub fn with_hosts(self, hosts: AllowedHosts) -> Self {
        Self { hosts, ..self }
    }

    /// Writes a line to stdout for each request: method, path, status, duration. It contains no
    /// query, header or body.
    #[must_use]
    pub fn with_request_log(self) -> Self {
        Self { request_log: true, ..self }
    }

    /// Serves HTTP until `stop` completes, then waits at most three seconds for open requests.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let (stopping, stopped) = oneshot::channel();
        let stop = async move {
            stop.await;
            // The receiver is gone only if the server has failed.
            let _ = stopping.send(());
        };
        let server = axum::serve(listener, self.into_router()).with_graceful_shutdown(stop);
        let drained = async {
            match stopped.await {
                Ok(()) => sleep(DRAIN).await,
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            result = server.into_future() => result,
            () = drained => Ok(()),
        }
    }

    fn into_router(self) -> Router {
        let (cors, hosts, request_log) = (self.cors.clone(), self.hosts, self.request_log);
        let mut router = self.live.clone().map(live::router).unwrap_or_default();
        let gateway = Arc::new(self);
        router = router.fallback(move |request| async move { gateway.answer(request).await });
        if let Some(cors) = cors {
            router = router.layer(cors);
        }
        // This layer is outside CORS: the CORS layer answers preflight requests itself, and they
        // must be checked and logged too.
        router.layer(from_fn(move |request: Request<Body>, next: Next| async move {
            let started = Instant::now();
            let line = request_log.then(|| request_line(&request));
            let response = if hosts.allow(request.headers()) {
                next.run(request).await
            } else {
                misdirected()
            };
            if let Some(line) = line {
                log_request(&line, response.status(), started.elapsed());
            }
            response
        }))
    }

    /// Responds to a request as API Gateway and the function behind the route would.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let request_id = Uuid::new_v4().to_string();
        let mut response = self.respond(request, &request_id).await;
        if let Ok(id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert("apigw-requestid", id);
        }
        response
    }

    async fn respond(&self, request: Request<Body>, request_id: &str) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if head_size(&parts) > MAX_HEAD {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return error_response(status, "Request Header Fields Too Large");
        }
        let routes = self.routes.get(&parts.method);
        let Some(matched) = routes.and_then(|routes| routes.at(parts.uri.path()).ok()) else {
            return error_response(StatusCode::NOT_FOUND, "Not Found");
        };
        let route = matched.value;
        let authorizer = match self.authorize(&parts.headers, route) {
            Ok(authorizer) => authorizer,
            Err(refusal) => return refused(refusal),
        };
        let Ok(body) = to_bytes(body, MAX_PAYLOAD).await else {
            return error_response(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        let routed = Routed {
            parts: &parts,
            body: &body,
            route,
            path: matched.params.iter().collect(),
            request_id,
            authorizer,
        };
        let event = routed.event().to_string();
        self.run(route, event).await
    }

    /// Returns `requestContext.authorizer`; `None` if the route needs no token or the gateway has
    /// no authorizer.
    fn authorize(&self, headers: &HeaderMap, route: &Route) -> Result<Option<Value>, Refusal> {
        match (&self.authorizer, &route.scopes) {
            (Some(authorizer), Some(scopes)) => {
                authorizer.authorize(single_authorization(headers), scopes).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Runs the function of a route in its own task, so that a panic ends only this invocation. In
    /// a release build a panic still aborts the server.
    async fn run(&self, route: &Route, event: String) -> Response<Body> {
        let (table, auth) = (self.table.clone(), self.auth);
        let (function, limit) = (route.function.clone(), route.timeout);
        let context = lambda_context(route);
        let invocation = tokio::spawn(async move {
            let request = functions::http::event::parse(&event).ok()?.with_lambda_context(context);
            timeout(limit, invoke(&function, &table, auth, request)).await.ok()?
        });
        match invocation.await {
            Ok(Some(response)) => http_response(response),
            _ => error_response(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

/// Responds to a request as the Lambda function with this name would. Returns `None` if there is no
/// such function.
pub async fn invoke(
    function: &str,
    table: &Table,
    auth: Auth,
    request: lambda_http::Request,
) -> Option<lambda_http::Response<lambda_http::Body>> {
    if function == documentation::FUNCTION {
        return Some(documentation::respond(&request));
    }
    let operation = functions::operations::find(function)?;
    Some(operation.respond(table, auth, request).await)
}

/// Returns whether there is a function with this name.
#[must_use]
pub fn is_function(name: &str) -> bool {
    name == documentation::FUNCTION || functions::operations::find(name).is_some()
}

/// Returns the context that Lambda gives to an invocation that starts now.
fn lambda_context(route: &Route) -> Context {
    let mut context = Context::default();
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    let timeout = u64::try_from(route.timeout.as_millis()).unwrap_or(u64::MAX);
    context.deadline = now.saturating_add(timeout);
    context.request_id = Uuid::new_v4().to_string();
    context.env_config =
        Arc::new(Config { function_name: route.function.clone(), ..Config::default() });
    context
}

fn http_response(response: lambda_http::Response<lambda_http::Body>) -> Response<Body> {
    response.map(|body| match body {
        lambda_http::Body::Text(text) => Body::from(text),
        lambda_http::Body::Binary(bytes) => Body::from(bytes),
        _ => Body::empty(),
    })
}

/// Returns the size of a request's path, query and headers.
fn head_size(parts: &Parts) -> usize {
    let headers: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    headers + parts.uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// Returns the value of `Authorization`, if there is exactly one.
fn single_authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn refused(refusal: Refusal) -> Response<Body> {
    match refusal {
        Refusal::Unauthorized => {
            let mut response = error_response(StatusCode::UNAUTHORIZED, "Unauthorized");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Refusal::Forbidden => error_response(StatusCode::FORBIDDEN, "Forbidden"),
    }
}

/// Returns the start of a request's log line: method and path. The query is omitted, because it may
/// contain secrets.
fn request_line(request: &Request<Body>) -> String {
    format!("{} {:.MAX_LOGGED_PATH$}", request.method(), request.uri().path())
}

fn log_request(line: &str, status: StatusCode, duration: Duration) {
    // An error means that stdout is closed, which must not end the server.
    let _ = writeln!(std::io::stdout(), "{line} {} {} ms", status.as_u16(), duration.as_millis());
}
