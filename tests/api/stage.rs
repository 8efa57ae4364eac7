//! A service whose database, clock and requests to DynamoDB a test controls, on the embedded engine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynoxide::Database;
use local::authorizer::Authorizer;
use local::engine;
use shared::table::Purged;
use shared::{Caller, NewMessage, Table};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use tests::clock::Clock;
use tests::recorder::{Fault, Gate, Recorder, Sent};
use tests::service::{Api, Response, Service, Setup, Value, json, new_table};

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// The service. Its clock stands still until the test moves it.
pub(crate) struct Stage {
    pub(crate) recorder: Recorder,
    pub(crate) clock: Clock,
    pub(crate) service: Service,
    database: Database,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::start_with(|table| table, TEN_SECONDS).await
    }

    /// Starts a service whose functions have three seconds, so that a post gives up after one.
    pub(crate) async fn start_hasty() -> Self {
        Self::start_with(|table| table, Duration::from_secs(3)).await
    }

    /// Starts a service that requires access tokens which this authorizer signed.
    pub(crate) async fn start_closed(authorizer: Arc<Authorizer>) -> Self {
        Self::start_as(Setup::new().authorizer(authorizer), |table| table, TEN_SECONDS).await
    }

    /// Starts a service on an adjusted table, whose functions have this timeout.
    pub(crate) async fn start_with(adjust: fn(Table) -> Table, timeout: Duration) -> Self {
        Self::start_as(Setup::new(), adjust, timeout).await
    }

    async fn start_as(setup: Setup, adjust: fn(Table) -> Table, timeout: Duration) -> Self {
        let database = engine::open(None).expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let engine = engine::serve(listener, database.clone()).expect("an engine");
        let (recorder, clock) = (Recorder::start(engine).await, Clock::stopped());
        let (template, table) = new_table(&recorder.endpoint).await;
        let setup = setup.clock(&clock).timeout(timeout);
        let service = setup.start_on(template, adjust(table)).await;
        let _ = recorder.take();
        Self { recorder, clock, service, database }
    }

    pub(crate) fn api(&self) -> &Api {
        &self.service.api
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Returns the table for one direct request.
    pub(crate) fn table(&self) -> Table {
        self.service.table.for_request(Instant::now() + Duration::from_secs(8))
    }

    /// Injects this fault into the first request of an operation, and none into the others.
    pub(crate) fn inject_once(&self, operation: &'static str, fault: Fault) {
        let first = AtomicBool::new(true);
        self.recorder.inject(move |sent, _| {
            let inject = sent == operation && first.swap(false, Ordering::Relaxed);
            if inject { fault.clone() } else { Fault::None }
        });
    }

    /// Injects this fault into all requests of an operation. Returns the last of them.
    pub(crate) fn inject_always(&self, operation: &'static str, fault: Fault) -> Last {
        let last = Last::default();
        let caught = last.clone();
        self.recorder.inject(move |sent, request| {
            if sent != operation {
                return Fault::None;
            }
            caught.set(request);
            fault.clone()
        });
        last
    }

    /// Sends a post, which is held at its first request of this operation. Returns the post, and the
    /// gate that lets it go on.
    pub(crate) async fn hold(
        &self,
        operation: &'static str,
        post: &Post<'_>,
    ) -> (JoinHandle<Response>, Gate) {
        let gate = Gate::default();
        self.inject_once(operation, Fault::Held(gate.clone()));
        let (api, path, body) = (self.api().clone(), post.path(), post.body());
        let key = post.key.map(str::to_owned);
        let post = tokio::spawn(async move {
            match key {
                Some(key) => api.post_with_key(&path, &key, &body).await,
                None => api.post(&path, &body).await,
            }
        });
        gate.arrival().await;
        self.recorder.clear();
        (post, gate)
    }

    /// Runs a request until its first request of this operation, which does not reach the engine, and
    /// ends it there, as if its function crashed. Returns the body of the lost request.
    pub(crate) async fn crash_at<T: Send + 'static>(
        &self,
        operation: &'static str,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Value {
        let gate = Gate::default();
        let lost = self.inject_always(operation, Fault::Held(gate.clone()));
        let request = tokio::spawn(request);
        gate.arrival().await;
        request.abort();
        let _ = request.await;
        self.recorder.clear();
        lost.get()
    }

    /// Posts a message, and crashes before its transaction is sent. Returns the transaction.
    pub(crate) async fn crash(&self, conversation_id: &str, author_id: &str) -> Value {
        let (table, id) = (self.table(), conversation_id.parse().expect("an id"));
        let input = NewMessage {
            author_id: author_id.parse().expect("an id"),
            text: "late".to_owned().try_into().expect("a text"),
            metadata: Default::default(),
        };
        let post = async move { table.create_message(&Caller::Anyone, id, input, None).await };
        self.crash_at("TransactWriteItems", post).await
    }

    /// Lets a request arrive at the engine. Returns the status of its response.
    pub(crate) fn deliver(&self, operation: &str, request: &Value) -> u16 {
        let target = format!("DynamoDB_20120810.{operation}");
        engine::answer(&self.database, &target, request.to_string().as_bytes()).0
    }

    /// Reserves places of a conversation, as posts do that have not committed yet.
    pub(crate) fn reserve(&self, conversation_id: &str, places: u64) {
        let update = json!({
            "TableName": self.table_name(),
            "Key": {
                "pk": { "S": format!("CONVERSATION#{conversation_id}") },
                "sk": { "S": "CONVERSATION" },
            },
            "UpdateExpression": "ADD last_seq :places",
            "ExpressionAttributeValues": { ":places": { "N": places.to_string() } },
        });
        assert_eq!(self.deliver("UpdateItem", &update), 200);
    }

    pub(crate) fn table_name(&self) -> String {
        let tables = self.database.list_tables(Default::default()).expect("tables").table_names;
        tables.into_iter().next().expect("a table")
    }

    pub(crate) async fn purge(&self) -> Purged {
        self.table().purge_deleted().await.expect("a list")
    }

    /// Returns every item of the table.
    pub(crate) fn dump(&self) -> Vec<String> {
        let scan = json!({ "TableName": self.table_name() });
        let scan = serde_json::from_value(scan).expect("a request");
        let page = json!(self.database.scan(scan).expect("a page"));
        let items = page["Items"].as_array().expect("items").iter();
        let mut items: Vec<String> = items.map(Value::to_string).collect();
        items.sort();
        items
    }

    /// Returns the items of a conversation.
    pub(crate) fn items(&self, conversation_id: &str) -> Vec<Value> {
        let query = json!({
            "TableName": self.table_name(),
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": { ":pk": { "S": format!("CONVERSATION#{conversation_id}") } },
        });
        let query = serde_json::from_value(query).expect("a request");
        let page = json!(self.database.query(query).expect("a page"));
        page["Items"].as_array().expect("items").clone()
    }

    /// Returns the sort keys of the items of a conversation, except those of its members.
    pub(crate) fn sort_keys(&self, conversation_id: &str) -> Vec<String> {
        let items = self.items(conversation_id).into_iter();
        let keys = items.map(|item| item["sk"]["S"].as_str().expect("a key").to_owned());
        keys.filter(|key| !key.starts_with("MEMBER#") && !key.starts_with("ACCESS#")).collect()
    }

    /// Returns the item of a conversation with this sort key.
    pub(crate) fn item(&self, conversation_id: &str, sort_key: &str) -> Value {
        let mut items = self.items(conversation_id).into_iter();
        items.find(|item| item["sk"]["S"] == sort_key).expect("an item")
    }

    /// Returns the number of points of a profile.
    pub(crate) async fn points(&self, profile_id: &str) -> Value {
        self.api().get(&format!("/profiles/{profile_id}")).await.expect(200)["points"].clone()
    }
}

/// The last request that a fault was injected into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last(Arc<Mutex<Option<Value>>>);

impl Last {
    pub(crate) fn set(&self, request: &Value) {
        *self.0.lock().expect("no panic") = Some(request.clone());
    }

    pub(crate) fn get(&self) -> Value {
        self.0.lock().expect("no panic").clone().expect("a request")
    }
}

/// A message to post.
#[derive(Clone, Copy)]
pub(crate) struct Post<'p> {
    pub(crate) conversation: &'p str,
    pub(crate) author: &'p str,
    pub(crate) key: Option<&'p str>,
}

impl Post<'_> {
    pub(crate) fn path(&self) -> String {
        format!("/conversations/{}/messages", self.conversation)
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "author_id": self.author, "text": "x" })
    }
}

/// Returns the operations of requests to DynamoDB.
pub(crate) fn operations(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(|sent| sent.operation.as_str()).collect()
}

/// Returns a field of each result of a page.
pub(crate) fn each(page: &Value, field: &str) -> Vec<Value> {
    let results = page["results"].as_array().expect("results").iter();
    results.map(|result| result[field].clone()).collect()
}
