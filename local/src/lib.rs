//! The development server: API Gateway and every function in one process.
//!
//! An HTTP request becomes the event that API Gateway would send (payload format 2.0), `lambda_http` parses it, the handler of
//! the function that `template.yaml` routes to answers it, and the answer becomes an HTTP response. What is true in the cloud is
//! true here as far as a client would notice; see [`Gateway::answer`].

pub mod authorizer;
pub mod engine;
pub mod server;
pub mod template;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderValue, USER_AGENT, WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use functions::http::Auth;
use jiff::Timestamp;
use lambda_http::lambda_runtime::Config;
use lambda_http::{Context, RequestExt};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use shared::Table;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower_http::cors::CorsLayer;
use uuid::Uuid;

use authorizer::{Authorizer, Refusal};
use template::{Cors, Route, Template};

/// The largest path, query and headers together that API Gateway reads, in bytes. Source:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const MAX_HEAD: usize = 10_240;
/// The largest body that API Gateway passes on, in bytes.
const MAX_PAYLOAD: usize = 10 * 1024 * 1024;

/// An HTTP API in front of the functions.
#[derive(Debug)]
pub struct Gateway {
    routes: HashMap<Method, matchit::Router<Route>>,
    table: Table,
    auth: Auth,
    authorizer: Option<Arc<Authorizer>>,
    cors: Option<CorsLayer>,
}

impl Gateway {
    /// The routes of a template, in front of the functions on this table, which run with this `AUTH`.
    ///
    /// # Errors
    /// A route that cannot be served, in one line.
    pub fn new(template: &Template, table: Table, auth: Auth) -> Result<Self, String> {
        let mut routes: HashMap<Method, matchit::Router<Route>> = HashMap::new();
        for route in &template.routes {
            if !is_function(&route.function) {
                return Err(format!("template.yaml: there is no function {}", route.function));
            }
            let method = Method::from_bytes(route.method.as_bytes())
                .map_err(|error| format!("{}: {error}", route.path))?;
            let router = routes.entry(method).or_default();
            router
                .insert(&route.path, route.clone())
                .map_err(|error| format!("{}: {error}", route.path))?;
        }
        Ok(Self { routes, table, auth, authorizer: None, cors: None })
    }

    /// The same, with an authorizer in front of all routes that the template does not leave open.
    #[must_use]
    pub fn behind(self, authorizer: Arc<Authorizer>) -> Self {
        Self { authorizer: Some(authorizer), ..self }
    }

    /// The same, for pages of these origins too, if there are any.
    ///
    /// # Errors
    /// An origin that is none, in one line.
    pub fn open_to(self, origins: &[String], cors: &Cors) -> Result<Self, String> {
        let cors = if origins.is_empty() { None } else { Some(cors.layer(origins)?) };
        Ok(Self { cors, ..self })
    }

