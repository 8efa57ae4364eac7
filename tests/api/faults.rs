//! Unanswered, unreadable and refused requests to DynamoDB.

use std::future::ready;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynoxide::Database;
use local::engine;
use shared::table::Setback;
use shared::{Caller, Error, NewConversation, NewMessage, NewProfile, Table, Visibility};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use tests::recorder::{Fault, Recorder};
use tests::service::{Api, Response, Setup, Value, embedded_engine, json, parse_template};

/// Starts a service whose functions have three seconds, and the recorder in front of its table.
async fn service() -> (Api, Recorder) {
    let recorder = Recorder::start(embedded_engine().await).await;
    let setup = Setup::new().engine(&recorder.endpoint).timeout(Duration::from_secs(3));
    (setup.start().await.api, recorder)
}

/// Returns a fault for the first request of this operation, and another for each later one.
fn first_then(
    operation: &'static str,
    first: Fault,
    then: Fault,
) -> impl Fn(&str, &Value) -> Fault + Send + Sync + 'static {
    let made = AtomicU32::new(0);
    move |sent, _| match sent == operation {
        true if made.fetch_add(1, Ordering::Relaxed) == 0 => first.clone(),
        true => then.clone(),
        false => Fault::None,
    }
}

/// Posts a message whose transaction is committed, with these faults of its responses. Returns the
/// response to the post.
async fn post_with_faults(first: Fault, then: Fault) -> Response {
    let (api, recorder) = service().await;
    let (author_id, id) = api.profile_and_conversation().await;
    recorder.inject(first_then("TransactWriteItems", first, then));
    let body = json!({ "author_id": author_id, "text": "x" });
    let response = api.post(&format!("/conversations/{id}/messages"), &body).await;
    recorder.clear();
    assert_eq!(api.messages(&id).await.len(), 1, "stored exactly once");
    response
}

