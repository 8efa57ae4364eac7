//! What stands between the service and the engine, and lets go wrong what may go wrong there: drawn from a seed.
//!
//! Source of what DynamoDB answers:
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html> and
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use dynoxide::Database;
use fastrand::Rng;
use local::engine;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long what a transaction wrote may stay hidden from a Query.
const HIDDEN: Duration = Duration::from_millis(100);

/// The way to an engine.
pub(crate) struct Network {
    database: Database,
    state: Mutex<State>,
    /// Where time is real, delays are this many times shorter.
    haste: u32,
}

struct State {
    rng: Rng,
    /// How many of a hundred requests go wrong.
    trouble: u32,
    /// When nothing gets through at all.
    outage: Option<(Instant, Instant)>,
    started: Instant,
    /// What transactions put lately: its keys, and when.
    fresh: Vec<([Value; 2], Instant)>,
    /// Partition keys in the order in which they came, for what is drawn must not depend on ids, which are new in every run.
    known: HashMap<String, usize>,
    trace: Vec<String>,
    counts: Counts,
}

/// How much was tried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) faults: u64,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Carried,
    /// Refused with this error, and not carried out.
    Refused(u16, &'static str),
    /// A transaction is cancelled, since another holds some of its items, or too much is asked of them.
    Cancelled,
    /// The connection ends before the engine sees the request.
    LostBefore,
    /// The engine carries it out, and the connection ends.
    LostAfter,
    /// The connection ends, and the engine carries it out some time later: perhaps when a repeat has been answered already.
    Late(Duration),
    /// The engine carries it out, and an internal error is answered.
    FailedAfter,
    /// Only a part is carried out: of the keys, of the items to write, or of the page.
    InPart,
    /// Keys are read one after the other.
    OneByOne,
    /// What a transaction has just put is not all visible yet.
    Hidden,
}

/// What the service receives: a status and a body, unless they are lost.
pub(crate) type Outcome = Option<(u16, String)>;

