//! An operation, and the steps that every request goes through before and after its handler.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use lambda_http::http::header::{
    CACHE_CONTROL, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Context, Request, RequestExt, Response};
use shared::Table;
use shared::table::Usage;
use shared::text::{MAX_BODY, hash};
use tokio::time::Instant;

use super::auth::{Auth, claim};
use super::error::Error;
use super::invocation::{Invocation, deadline};
use super::reply::Reply;

/// True until this process has answered a request.
static COLD: AtomicBool = AtomicBool::new(true);

/// A handler with its arguments applied.
pub(crate) type Handling = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// One HTTP operation: a handler, and what is checked before it is called.
pub struct Operation {
    /// The operation's id in the OpenAPI document: the handler's name, in snake_case.
    pub id: &'static str,
    /// The scope that an access token needs; `chat/admin` is enough for every operation.
    pub scope: &'static str,
    /// The query parameters that the operation accepts. Any other, or a repeated one, is 400.
    pub query: &'static [&'static str],
    pub(crate) handler: fn(Invocation) -> Handling,
}

impl fmt::Debug for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.id)
    }
}

impl Operation {
    /// Returns the name of the Lambda function and its binary: the id in kebab-case.
    #[must_use]
    pub fn function(&self) -> String {
        self.id.replace('_', "-")
    }

    /// Answers a request: checks size, caller and query, calls the handler, renders errors, and logs
    /// one line.
    pub async fn respond(&self, table: &Table, auth: Auth, request: Request) -> Response<Body> {
        let exchange = Exchange::start(&request);
        let table = table.for_request(deadline(&exchange.context));
        let reply = match self.invocation(&table, auth, request) {
            Ok(invocation) => (self.handler)(invocation).await,
            Err(error) => Err(error),
        };
        exchange.finish(reply, table.usage())
    }

    fn invocation(&self, table: &Table, auth: Auth, request: Request) -> Result<Invocation, Error> {
        if request.body().len() > MAX_BODY {
            return Err(Error::TooLarge);
        }
        let caller = auth.caller(&request, self.scope)?;
        Invocation::new(table.clone(), caller, request, self.query)
    }
}

/// Answers a request to a public route, whose handler gets neither a caller nor the table.
pub fn respond_public(handler: fn(&Request) -> Reply, request: &Request) -> Response<Body> {
    Exchange::start(request).finish(handler(request), Usage::default())
}

/// A request that is being answered, as the log describes it.
struct Exchange {
    started: Instant,
    context: Context,
    /// API Gateway's id of the request, which its access log and the client's header
    /// `apigw-requestid` have too.
    request_id: String,
    route: String,
    /// The hash of the caller's `sub`: it identifies a caller without naming one.
    caller: Option<String>,
    client_id: Option<String>,
}

impl Exchange {
    fn start(request: &Request) -> Self {
        let context = request.lambda_context();
        let (request_id, route) = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => {
                (context.request_id.clone(), context.route_key.clone())
            }
            _ => (None, None),
        };
        Self {
            started: Instant::now(),
            request_id: request_id.unwrap_or_else(|| context.request_id.clone()),
            context,
            route: route.unwrap_or_default(),
            caller: claim(request, "sub").map(hash),
            client_id: claim(request, "client_id").map(str::to_owned),
        }
    }

    /// Renders the reply, adds the headers that every response has, and logs the request.
    fn finish(self, reply: Reply, usage: Usage) -> Response<Body> {
        let Self { started, context, request_id, route, caller, client_id } = self;
        let mut response = reply.unwrap_or_else(|error| {
            let response = error.to_response(&request_id);
            // Errors that a client cannot cause are logged here and nowhere else.
            if response.status().is_server_error() {
                let (status, error) = (response.status().as_u16(), error.chain());
                let lambda_request_id = context.request_id.as_str();
                tracing::error!(request_id, lambda_request_id, status, error, "request failed");
            }
            response
        });
        let headers = response.headers_mut();
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let one_year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, one_year);
        tracing::info!(
            request_id,
            lambda_request_id = context.request_id,
            caller,
            client_id,
            function = context.env_config.function_name,
            route,
            status = response.status().as_u16(),
            latency_ms = started.elapsed().as_secs_f64() * 1e3,
            cold_start = COLD.swap(false, Ordering::Relaxed),
            requests = usage.requests,
            transactions = usage.transactions,
            read_units = usage.read_units,
            write_units = usage.write_units,
            "request completed"
        );
        response
    }
}
