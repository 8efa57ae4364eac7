//! Warm: `create-message` through the runtime API, compared with the two SDK calls that it makes;
//! and its instructions.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use tempfile::TempDir;
use tokio::runtime::Builder;
use uuid::Uuid;

use crate::Binaries;
use crate::chat::Chat;
use crate::lambda::{Function, trusted};
use crate::report::{Bar, Report, median, ms, number, table};

/// Requests of one kind before the turn of the next kind.
const ROUND: usize = 100;

pub(crate) async fn run(binaries: &Binaries, rounds: usize, report: &mut Report) {
    let (ours, bare) = (Chat::new().await, Chat::new().await);
    let (event, endpoint, bare_endpoint) = (ours.event(), ours.serve().await, bare.serve().await);
    let folder = TempDir::new().expect("a folder");
    let trusted = trusted(folder.path(), "");
    let mut floor = Function::start(&[], &binaries.floor, &endpoint, &trusted).await;
    let mut function = Function::start(&[], &binaries.create_message, &endpoint, &trusted).await;
    let mut calls = Bare::new(&bare, bare_endpoint);
    let mut seen: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        for _ in 0..ROUND {
            seen[0].push(ms(floor.invoke(&event).await.0));
        }
        for _ in 0..ROUND {
            seen[1].push(ms(function.invoke(&event).await.0));
        }
        let (returned, took) =
            tokio::task::spawn_blocking(move || calls.round()).await.expect("calls");
        calls = returned;
        seen[2].extend(took.into_iter().map(ms));
    }
    // A runtime must not be dropped on a thread of another runtime.
    tokio::task::spawn_blocking(move || drop(calls)).await.expect("an end");
    let [floor, create_message, bare] = seen.map(|mut took| median(&mut took));
    let rows = [
        vec![
            "the floor's invocation: the time of the runtime API".to_owned(),
            format!("{} ms", number(floor)),
        ],
        vec!["the two calls of the SDK alone".to_owned(), format!("{} ms", number(bare))],
        vec!["`create-message`".to_owned(), format!("{} ms", number(create_message))],
    ];
    table(&format!("Warm, medians of {}", rounds * ROUND), &["", "wall time"], &rows);
    report.bar("create-message, by its two calls", create_message / bare, "×", Bar::AtMost(1.15));
    report.bar(
        "the same without the floor's time",
        (create_message - floor) / bare,
        "×",
        Bar::AtMost(1.15),
    );
}

/// The two calls of a post, with the functions' own client and nothing else.
struct Bare {
    client: Client,
    runtime: tokio::runtime::Runtime,
    profile: String,
    conversation: String,
    posted: u64,
}

impl Bare {
    fn new(chat: &Chat, endpoint: String) -> Self {
        let config = shared::table::client_config()
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .endpoint_url(endpoint);
        Self {
            client: Client::from_conf(config.build()),
            runtime: Builder::new_current_thread().enable_all().build().expect("a runtime"),
            profile: format!("PROFILE#{}", chat.author.id),
            conversation: format!("CONVERSATION#{}", chat.conversation.id),
            posted: 0,
        }
    }

    /// Runs on the calling thread, like a function with one thread.
    fn round(mut self) -> (Self, Vec<Duration>) {
        let mut took = Vec::new();
        for _ in 0..ROUND {
            let started = Instant::now();
            self.runtime.block_on(async {
                self.read().await;
                self.write().await;
            });
            took.push(started.elapsed());
            self.posted += 1;
        }
        (self, took)
    }

    fn key(pk: &str, sk: &str) -> std::collections::HashMap<String, AttributeValue> {
        [
            ("pk".to_owned(), AttributeValue::S(pk.to_owned())),
            ("sk".to_owned(), AttributeValue::S(sk.to_owned())),
        ]
        .into()
    }

    async fn read(&self) {
        let keys = KeysAndAttributes::builder()
            .keys(Self::key(&self.conversation, "CONVERSATION"))
            .keys(Self::key(&self.profile, "PROFILE"))
            .consistent_read(true);
        let request =
            self.client.batch_get_item().request_items("chat", keys.build().expect("keys"));
        request
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .expect("items");
    }

    async fn write(&self) {
        let number = |number: u64| AttributeValue::N(number.to_string());
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let (old, new) = (number(self.posted), number(self.posted + 1));
        let conversation = Update::builder()
            .table_name("chat")
            .set_key(Some(Self::key(&self.conversation, "CONVERSATION")))
            .update_expression("SET last_seq = :new")
            .condition_expression("last_seq = :old AND listing = :live")
            .expression_attribute_values(":new", new.clone())
            .expression_attribute_values(":old", old.clone())
            .expression_attribute_values(":live", text("CONVERSATIONS"))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let author = Update::builder()
            .table_name("chat")
            .set_key(Some(Self::key(&self.profile, "PROFILE")))
            .update_expression("SET points = :new")
            .condition_expression("points = :old")
            .expression_attribute_values(":new", new.clone())
            .expression_attribute_values(":old", old)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let message = Put::builder()
            .table_name("chat")
            .set_item(Some(Self::key(
                &self.conversation,
                &format!("MESSAGE#{:012}", self.posted + 1),
            )))
            .item("type", text("text"))
            .item("author_id", text(&self.profile["PROFILE#".len()..]))
            .item("owner", text(""))
            .item("text", text("Hello"))
            .item("metadata", text("{}"))
            .item("points", new)
            .item("created_at", text("2026-11-23T03:09:01.494Z"));
        let request = self
            .client
            .transact_write_items()
            .transact_items(
                TransactWriteItem::builder()
                    .update(conversation.build().expect("an update"))
                    .build(),
            )
            .transact_items(
                TransactWriteItem::builder().update(author.build().expect("an update")).build(),
            )
            .transact_items(
                TransactWriteItem::builder().put(message.build().expect("a put")).build(),
            )
            .client_request_token(Uuid::new_v4().to_string());
        request
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .expect("written");
    }
}

/// Counts the instructions per invocation with callgrind, as the difference between runs of
/// different length. Returns `None` without valgrind.
pub(crate) async fn instructions(binaries: &Binaries, invocations: usize) {
    let mut rows = Vec::new();
    for (name, binary) in [("floor", &binaries.floor), ("create-message", &binaries.create_message)]
    {
        let few = counted(binary, 20).await;
        let many = counted(binary, 20 + invocations).await;
        let (Some(few), Some(many)) = (few, many) else {
            println!("\nInstructions are not counted: valgrind is not installed.");
            return;
        };
        let each = (many - few) / invocations as f64;
        rows.push(vec![name.to_owned(), number(each), number(few - 20.0 * each)]);
    }
    table("Instructions, by callgrind", &["", "per invocation", "to start"], &rows);
}

/// Counts the instructions of a whole run with this number of invocations.
async fn counted(binary: &Path, invocations: usize) -> Option<f64> {
    std::process::Command::new("valgrind").arg("--version").output().ok()?;
    let chat = Chat::new().await;
    let (event, endpoint) = (chat.event(), chat.serve().await);
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("callgrind.out");
    let out = format!("--callgrind-out-file={}", file.display());
    let valgrind = ["/usr/bin/env", "valgrind", "--tool=callgrind", &out];
    let mut function =
        Function::start(&valgrind, binary, &endpoint, &trusted(folder.path(), "")).await;
    for _ in 0..invocations {
        function.invoke(&event).await;
    }
    function.end();
    let counts = fs::read_to_string(file).expect("counts");
    counts
        .lines()
        .find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")))?
        .trim()
        .parse()
        .ok()
}
