//! The embedded DynamoDB-compatible engine: a client that reaches it within this process, and a port where other tools can share
//! it.

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
use aws_smithy_runtime_api::http::StatusCode;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

/// Opens a database: a file, or memory when there is none.
///
/// # Errors
/// Why the file cannot be used, in one line.
pub fn open(file: Option<&Path>) -> Result<Database, String> {
    match file {
        None => Database::memory().map_err(|error| error.to_string()),
        Some(file) => {
            let path =
                file.to_str().ok_or_else(|| format!("{}: not a UTF-8 path", file.display()))?;
            Database::new(path).map_err(|error| format!("{path}: {error}"))
        }
    }
}

/// Serves a database in the background, and answers where.
///
/// # Errors
/// When the listener has no address.
pub fn serve(listener: TcpListener, database: Database) -> Result<String, String> {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(format!("http://{address}"))
}

/// The HTTP client of an SDK whose every request this database answers: no port, no connection, no other thread.
///
/// A request is carried out when its future is first polled, and is answered by the same poll. So with one thread, nothing else
/// happens in between, and what happens is the same each time.
#[must_use]
pub fn client(database: Database) -> SharedHttpClient {
    answered_by(move |target, body| {
        let database = database.clone();
        async move { Some(answer(&database, &target, &body)) }
    })
}

/// The HTTP client of an SDK whose requests this function answers: told the target, such as `DynamoDB_20120810.Query`, and the
/// body, with the status and the body; with `None`, the connection ends.
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
            let status = StatusCode::try_from(status)
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            Ok(HttpResponse::new(status, json.into()))
        })
    }
}

/// Carries out a request of DynamoDB's JSON protocol, if it is one that the service makes: its target, such as
/// `DynamoDB_20120810.Query`, and its body. Answers the status and the body.
#[must_use]
pub fn answer(database: &Database, target: &str, body: &[u8]) -> (u16, String) {
    carry_out(database, target, body)
        .map_or_else(|error| (error.status_code(), error.to_json()), |json| (200, json))
}

fn carry_out(database: &Database, target: &str, body: &[u8]) -> dynoxide::Result<String> {
    match target.strip_prefix("DynamoDB_20120810.").unwrap_or_default() {
        "BatchGetItem" => run(body, |request| database.batch_get_item(request)),
        "BatchWriteItem" => run(body, |request| database.batch_write_item(request)),
        "CreateTable" => run(body, |request| database.create_table(request)),
        "DeleteItem" => run(body, |request| database.delete_item(request)),
        "PutItem" => run(body, |request| database.put_item(request)),
        "Query" => run(body, |request| database.query(request)),
        "TransactWriteItems" => run(body, |request| database.transact_write_items(request)),
        "UpdateItem" => run(body, |request| database.update_item(request)),
        "UpdateTimeToLive" => run(body, |request| database.update_time_to_live(request)),
        _ => Err(DynoxideError::ValidationException(format!(
            "{target}: not known here; the engine's port knows all operations"
        ))),
    }
}

fn run<Request: DeserializeOwned, Answer: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Request) -> dynoxide::Result<Answer>,
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
    use crate::template::{TEMPLATE, Template};

    fn ada() -> NewProfile {
        let text = |text: &str| text.to_owned().try_into().expect("a name");
        NewProfile {
            first_name: text("Ada"),
            last_name: String::new().try_into().expect("a name"),
            job_title: Default::default(),
        }
    }

    #[tokio::test]
    async fn a_request_is_answered_in_this_process_as_it_is_on_the_port() {
        let database = open(None).expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = Table::connect(&serve(listener, database.clone()).expect("an address"), "chat");
        let near = Table::with_http_client(client(database), "chat");
        let declaration = Template::parse(TEMPLATE).expect("the template").table;
        near.create(&declaration).await.expect("a table");
        far.create(&declaration).await.expect("the same one, which is there");

        let (ada_herself, somebody) = (Caller::User("ada".into()), Caller::User("somebody".into()));
        let profile =
            near.create_profile(&ada_herself, ada(), None).await.expect("a profile").resource;
        for table in [&near, &far] {
            let table =
                table.for_request(tokio::time::Instant::now() + std::time::Duration::from_secs(5));
            assert_eq!(
                table.get_profile(&somebody, profile.id).await.expect("a profile").first_name,
                "Ada"
            );
            let refused = table.delete_profile(&somebody, profile.id, &IfMatch::Any).await;
            assert!(
                matches!(refused, Err(Error::Forbidden)),
                "a failed condition brings the item along: {refused:?}"
            );
            assert_eq!((table.usage().requests, table.usage().read_units), (2, 1.0));
        }
        far.delete_profile(&ada_herself, profile.id, &IfMatch::Any).await.expect("deleted");
        assert!(matches!(near.get_profile(&somebody, profile.id).await, Err(Error::NotFound(_))));
    }
}