    /// Serves HTTP until `stop` is ready and the requests under way are answered.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let cors = self.cors.clone();
        let gateway = Arc::new(self);
        let mut app =
            Router::new().fallback(move |request| async move { gateway.answer(request).await });
        if let Some(cors) = cors {
            app = app.layer(cors);
        }
        axum::serve(listener, app).with_graceful_shutdown(stop).await
    }

    /// Answers a request as API Gateway and the function behind the route would.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if head_size(&parts) > MAX_HEAD {
            return gateway_error(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request Header Fields Too Large",
            );
        }
        let Some(matched) =
            self.routes.get(&parts.method).and_then(|routes| routes.at(parts.uri.path()).ok())
        else {
            return gateway_error(StatusCode::NOT_FOUND, "Not Found");
        };
        let caller = match (&self.authorizer, &matched.value.scopes) {
            (Some(authorizer), Some(scopes)) => {
                match authorizer.authorize(bearer(&parts.headers), scopes) {
                    Ok(caller) => caller,
                    Err(refusal) => return refused(refusal),
                }
            }
            _ => Value::Null,
        };
        let Ok(body) = to_bytes(body, MAX_PAYLOAD).await else {
            return gateway_error(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        let route = matched.value.clone();
        let request_id = Uuid::new_v4().to_string();
        let mut event = event(&parts, &body, &route, matched.params.iter(), &request_id);
        if !caller.is_null() {
            event["requestContext"]["authorizer"] = caller;
        }
        let event = event.to_string();
        let mut context = Context::default();
        let deadline = now() + route.timeout;
        context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        context.request_id = request_id;
        context.env_config =
            Arc::new(Config { function_name: route.function.clone(), ..Config::default() });
        let (table, auth) = (self.table.clone(), self.auth);
        // In a task of its own, so that a panic ends one invocation and not the server, unless this is a release build, which aborts.
        let invocation = tokio::spawn(async move {
            let request = functions::http::event::parse(&event).ok()?.with_lambda_context(context);
            let response = invoke(&route.function, &table, auth, request);
            Some(timeout(route.timeout, response).await.ok()??)
        });
        match invocation.await {
            Ok(Some(response)) => from_lambda(response),
            _ => gateway_error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

/// Answers a request as the Lambda function with this name would; `None` if there is no such function.
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
pub fn is_function(name: &str) -> bool {
    name == documentation::FUNCTION || functions::operations::find(name).is_some()
}

/// The event of an HTTP API, payload format 2.0. Source:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
fn event<'p>(
    parts: &Parts,
    body: &[u8],
    route: &Route,
    path: impl Iterator<Item = (&'p str, &'p str)>,
    request_id: &str,
) -> Value {
    let raw_query = parts.uri.query().unwrap_or_default();
    let mut query: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(raw_query.as_bytes()) {
        join(&mut query, name.into_owned(), &value);
    }
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != COOKIE) {
        join(&mut headers, name.as_str().to_owned(), &String::from_utf8_lossy(value.as_bytes()));
    }
    let host = text(&parts.headers, HOST.as_str());
    let user_agent = text(&parts.headers, USER_AGENT.as_str());
    headers.insert("x-forwarded-proto".into(), "http".into());
    headers.insert("x-forwarded-for".into(), "127.0.0.1".into());
    let cookies: Vec<String> = parts
        .headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split("; ").map(str::to_owned))
        .collect();
    let path: BTreeMap<String, String> =
        path.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
    let raw_path = decoded(parts.uri.path());
    let route_key = format!("{} {}", route.method, route.path);
    let time = Timestamp::now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": raw_path,
        "rawQueryString": raw_query,
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": "local",
            "http": {
                "method": route.method,
                "path": raw_path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": user_agent,
            },
            "requestId": request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": time.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = json!(query);
    }
    if !path.is_empty() {
        event["pathParameters"] = json!(path);
    }
    if !body.is_empty() {
        match std::str::from_utf8(body) {
            Ok(text) if arrives_as_text(&parts.headers) => event["body"] = json!(text),
            _ => {
                event["body"] = json!(BASE64_STANDARD.encode(body));
                event["isBase64Encoded"] = json!(true);
            }
        }
    }
    event
}

/// Only these media types arrive as text; all others, and none at all, arrive in base64.
fn arrives_as_text(headers: &HeaderMap) -> bool {
    let content_type = text(headers, CONTENT_TYPE.as_str()).to_ascii_lowercase();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript"].contains(&media_type)
}

fn join(map: &mut BTreeMap<String, String>, name: String, value: &str) {
    map.entry(name)
        .and_modify(|joined| *joined = format!("{joined},{value}"))
        .or_insert_with(|| value.to_owned());
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn from_lambda(response: lambda_http::Response<lambda_http::Body>) -> Response<Body> {
    response.map(|body| match body {
        lambda_http::Body::Text(text) => Body::from(text),
        lambda_http::Body::Binary(bytes) => Body::from(bytes),
        _ => Body::empty(),
    })
}

/// How large a request is before its body.
fn head_size(parts: &Parts) -> usize {
    let headers: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    headers + parts.uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// The value of `Authorization`, if there is just one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn refused(refusal: Refusal) -> Response<Body> {
    match refusal {
        Refusal::Unauthorized => {
            let mut response = gateway_error(StatusCode::UNAUTHORIZED, "Unauthorized");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Refusal::Forbidden => gateway_error(StatusCode::FORBIDDEN, "Forbidden"),
    }
}

/// What API Gateway answers by itself.
fn gateway_error(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json!({ "message": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
