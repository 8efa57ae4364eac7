//! The embedded DynamoDB-compatible engine: in this process, and on a port for other tools.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode as SmithyStatus;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use axum::http::{Method, Request, Response, StatusCode};
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::database_file;
use crate::hosts::{AllowedHosts, error_response, misdirected};
use crate::live::stream::Tap;

/// The largest request that DynamoDB accepts, in bytes. Source: `BatchWriteItem` in its API
/// reference.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// The engine: a database, and the stream of its writes if something follows it.
#[derive(Clone)]
pub struct Engine {
    database: Database,
    tap: Option<Tap>,
}

impl Engine {
    /// Returns an engine that records its writes.
    #[must_use]
    pub fn tapped(database: Database, tap: Tap) -> Self {
        Self { database, tap: Some(tap) }
    }

    /// Executes a request, as [`answer`] does.
    fn answer(&self, target: &str, body: &[u8]) -> (u16, String) {
        let answered = answer(&self.database, target, body);
        if let (200, Some(tap)) = (answered.0, &self.tap) {
            tap.record(target.rsplit('.').next().unwrap_or_default(), body);
        }
        answered
    }
}

impl From<Database> for Engine {
    fn from(database: Database) -> Self {
        Self { database, tap: None }
    }
}

/// Opens a database in a file, or in memory without a file.
///
/// # Errors
/// The file cannot be used, in one line that names it.
pub fn open(file: Option<&Path>) -> Result<Database, String> {
    match file {
        Some(file) => database_file::open(file),
        None => Database::memory().map_err(|error| error.to_string()),
    }
}

