//! What is answered when the table does not answer, or not in time.

use std::future::ready;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::engine;
use local::template::{TEMPLATE, Template};
use shared::table::Setback;
use shared::{Caller, Error, NewConversation, NewMessage, NewProfile, Table};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use tests::service::{Answer, Api, Fault, Recorder, Value, embedded_engine, json};

/// A service whose functions have three seconds, on a table that `faulty` stands before; and one beside it that nothing does.
async fn services(engine: &str, faulty: &Recorder) -> (Api, Api) {
    let mut template = Template::parse(TEMPLATE).expect("the template");
    for route in &mut template.routes {
        route.timeout = Duration::from_secs(3);
    }
    Table::connect(engine, "chat").create(&template.table).await.expect("a table");
    let behind = Api::serve(&template, Table::connect(&faulty.endpoint, "chat")).await;
    (behind, Api::serve(&template, Table::connect(engine, "chat")).await)
}

/// A post whose transaction is carried out, though every answer says otherwise: the first is lost, all later ones are `then`.
async fn post_with_a_lost_answer(then: Fault) -> Answer {
    let engine = embedded_engine().await;
    let transactions = AtomicU32::new(0);
    let faulty = Recorder::with_faults(engine.clone(), move |operation| match operation {
        "TransactWriteItems" if transactions.fetch_add(1, Ordering::Relaxed) == 0 => {
            Fault::AnswerLost
        }
        "TransactWriteItems" => then.clone(),
        _ => Fault::None,
    });
    let (api, beside) = services(&engine, &faulty.await).await;
    let (author_id, id) = beside.profile_and_conversation().await;
    let body = json!({ "author_id": author_id, "text": "x" });
    let answer = api.post(&format!("/conversations/{id}/messages"), &body).await;
    assert_eq!(beside.messages(&id).await.len(), 1, "it is stored, and once");
    answer
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_found_out_by_asking_again() {
    let posted = post_with_a_lost_answer(Fault::None).await.with(201);
    assert_eq!((&posted["seq"], &posted["points"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_post_that_may_be_stored_is_never_said_to_have_changed_nothing() {
    for refusal in ["ThrottlingException", "AccessDeniedException"] {
        post_with_a_lost_answer(Fault::Refused(refusal)).await.problem(500);
    }
}

#[tokio::test]
async fn a_table_that_refuses_everything_is_a_503_that_says_when_to_come_again() {
    let engine = embedded_engine().await;
    let faulty =
        Recorder::with_faults(engine.clone(), |_| Fault::Refused("ThrottlingException")).await;
    let (api, _) = services(&engine, &faulty).await;
    for answer in
        [api.get("/profiles").await, api.post("/profiles", &json!({ "first_name": "Ada" })).await]
    {
        answer.problem(503);
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn a_conversation_that_is_deleted_while_it_is_read_is_not_found() {
    let engine = embedded_engine().await;
    let (held, first) = (Arc::new(Notify::new()), AtomicU32::new(0));
    let until = held.clone();
    let faulty = Recorder::with_faults(engine.clone(), move |operation| {
        let hold = operation == "Query" && first.fetch_add(1, Ordering::Relaxed) == 0;
        if hold { Fault::Held(until.clone()) } else { Fault::None }
    });
    let faulty = faulty.await;
    let (api, beside) = services(&engine, &faulty).await;
    let (author_id, id) = beside.profile_and_conversation().await;
    beside.say(&id, &author_id, "x").await;
    let path = format!("/conversations/{id}");
    let reader = tokio::spawn({
        let path = path.clone();
        async move { api.get(&path).await }
    });
    // Its conversation has been read, its messages have not.
    while faulty.take().is_empty() {
        tokio::task::yield_now().await;
    }
    beside.delete(&path).await.with(204);
    held.notify_one();
    // It was there when it was read.
    reader.await.expect("an answer").with(200);
}

/// Stands before an engine, and counts the connections made to it.
async fn counted(engine: &str) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let connections = Arc::new(AtomicU32::new(0));
    let (engine, count) = (engine.trim_start_matches("http://").to_owned(), connections.clone());
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut there = TcpStream::connect(&engine).await.expect("an engine");
            tokio::spawn(async move { copy_bidirectional(&mut here, &mut there).await });
        }
    });
    (endpoint, connections)
}

#[tokio::test]
async fn a_function_is_connected_to_the_table_before_its_first_request() {
    let engine = embedded_engine().await;
    Table::connect(&engine, "chat")
        .create(&Template::parse(TEMPLATE).expect("the template").table)
        .await
        .expect("a table");
    let (endpoint, connections) = counted(&engine).await;
    let table = Table::connect(&endpoint, "chat");
    assert_eq!(connections.load(Ordering::Relaxed), 0);
    table.warm_up().await;
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    table
        .list_profiles(&Caller::Anyone, shared::Limit::default(), None)
        .await
        .expect("an empty list");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "the same one");
}

#[tokio::test]
async fn a_table_that_does_not_answer_keeps_no_function_from_starting() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let started = Instant::now();
    Table::connect(&endpoint, "chat").warm_up().await;
    Table::connect("http://127.0.0.1:1", "chat").warm_up().await;
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn one_attempt_is_one_request() {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let faulty = Recorder::with_faults(embedded_engine().await, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Fault::AnswerLost
    });
    // An internal error is what the SDK would ask again after; and the time is too short for the table to do so.
    Table::connect(&faulty.await.endpoint, "chat").warm_up().await;
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

fn ada() -> NewProfile {
    let (first_name, last_name) =
        ("Ada".to_owned().try_into().expect("a name"), String::new().try_into().expect("a name"));
    NewProfile { first_name, last_name, job_title: Default::default() }
}

#[tokio::test]
async fn who_is_throttled_is_told_apart_from_who_only_collides() {
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
        let answer = json!({ "__type": error, "CancellationReasons": reasons }).to_string();
        let client = engine::answered_by(move |target, _| {
            ready(Some(if target.ends_with("BatchGetItem") {
                (200, json!({ "Responses": {} }).to_string())
            } else {
                (400, answer.clone())
            }))
        });
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
            table
                .delete_profile(
                    &Caller::Anyone,
                    Uuid::now_v7().to_string().parse().expect("an id"),
                    &shared::IfMatch::Any,
                )
                .await
                .expect_err("a write by itself is throttled too");
            assert_eq!(table.usage().requests, 3, "{error}, of what is no transaction");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_is_not_sent_when_reading_took_its_time() {
    let database = engine::open(None).expect("a database");
    let table = Table::with_http_client(engine::client(database.clone()), "chat");
    table.create(&Template::parse(TEMPLATE).expect("the template").table).await.expect("a table");
    let author =
        table.create_profile(&Caller::Anyone, ada(), None).await.expect("a profile").resource.id;
    let opening = NewConversation {
        subject: "s".to_owned().try_into().expect("a subject"),
        author_id: author,
    };
    let id = table
        .create_conversation(&Caller::Anyone, opening, None)
        .await
        .expect("a conversation")
        .resource
        .id;
    let client = engine::answered_by(move |target, body| {
        let database = database.clone();
        async move {
            assert!(
                !target.ends_with("TransactWriteItems"),
                "it might be carried out, and nobody would know"
            );
            sleep(Duration::from_millis(1700)).await;
            Some(engine::answer(&database, &target, &body))
        }
    });
    let table = Table::with_http_client(client, "chat")
        .for_request(Instant::now() + Duration::from_secs(2));
    let input = NewMessage {
        author_id: author,
        text: "x".to_owned().try_into().expect("a text"),
        metadata: Default::default(),
    };
    let refused = table.create_message(&Caller::Anyone, id, input, None).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

/// The first attempt at a creation is lost, and its repeat collides. It arrives when the third has been answered and the profile been
/// deleted.
#[tokio::test(start_paused = true)]
async fn a_creation_that_arrives_late_does_not_bring_back_what_was_deleted() {
    let database = engine::open(None).expect("a database");
    let late = Arc::new(Mutex::new(None));
    let client = {
        let (database, late, transactions) = (database.clone(), late.clone(), AtomicU32::new(0));
        engine::answered_by(move |target, body| {
            let collision = json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "CancellationReasons": [{ "Code": "TransactionConflict" }],
            });
            if target.ends_with("TransactWriteItems") {
                match transactions.fetch_add(1, Ordering::Relaxed) {
                    0 => {
                        *late.lock().expect("no panic") = Some((target, body));
                        return ready(None);
                    }
                    1 => return ready(Some((400, collision.to_string()))),
                    _ => {}
                }
            }
            ready(Some(engine::answer(&database, &target, &body)))
        })
    };
    let table = Table::with_http_client(client, "chat");
    table.create(&Template::parse(TEMPLATE).expect("the template").table).await.expect("a table");
    let id = table
        .create_profile(&Caller::Anyone, ada(), None)
        .await
        .expect("by the third attempt")
        .resource
        .id;
    table.delete_profile(&Caller::Anyone, id, &shared::IfMatch::Any).await.expect("deleted");
    let (target, body) = late.lock().expect("no panic").take().expect("the first attempt");
    assert_eq!(
        engine::answer(&database, &target, &body).0,
        200,
        "DynamoDB answers for both attempts"
    );
    assert!(matches!(table.get_profile(&Caller::Anyone, id).await, Err(Error::NotFound(_))));
}