/// Responses that do not show whether the request was committed.
fn unreadable() -> [Fault; 7] {
    [
        Fault::ResponseLost,
        Fault::ResponseReplaced(200, "{\"Responses\":"),
        Fault::ResponseReplaced(200, "<html>A proxy's page</html>"),
        Fault::ResponseReplaced(302, ""),
        Fault::ResponseReplaced(408, ""),
        Fault::ResponseReplaced(400, "{\"message\":\"Bad Request\"}"),
        Fault::ResponseReplaced(403, "<html>Forbidden</html>"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_whose_response_was_lost_or_unreadable_is_sent_again() {
    let mut posts = JoinSet::new();
    for fault in unreadable() {
        posts.spawn(async move { post_with_faults(fault, Fault::None).await.expect(201) });
    }
    for posted in posts.join_all().await {
        assert_eq!((&posted["seq"], &posted["points"]), (&json!(1), &json!(1)));
    }
}

/// Its transaction cannot be repeated, but the attempt to close its place returns the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_whose_transaction_cannot_be_repeated_finds_its_message() {
    let refusals = ["ThrottlingException", "AccessDeniedException"].into_iter().cycle();
    for (fault, refusal) in unreadable().into_iter().zip(refusals) {
        let response = post_with_faults(fault, Fault::Refused(refusal)).await;
        assert_eq!(response.expect(201)["seq"], 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_may_be_stored_is_never_reported_as_not_stored() {
    for fault in unreadable() {
        let (api, recorder) = service().await;
        let (author_id, id) = api.profile_and_conversation().await;
        let made = AtomicU32::new(0);
        recorder.inject(move |operation, _| match operation {
            "TransactWriteItems" if made.fetch_add(1, Ordering::Relaxed) == 0 => fault.clone(),
            "TransactWriteItems" | "PutItem" => Fault::Refused("AccessDeniedException"),
            _ => Fault::None,
        });
        let body = json!({ "author_id": author_id, "text": "x" });
        let response = api.post(&format!("/conversations/{id}/messages"), &body).await;
        response.expect_code(500, "outcome_unknown");
        recorder.clear();
        assert_eq!(api.messages(&id).await.len(), 1, "it is stored");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_response_is_unreadable_is_never_reported_as_not_stored() {
    for fault in unreadable() {
        let (api, recorder) = service().await;
        let path = format!("/profiles/{}", api.profile("Ada").await);
        let then = Fault::Refused("AccessDeniedException");
        recorder.inject(first_then("UpdateItem", fault.clone(), then));
        let changed = api.patch(&path, &json!({ "first_name": "Bob" })).await;
        changed.expect_code(500, "outcome_unknown");
        recorder.clear();
        assert_eq!(api.get(&path).await.expect(200)["first_name"], "Bob", "{fault:?}");
    }
}

#[tokio::test]
async fn a_deletion_whose_response_was_lost_is_answered_204() {
    for fault in unreadable() {
        let (api, recorder) = service().await;
        let (author_id, id) = api.profile_and_conversation().await;
        api.say(&id, &author_id, "x").await;
        for (operation, path) in [
            ("TransactWriteItems", format!("/conversations/{id}/messages/1")),
            ("UpdateItem", format!("/conversations/{id}")),
            ("UpdateItem", format!("/profiles/{author_id}")),
        ] {
            recorder.inject(first_then(operation, fault.clone(), Fault::None));
            api.delete(&path).await.expect_status(204);
            recorder.clear();
            if !path.contains("messages") {
                api.delete(&path).await.expect_code(404, "not_found");
            }
        }
    }
}

#[tokio::test]
async fn a_table_that_refuses_everything_is_a_503_with_retry_after() {
    let (api, recorder) = service().await;
    recorder.inject(|_, _| Fault::Refused("ThrottlingException"));
    let created = api.post("/profiles", &json!({ "first_name": "Ada" })).await;
    for response in [api.get("/profiles").await, created] {
        response.expect_code(503, "unavailable");
        assert_eq!(response.header("retry-after"), "1");
    }
}

/// Starts a proxy that counts connections. Returns its endpoint and the count.
async fn count_connections(engine: &str) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let connections = Arc::new(AtomicU32::new(0));
    let (engine, count) = (engine.trim_start_matches("http://").to_owned(), connections.clone());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut server = TcpStream::connect(&engine).await.expect("an engine");
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (endpoint, connections)
}

#[tokio::test]
async fn a_function_connects_to_the_table_before_its_first_request() {
    let engine = embedded_engine().await;
    let schema = parse_template().table;
    Table::connect(&engine, "chat").create(&schema).await.expect("a table");
    let (endpoint, connections) = count_connections(&engine).await;
    let table = Table::connect(&endpoint, "chat");
    assert_eq!(connections.load(Ordering::Relaxed), 0);
    table.warm_up().await;
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    let page = table.list_profiles(&Caller::Anyone, shared::Limit::default(), None).await;
    page.expect("an empty list");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "the same connection");
}

#[tokio::test]
async fn a_function_starts_without_its_table() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let started = Instant::now();
    Table::connect(&endpoint, "chat").warm_up().await;
    Table::connect("http://127.0.0.1:1", "chat").warm_up().await;
    assert!(started.elapsed() < Duration::from_secs(2));
}

/// The SDK would repeat a request after an internal error. `warm_up` has no time for a second
/// attempt, so a second request would be the SDK's.
#[tokio::test]
async fn the_sdk_does_not_retry() {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let recorder = Recorder::start(embedded_engine().await).await;
    recorder.inject(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Fault::ResponseLost
    });
    Table::connect(&recorder.endpoint, "chat").warm_up().await;
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

fn ada() -> NewProfile {
    let text = |text: &str| text.to_owned();
    NewProfile {
        first_name: text("Ada").try_into().expect("a name"),
        last_name: text("").try_into().expect("a name"),
        job_title: Default::default(),
    }
}

/// The table's backoff is longer after throttling, because failed attempts use capacity too.
#[tokio::test]
async fn throttling_is_distinguished_from_conflicts() {
    for (error, reasons, attempts) in [
        ("ThrottlingException", &[][..], 1),
        ("ProvisionedThroughputExceededException", &[], 1),
        ("TransactionCanceledException", &["ThrottlingError", "None"], 1),
        (
            "TransactionCanceledException",
            &["TransactionConflict", "ProvisionedThroughputExceeded"],
            1,
        ),
        ("TransactionCanceledException", &["None", "TransactionConflict"], 3),
    ] {
        let reasons: Vec<Value> = reasons.iter().map(|code| json!({ "Code": code })).collect();
        let error = format!("com.amazonaws.dynamodb.v20120810#{error}");
        let refusal = json!({ "__type": error, "CancellationReasons": reasons }).to_string();
        let client = engine::answered_by(move |target, _| {
            let read = target.ends_with("BatchGetItem");
            let nothing = json!({ "Responses": {} }).to_string();
            ready(Some(if read { (200, nothing) } else { (400, refusal.clone()) }))
        });
        // Three attempts after conflicts, one after throttling.
        let table = Table::with_http_client(client, "chat").with_backoff(|setback| match setback {
            Setback { throttled: false, made: ..3, .. } => Some(Duration::ZERO),
            _ => None,
        });
        let key = "key".parse().expect("a key");
        let refused = table.create_profile(&Caller::Anyone, ada(), Some(&key)).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{error} {reasons:?}: {refused:?}");
        assert_eq!(table.usage().transactions, attempts, "{error} {reasons:?}");
        if reasons.is_empty() {
            let table = table.for_request(Instant::now() + Duration::from_secs(8));
            let id = Uuid::now_v7().to_string().parse().expect("an id");
            table
                .delete_conversation(&Caller::Anyone, id, &shared::IfMatch::Any)
                .await
                .expect_err("throttled");
            assert_eq!(table.usage().requests, 3, "{error}, outside a transaction");
        }
    }
}

/// Returns a table on this database, in this process.
async fn table_on(database: &Database) -> Table {
    let table = Table::with_http_client(engine::client(database.clone()), "chat");
    table.create(&parse_template().table).await.expect("a table");
    table
}

#[tokio::test(start_paused = true)]
async fn a_post_writes_nothing_if_the_reads_took_too_long() {
    let database = engine::open(None).expect("a database");
    let table = table_on(&database).await;
    let author = table.create_profile(&Caller::Anyone, ada(), None).await.expect("a profile");
    let opening = NewConversation {
        visibility: Visibility::Public,
        subject: "s".to_owned().try_into().expect("a subject"),
        author_id: author.resource.id,
    };
    let created = table.create_conversation(&Caller::Anyone, opening, None).await;
    let id = created.expect("a conversation").resource.id;
    let client = engine::answered_by(move |target, body| {
        let database = database.clone();
        async move {
            assert!(target.ends_with("BatchGetItem"), "{target}: there is no time to commit");
            sleep(Duration::from_millis(1700)).await;
            Some(engine::answer(&database, &target, &body))
        }
    });
    let table = Table::with_http_client(client, "chat");
    let table = table.for_request(Instant::now() + Duration::from_secs(2));
    let input = NewMessage {
        author_id: author.resource.id,
        text: "x".to_owned().try_into().expect("a text"),
        metadata: Default::default(),
    };
    let refused = table.create_message(&Caller::Anyone, id, input, None).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

/// The first attempt arrives last: after the second, which a conflict refuses, after the
/// third, which is committed, and after the profile was deleted.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_arrives_late_does_not_create_a_deleted_profile_again() {
    let database = engine::open(None).expect("a database");
    table_on(&database).await;
    let late = Arc::new(Mutex::new(None));
    let client = {
        let (database, late, transactions) = (database.clone(), late.clone(), AtomicU32::new(0));
        engine::answered_by(move |target, body| {
            let conflict = json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "CancellationReasons": [{ "Code": "TransactionConflict" }],
            });
            if target.ends_with("TransactWriteItems") {
                match transactions.fetch_add(1, Ordering::Relaxed) {
                    0 => {
                        *late.lock().expect("no panic") = Some((target, body));
                        return ready(None);
                    }
                    1 => return ready(Some((400, conflict.to_string()))),
                    _ => {}
                }
            }
            ready(Some(engine::answer(&database, &target, &body)))
        })
    };
    let table = Table::with_http_client(client, "chat");
    let created = table.create_profile(&Caller::Anyone, ada(), None).await;
    let id = created.expect("the third attempt succeeds").resource.id;
    table.delete_profile(&Caller::Anyone, id, &shared::IfMatch::Any).await.expect("deleted");
    let (target, body) = late.lock().expect("no panic").take().expect("the first attempt");
    let (status, _) = engine::answer(&database, &target, &body);
    assert_eq!(status, 200, "DynamoDB decides once for all attempts with one token");
    let found = table.get_profile(&Caller::Anyone, id).await;
    assert!(matches!(found, Err(Error::NotFound(_))), "{found:?}");
}