impl Network {
    pub(crate) fn new(database: Database, seed: u64, haste: u32) -> Arc<Self> {
        let mut rng = Rng::with_seed(seed);
        let trouble = *rng.choice(&[0, 5, 15, 40]).unwrap_or(&0);
        let state = State {
            rng,
            trouble,
            outage: None,
            started: Instant::now(),
            fresh: Vec::new(),
            known: HashMap::new(),
            trace: Vec::new(),
            counts: Counts::default(),
        };
        Arc::new(Self { database, state: Mutex::new(state), haste })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// How many of a hundred requests go wrong by this seed.
    pub(crate) fn trouble(&self) -> u32 {
        self.state().trouble
    }

    /// From now on so many go wrong, until [`Network::calm`]; sometimes nothing at all works for a while.
    pub(crate) fn storm(&self, trouble: u32) {
        let haste = self.haste;
        let mut state = self.state();
        state.trouble = trouble;
        if state.trouble > 0 && state.rng.u32(..5) == 0 {
            let start = Instant::now() + Duration::from_millis(state.rng.u64(..3000)) / haste;
            state.outage =
                Some((start, start + Duration::from_millis(state.rng.u64(100..12_000)) / haste));
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn calm(&self) {
        let mut state = self.state();
        (state.trouble, state.outage) = (0, None);
    }

    /// What happened, a line each.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    pub(crate) fn note(&self, line: &str) {
        let mut state = self.state();
        let now = state.started.elapsed().as_millis();
        state.trace.push(format!("{now:>7} ms  {line}"));
    }

    /// The HTTP client of an SDK that goes this way within the process.
    pub(crate) fn client(self: &Arc<Self>) -> SharedHttpClient {
        let network = self.clone();
        engine::answered_by(move |target, body| {
            // In a task of its own: what was sent arrives, whether or not somebody still waits for the answer.
            let passing = tokio::spawn(network.clone().pass(target, body));
            async { passing.await.ok().flatten() }
        })
    }

    /// Draws what happens to a request, and lets it happen.
    pub(crate) async fn pass(self: Arc<Self>, target: String, body: Vec<u8>) -> Outcome {
        let request: Value = serde_json::from_slice(&body).expect("JSON");
        let operation = target.rsplit('.').next().expect("an operation").to_owned();
        let (fate, before, after) = self.draw(&operation, &request);
        sleep(before).await;
        let outcome = match fate {
            Fate::Refused(status, error) => Some((status, failure(error, json!({})))),
            Fate::Cancelled => Some((400, self.cancelled(&request))),
            Fate::LostBefore => None,
            Fate::LostAfter => {
                self.carry(&target, &operation, &request);
                None
            }
            Fate::Late(delay) => {
                tokio::spawn(async move {
                    sleep(delay).await;
                    self.note(&format!("{operation} arrives"));
                    self.carry(&target, &operation, &request);
                });
                return None;
            }
            Fate::FailedAfter => {
                self.carry(&target, &operation, &request);
                Some((500, failure("InternalServerError", json!({}))))
            }
            Fate::Carried | Fate::Hidden => {
                let (status, mut answer) = self.carry(&target, &operation, &request);
                if fate == Fate::Hidden {
                    self.hide(&mut answer);
                }
                Some((status, answer.to_string()))
            }
            Fate::InPart => self.in_part(&target, &operation, request),
            Fate::OneByOne => self.one_by_one(&target, &operation, &request).await,
        };
        sleep(after).await;
        outcome
    }

    fn draw(&self, operation: &str, request: &Value) -> (Fate, Duration, Duration) {
        let haste = self.haste;
        let mut state = self.state();
        for item in request["TransactItems"].as_array().into_iter().flatten() {
            if let Some(pk) = item["Put"]["Item"]["pk"]["S"].as_str() {
                let next = state.known.len();
                state.known.entry(pk.to_owned()).or_insert(next);
            }
        }
        let trouble = state.trouble;
        let rng = &mut state.rng;
        let goes_wrong =
            |rng: &mut Rng, share: u32| trouble > 0 && rng.u32(..100) < trouble * share / 100;
        // Some requests and some answers take longer than the service waits, and are carried out all the same.
        let takes = |rng: &mut Rng| {
            let long = goes_wrong(rng, 20);
            Duration::from_micros(if long {
                rng.u64(200_000..6_000_000)
            } else {
                rng.u64(500..15_000)
            }) / haste
        };
        let (before, after) = (takes(rng), takes(rng));
        let mut fates = vec![
            Fate::LostBefore,
            Fate::LostAfter,
            Fate::Late(Duration::from_millis(rng.u64(20..6_000)) / haste),
            Fate::Late(Duration::from_millis(rng.u64(1..100)) / haste),
            Fate::FailedAfter,
            Fate::Refused(500, "InternalServerError"),
            Fate::Refused(503, "ServiceUnavailable"),
            Fate::Refused(400, "ThrottlingException"),
            Fate::Refused(400, "ProvisionedThroughputExceededException"),
        ];
        fates.extend_from_slice(match operation {
            "TransactWriteItems" => &[
                Fate::Cancelled,
                Fate::Cancelled,
                Fate::Cancelled,
                Fate::Cancelled,
                Fate::Refused(400, "TransactionInProgressException"),
            ],
            "UpdateItem" | "DeleteItem" => &[Fate::Refused(400, "TransactionConflictException"); 4],
            "BatchGetItem" => &[Fate::InPart, Fate::OneByOne, Fate::OneByOne, Fate::OneByOne],
            "Query" => &[Fate::InPart, Fate::Hidden, Fate::Hidden, Fate::Hidden],
            "BatchWriteItem" => &[Fate::InPart; 3],
            _ => &[],
        });
        let drawn = *rng.choice(&fates).expect("some");
        let mut fate = if goes_wrong(rng, 100) { drawn } else { Fate::Carried };
        if state.outage.is_some_and(|(start, end)| (start..end).contains(&Instant::now())) {
            fate = Fate::LostBefore;
        }
        state.counts.requests += 1;
        state.counts.faults += u64::from(fate != Fate::Carried);
        drop(state);
        self.note(&format!("{operation} {fate:?} after {before:?}, answered after {after:?}"));
        (fate, before, after)
    }

    /// Lets the engine carry a request out, as DynamoDB would.
    fn carry(&self, target: &str, operation: &str, request: &Value) -> (u16, Value) {
        let (status, answer) =
            engine::answer(&self.database, target, request.to_string().as_bytes());
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        if operation == "TransactWriteItems" {
            let mut state = self.state();
            if status == 200 {
                for item in request["TransactItems"].as_array().into_iter().flatten() {
                    state.fresh.push((keys(&item["Put"]["Item"]), Instant::now()));
                }
            } else if state.trouble > 0 {
                // Beside a condition that failed, or instead of it, another transaction may be in the way.
                for reason in answer["CancellationReasons"].as_array_mut().into_iter().flatten() {
                    if state.rng.u32(..6) == 0 {
                        *reason = json!({ "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" });
                    }
                }
            }
        }
        (status, answer)
    }

    /// A cancellation with reasons of which at least one is not a condition.
    fn cancelled(&self, request: &Value) -> String {
        let items = request["TransactItems"].as_array().map_or(0, Vec::len);
        let rng = &mut self.state().rng;
        let guilty = rng.usize(..items.max(1));
        let reasons: Vec<Value> = (0..items)
            .map(|index| match rng.u32(..6) {
                0 if index == guilty => {
                    json!({ "Code": "ThrottlingError", "Message": "Too much at once" })
                }
                1 if index == guilty => {
                    json!({ "Code": "ProvisionedThroughputExceeded", "Message": "Too much" })
                }
                n if index == guilty || n == 0 => {
                    json!({ "Code": "TransactionConflict", "Message": "Ongoing" })
                }
                _ => json!({ "Code": "None" }),
            })
            .collect();
        failure("TransactionCanceledException", json!({ "CancellationReasons": reasons }))
    }

    /// Takes one item out of a page that a transaction has put lately.
    fn hide(&self, answer: &mut Value) {
        let mut state = self.state();
        state.fresh.retain(|(_, put)| put.elapsed() < HIDDEN);
        let Some(items) = answer["Items"].as_array_mut() else { return };
        let fresh: Vec<usize> = (0..items.len())
            .filter(|&index| state.fresh.iter().any(|(put, _)| *put == keys(&items[index])))
            .collect();
        if let Some(&index) = state.rng.choice(&fresh) {
            items.remove(index);
            answer["Count"] = json!(answer["Items"].as_array().map_or(0, Vec::len));
        }
    }

    /// Does a part of what is asked, and says what is left.
    fn in_part(&self, target: &str, operation: &str, mut request: Value) -> Outcome {
        let (kind, left) = match operation {
            "Query" => {
                if let Some(limit) = request["Limit"].as_u64().filter(|limit| *limit > 1) {
                    request["Limit"] = json!(self.state().rng.u64(1..limit));
                }
                let (status, answer) = self.carry(target, operation, &request);
                return Some((status, answer.to_string()));
            }
            "BatchGetItem" => (
                "UnprocessedKeys",
                self.split(&mut request["RequestItems"], |keys| &mut keys["Keys"]),
            ),
            _ => ("UnprocessedItems", self.split(&mut request["RequestItems"], |writes| writes)),
        };
        let (status, mut answer) = self.carry(target, operation, &request);
        answer[kind] = left;
        Some((status, answer.to_string()))
    }

    /// Leaves a first part of the list of each table where it is, and answers the same without that part. At least one entry is done.
    fn split(&self, tables: &mut Value, list: impl Fn(&mut Value) -> &mut Value) -> Value {
        let mut rest = tables.clone();
        let names: Vec<String> = tables.as_object().expect("tables").keys().cloned().collect();
        for name in names {
            let mut entries = list(&mut tables[&name]).as_array().expect("a list").clone();
            let mut state = self.state();
            entries.sort_by_key(|entry| place(&state.known, entry));
            let done = state.rng.usize(1..=entries.len());
            let left = entries.split_off(done);
            *list(&mut tables[&name]) = json!(entries);
            if left.is_empty() {
                rest.as_object_mut().expect("tables").remove(&name);
            } else {
                *list(&mut rest[&name]) = json!(left);
            }
        }
        rest
    }

    /// Reads each key by itself, with time in between: what is read together need not be of one moment.
    async fn one_by_one(&self, target: &str, operation: &str, request: &Value) -> Outcome {
        let (name, keys) = request["RequestItems"]
            .as_object()
            .and_then(|tables| tables.iter().next())
            .expect("a table");
        let mut each = keys["Keys"].as_array().expect("keys").clone();
        each.sort_by_key(|key| place(&self.state().known, key));
        let mut items = Vec::new();
        for key in each {
            let mut one = keys.clone();
            one["Keys"] = json!([key]);
            let (_, mut answer) =
                self.carry(target, operation, &json!({ "RequestItems": { name: one } }));
            items.extend(
                answer["Responses"][name].as_array_mut().map(std::mem::take).unwrap_or_default(),
            );
            let pause = Duration::from_millis(self.state().rng.u64(..40)) / self.haste;
            sleep(pause).await;
        }
        Some((200, json!({ "Responses": { name: items }, "UnprocessedKeys": {} }).to_string()))
    }
}

fn keys(item: &Value) -> [Value; 2] {
    ["pk", "sk"].map(|name| item[name].clone())
}

/// Where an entry of a batch stands among the others, by what is the same in each run.
fn place(known: &HashMap<String, usize>, entry: &Value) -> (Option<usize>, String) {
    let key = if entry["DeleteRequest"].is_null() { entry } else { &entry["DeleteRequest"]["Key"] };
    let (pk, sk) =
        (key["pk"]["S"].as_str().unwrap_or_default(), key["sk"]["S"].as_str().unwrap_or_default());
    (known.get(pk).copied(), sk.to_owned())
}

fn failure(error: &str, mut body: Value) -> String {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{error}"));
    body["message"] = json!("A fault that was drawn");
    body.to_string()
}