/// Serves an engine in the background. Returns its endpoint.
///
/// Other programs on this machine may use the port, web pages may not: requests with an `Origin`
/// header or to a foreign host are refused. The engine's own server would answer every preflight.
///
/// # Errors
/// The listener has no address.
pub fn serve(listener: TcpListener, engine: impl Into<Engine>) -> Result<String, String> {
    let engine = engine.into();
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let router = Router::new().fallback(move |request: Request<Body>| {
        let engine = engine.clone();
        async move { respond(&engine, request).await }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}

/// Responds to an HTTP request on the engine's port.
async fn respond(engine: &Engine, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if !AllowedHosts::default().with_containers().allow(&parts.headers) {
        return misdirected();
    }
    if parts.headers.contains_key(ORIGIN) {
        return error_response(StatusCode::FORBIDDEN, "Web pages may not use the engine");
    }
    if parts.method != Method::POST {
        return error_response(StatusCode::METHOD_NOT_ALLOWED, "Send a DynamoDB request with POST");
    }
    let Ok(body) = to_bytes(body, MAX_REQUEST).await else {
        return error_response(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let (status, json) = engine.answer(target.unwrap_or_default(), &body);
    let mut response = Response::new(Body::from(json));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Returns an HTTP client for the SDK whose requests this engine answers in the same process.
///
/// A request is executed and answered when its future is first polled. So on one thread nothing
/// else happens in between, and every run is the same.
#[must_use]
pub fn client(engine: impl Into<Engine>) -> SharedHttpClient {
    let engine = engine.into();
    answered_by(move |target, body| {
        let engine = engine.clone();
        async move { Some(engine.answer(&target, &body)) }
    })
}

/// Returns an HTTP client for the SDK whose requests this function answers. It gets the target,
/// such as `DynamoDB_20120810.Query`, and the body, and returns the status and the body; `None`
/// closes the connection.
#[must_use]
pub fn answered_by<A, F>(answer: A) -> SharedHttpClient
where
    A: Fn(String, Vec<u8>) -> F + Send + Sync + 'static,
    F: Future<Output = Option<(u16, String)>> + Send + 'static,
{
    SharedHttpClient::new(InProcess(Arc::new(move |target, body| Box::pin(answer(target, body)))))
}

type Answering = Pin<Box<dyn Future<Output = Option<(u16, String)>> + Send>>;

#[derive(Clone)]
struct InProcess(Arc<dyn Fn(String, Vec<u8>) -> Answering + Send + Sync>);

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let answering = (self.0)(target, request.body().bytes().unwrap_or_default().to_vec());
        HttpConnectorFuture::new(async move {
            let (status, json) =
                answering.await.ok_or_else(|| ConnectorError::io("the connection ended".into()))?;
            let status = SmithyStatus::try_from(status)
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            Ok(HttpResponse::new(status, json.into()))
        })
    }
}

/// Executes a request of DynamoDB's JSON protocol: its target, such as `DynamoDB_20120810.Query`,
/// and its body. Returns the status and the body of the response.
#[must_use]
pub fn answer(database: &Database, target: &str, body: &[u8]) -> (u16, String) {
    execute(database, target, body)
        .map_or_else(|error| (error.status_code(), error.to_json()), |json| (200, json))
}

fn execute(database: &Database, target: &str, body: &[u8]) -> dynoxide::Result<String> {
    let (service, operation) = target.split_once('.').unwrap_or_default();
    let operation = match service {
        "DynamoDB_20120810" | "DynamoDBStreams_20120810" => operation,
        _ => "",
    };
    match operation {
        "BatchExecuteStatement" => run(body, |request| database.batch_execute_statement(request)),
        "BatchGetItem" => run(body, |request| database.batch_get_item(request)),
        "BatchWriteItem" => run(body, |request| database.batch_write_item(request)),
        "CreateTable" => run(body, |request| database.create_table(request)),
        "DeleteItem" => run(body, |request| database.delete_item(request)),
        "DeleteTable" => run(body, |request| database.delete_table(request)),
        "DescribeStream" => run(body, |request| database.describe_stream(request)),
        "DescribeTable" => run(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => run(body, |request| database.describe_time_to_live(request)),
        "ExecuteStatement" => run(body, |request| database.execute_statement(request)),
        "ExecuteTransaction" => run(body, |request| database.execute_transaction(request)),
        "GetItem" => run(body, |request| database.get_item(request)),
        "GetRecords" => run(body, |request| database.get_records(request)),
        "GetShardIterator" => run(body, |request| database.get_shard_iterator(request)),
        "ListStreams" => run(body, |request| database.list_streams(request)),
        "ListTables" => run(body, |request| database.list_tables(request)),
        "ListTagsOfResource" => run(body, |request| database.list_tags_of_resource(request)),
        "PutItem" => run(body, |request| database.put_item(request)),
        "Query" => run(body, |request| database.query(request)),
        "Scan" => run(body, |request| database.scan(request)),
        "TagResource" => run(body, |request| database.tag_resource(request)),
        "TransactGetItems" => run(body, |request| database.transact_get_items(request)),
        "TransactWriteItems" => run(body, |request| database.transact_write_items(request)),
        "UntagResource" => run(body, |request| database.untag_resource(request)),
        "UpdateItem" => run(body, |request| database.update_item(request)),
        "UpdateTable" => run(body, |request| database.update_table(request)),
        "UpdateTimeToLive" => run(body, |request| database.update_time_to_live(request)),
        _ => Err(DynoxideError::ValidationException(format!("{target}: not a known operation"))),
    }
}

fn run<Request: DeserializeOwned, Response: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Request) -> dynoxide::Result<Response>,
) -> dynoxide::Result<String> {
    let request = serde_json::from_slice(body)
        .map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
    serde_json::to_string(&operation(request)?)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use shared::{Caller, Error, IfMatch, NewProfile, Table};

    use super::*;
    use crate::template::Template;

    fn ada() -> NewProfile {
        let text = |text: &str| text.to_owned().try_into().expect("a name");
        NewProfile {
            first_name: text("Ada"),
            last_name: String::new().try_into().expect("a name"),
            job_title: Default::default(),
        }
    }

    #[tokio::test]
    async fn requests_in_this_process_and_on_the_port_have_the_same_result() {
        let database = open(None).expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = Table::connect(&serve(listener, database.clone()).expect("an address"), "chat");
        let near = Table::with_http_client(client(database), "chat");
        let declaration = Template::parse().expect("the template").table;
        near.create(&declaration).await.expect("a new table");
        far.create(&declaration).await.expect("the same table");

        let [owner, stranger] = ["ada", "eve"].map(|subject| Caller::User(subject.into()));
        let profile = near.create_profile(&owner, ada(), None).await.expect("a profile").resource;
        let mut usages = Vec::new();
        for table in [&near, &far] {
            let table =
                table.for_request(tokio::time::Instant::now() + std::time::Duration::from_secs(5));
            assert_eq!(
                table.get_profile(&stranger, profile.id).await.expect("a profile").first_name,
                "Ada"
            );
            let refused = table.delete_profile(&stranger, profile.id, &IfMatch::Any).await;
            assert!(
                matches!(refused, Err(Error::Forbidden)),
                "a failed condition returns the item: {refused:?}"
            );
            usages.push(table.usage());
        }
        assert_eq!((usages[0].requests, usages[0]), (2, usages[1]));
        far.delete_profile(&owner, profile.id, &IfMatch::Any).await.expect("deleted");
        assert!(matches!(near.get_profile(&stranger, profile.id).await, Err(Error::NotFound(_))));
    }
}
