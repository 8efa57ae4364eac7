//! Faults and latencies drawn from a seed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use dynoxide::Database;
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};

use super::faults::{Fault, Unreadable, respond};
use super::invocations::Invocation;
use super::stream::Record;
use super::transactions::{Delays, Transactions, Views};
use super::{Backend, Executed, ItemKey, Request, Response, in_process, listen};

/// The longest time from sending a request to its execution.
const LATEST: u64 = 6_000;

/// DynamoDB behind an unreliable network.
pub struct Seeded {
    backend: Arc<Mixed>,
    /// Delays are divided by this, for runs in real time.
    haste: u32,
}

struct State {
    rng: Rng,
    /// The share of requests that get a fault, in percent.
    trouble: u32,
    /// The kinds of faults of this run, one bit each. Fewer kinds make rare combinations likelier.
    kinds: u32,
    /// Nothing gets through between these times.
    outage: Option<(Instant, Instant)>,
    started: Instant,
    /// Partition keys in the order of their first use. Ids differ from run to run, so no draw may
    /// depend on them.
    known: HashMap<String, usize>,
    trace: Vec<String>,
    counts: Counts,
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Requests sent.
    pub requests: u64,
    /// Requests with a fault.
    pub faults: u64,
    /// Requests that were executed after their client had given up.
    pub late: u64,
    /// Responses that could not be read.
    pub unreadable: u64,
    /// Voids that readers have put.
    pub closed_gaps: u64,
    /// Reads that saw something incomplete.
    pub views: Views,
}

impl Counts {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.faults += other.faults;
        self.late += other.late;
        self.unreadable += other.unreadable;
        self.closed_gaps += other.closed_gaps;
        self.views.partial += other.views.partial;
        self.views.early_keys += other.views.early_keys;
        self.views.outdated_index += other.views.outdated_index;
        self.views.outdated_items += other.views.outdated_items;
    }
}

/// The transactions, and the state of the network.
struct Mixed {
    transactions: Transactions,
    state: Mutex<State>,
}

impl Mixed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

impl State {
    /// Returns an order of items that does not depend on ids.
    fn order(&self, ItemKey { pk, sk }: ItemKey) -> (Option<usize>, String) {
        let known = |pk: &str| self.known.get(pk).copied();
        // The subscriptions to a conversation or profile follow its order.
        let topic = || {
            let id = pk.strip_prefix("LIVE#")?;
            known(&format!("CONVERSATION#{id}")).or_else(|| known(&format!("PROFILE#{id}")))
        };
        (known(&pk).or_else(topic), sk)
    }
}

impl Backend for Mixed {
    /// Executes a request. In a cancelled transaction, a conflict may replace any reason: DynamoDB
    /// checks the items independently.
    async fn execute(&self, request: &Request) -> Executed {
        let mut executed = self.transactions.execute(request).await;
        if let Some(sender) =
            request.sender.as_ref().filter(|_| executed.status == 200 && writes(request))
        {
            sender.store();
        }
        let mut state = self.state();
        state.counts.closed_gaps += u64::from(executed.status == 200 && closes_gap(request));
        let reasons = executed.body["CancellationReasons"].as_array_mut();
        for reason in reasons.into_iter().flatten() {
            if state.trouble > 0 && state.rng.u32(..6) == 0 {
                *reason = json!({ "Code": "TransactionConflict" });
            }
        }
        executed
    }
}

impl Seeded {
    /// Creates the network in front of a database. It is calm until [`Seeded::storm`]. The share of
    /// transactions that become visible slowly is `slow`, in percent.
    #[must_use]
    pub fn new(database: Database, seed: u64, haste: u32, slow: u32) -> Arc<Self> {
        let mut rng = Rng::with_seed(seed);
        let delays = Delays::Drawn { rng: rng.fork(), haste, slow };
        let state = State {
            kinds: rng.u32(..),
            rng,
            trouble: 0,
            outage: None,
            started: Instant::now(),
            known: HashMap::new(),
            trace: Vec::new(),
            counts: Counts::default(),
        };
        let transactions = Transactions::new(database, delays);
        Arc::new(Self {
            backend: Arc::new(Mixed { transactions, state: Mutex::new(state) }),
            haste,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.backend.state()
    }

    /// Starts to inject faults into this share of requests, in percent. Sometimes nothing gets
    /// through for a while.
    pub fn storm(&self, trouble: u32) {
        let haste = self.haste;
        let mut state = self.state();
        state.trouble = trouble;
        if state.trouble > 0 && state.rng.u32(..5) == 0 {
            let start = Instant::now() + Duration::from_millis(state.rng.u64(..3000)) / haste;
            let length = Duration::from_millis(state.rng.u64(100..12_000)) / haste;
            state.outage = Some((start, start + length));
        }
    }

    /// Stops to inject faults. Transactions still become visible item by item.
    pub fn calm(&self) {
        let mut state = self.state();
        (state.trouble, state.outage) = (0, None);
    }

    /// Returns the trace: one line for each event.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// Returns what has happened so far.
    pub fn counts(&self) -> Counts {
        let views = self.backend.transactions.views();
        Counts { views, ..self.state().counts }
    }

    /// Adds a line to the trace.
    pub fn note(&self, line: &str) {
        let mut state = self.state();
        let now = state.started.elapsed().as_millis();
        state.trace.push(format!("{now:>7} ms  {line}"));
    }

    /// Returns all items of the table, without faults or delays.
    pub fn all_items(&self, table: &str) -> Vec<Value> {
        self.backend.transactions.all_items(table)
    }

    /// Returns the records of the table's stream from now on.
    pub fn records(&self) -> UnboundedReceiver<Record> {
        self.backend.transactions.records()
    }

    /// Returns an HTTP client for the SDK, in the same process.
    pub fn client(self: &Arc<Self>) -> SharedHttpClient {
        let seeded = self.clone();
        in_process(move |request| seeded.clone().answer(request))
    }

    /// Listens on a port, and returns the endpoint.
    pub async fn listen(self: &Arc<Self>) -> String {
        let seeded = self.clone();
        listen(move |request| seeded.clone().answer(request)).await
    }

    async fn answer(self: Arc<Self>, mut request: Request) -> Response {
        self.order_entries(&mut request);
        let (fault, before, after) = self.draw(&request);
        let number = request.sender.as_ref().map_or(0, |sender| sender.count(&request));
        let operation = request.operation();
        self.note(&format!("{operation} {fault:?}, arrives in {before:?}, then {after:?}"));
        sleep(before).await;
        let response = respond(&self.backend, &request, fault).await;
        let status = response.as_ref().map_or(0, |(status, _)| *status);
        self.note(&format!("{} answers {status}", request.operation()));
        sleep(after).await;
        if let Some(sender) = &request.sender {
            sender.respond(number);
        }
        response
    }

    /// Sorts the keys of a batch, whose order may depend on ids, into an order that does not.
    fn order_entries(&self, request: &mut Request) {
        let mut state = self.state();
        for key in request.written_keys() {
            let next = state.known.len();
            state.known.entry(key.pk).or_insert(next);
        }
        let tables = request.body["RequestItems"].as_object_mut();
        for table in tables.into_iter().flat_map(|tables| tables.values_mut()) {
            if let Some(writes) = table.as_array_mut() {
                writes.sort_by_key(|write| state.order(ItemKey::of_write(write)));
            }
            if let Some(keys) = table.get_mut("Keys").and_then(Value::as_array_mut) {
                keys.sort_by_key(|key| state.order(ItemKey::of(key)));
            }
        }
    }

    /// Draws the fault of a request, how long it takes to arrive, and how long its response takes.
    fn draw(&self, request: &Request) -> (Fault, Duration, Duration) {
        let mut state = self.state();
        let State { rng, trouble, kinds, .. } = &mut *state;
        let goes_wrong = |rng: &mut Rng, percent: u32| rng.u32(..100) < *trouble * percent / 100;
        // Some requests and some responses take longer than the service waits.
        let takes = |rng: &mut Rng| {
            let long = goes_wrong(rng, 20);
            let range = if long { 200_000..LATEST * 1000 } else { 500..15_000 };
            Duration::from_micros(rng.u64(range))
        };
        let (mut before, after) = (takes(rng), takes(rng));
        let drawn = draw_fault(request, *kinds, rng);
        let mut fault = if goes_wrong(rng, 100) { drawn } else { Fault::None };
        if let Fault::Late(delay) = &mut fault {
            before = Duration::from_millis(1);
            *delay /= self.haste;
        }
        let now = Instant::now();
        if state.outage.is_some_and(|(start, end)| (start..end).contains(&now)) {
            fault = Fault::RequestLost;
        }
        state.counts.requests += 1;
        state.counts.faults += u64::from(!matches!(fault, Fault::None));
        state.counts.late += u64::from(matches!(fault, Fault::Late(_)));
        state.counts.unreadable += u64::from(matches!(fault, Fault::Unreadable { .. }));
        (fault, before / self.haste, after / self.haste)
    }
}

/// Returns whether a request stores something if it succeeds.
fn writes(request: &Request) -> bool {
    let elements = request.body["TransactItems"].as_array();
    let checks = |element: &Value| !element["ConditionCheck"].is_null();
    let only_checks = elements.is_some_and(|elements| elements.iter().all(checks));
    !matches!(request.operation(), "BatchGetItem" | "Query") && !only_checks
}

/// Returns whether a reader puts a void.
fn closes_gap(request: &Request) -> bool {
    let reads = |sender: &Invocation| {
        matches!(sender.function(), "get-conversation" | "list-messages" | "list-changes")
    };
    request.body["Item"]["type"]["S"] == "void" && request.sender.as_deref().is_some_and(reads)
}

/// Draws one of the faults that this operation can have, if possible of these kinds.
fn draw_fault(request: &Request, kinds: u32, rng: &mut Rng) -> Fault {
    let delay = if rng.bool() { rng.u64(20..LATEST) } else { rng.u64(1..100) };
    let form = Unreadable::ALL[rng.usize(..Unreadable::ALL.len())];
    let mut faults = vec![
        Fault::RequestLost,
        Fault::ConnectionLost,
        Fault::AnswerLost,
        Fault::Late(Duration::from_millis(delay)),
        Fault::Late(Duration::from_millis(delay)),
        Fault::Unreadable { executed: rng.u32(..4) > 0, form },
        Fault::Unreadable { executed: rng.u32(..4) > 0, form },
        Fault::Failed(500, "InternalServerError"),
        Fault::Failed(503, "ServiceUnavailable"),
        Fault::Refused("ThrottlingException"),
        Fault::Refused("ProvisionedThroughputExceededException"),
    ];
    let (partial, one_by_one) = (Fault::Partial(rng.u64(..)), Fault::OneByOne(rng.u64(..)));
    match request.operation() {
        "TransactWriteItems" => {
            let cancelled = Fault::Cancelled(draw_reasons(request.written_keys().len(), rng));
            faults.extend(vec![cancelled; 4]);
            faults.push(Fault::Refused("TransactionInProgressException"));
        }
        "UpdateItem" | "PutItem" | "DeleteItem" => {
            faults.extend(vec![Fault::Refused("TransactionConflictException"); 4]);
        }
        "BatchGetItem" => faults.extend([partial, one_by_one.clone(), one_by_one]),
        "Query" | "BatchWriteItem" => faults.extend([partial.clone(), partial]),
        _ => {}
    }
    let allowed = |fault: &Fault| kinds & (1 << kind(fault)) != 0;
    if faults.iter().any(allowed) {
        faults.retain(allowed);
    }
    faults.swap_remove(rng.usize(..faults.len()))
}

/// Numbers the kinds of faults.
fn kind(fault: &Fault) -> u32 {
    match fault {
        Fault::None | Fault::Held(_) => 0,
        Fault::Refused(_) => 1,
        Fault::Failed(..) => 2,
        Fault::Cancelled(_) => 3,
        Fault::RequestLost => 4,
        Fault::AnswerLost => 5,
        Fault::ConnectionLost => 6,
        Fault::Late(_) => 7,
        Fault::Unreadable { .. } => 8,
        Fault::Partial(_) => 9,
        Fault::OneByOne(_) => 10,
    }
}

/// Draws the reasons of a cancelled transaction: at least one conflict or throttling, no condition.
fn draw_reasons(items: usize, rng: &mut Rng) -> Vec<&'static str> {
    let guilty = rng.usize(..items.max(1));
    let mut reason = |index| match rng.u32(..6) {
        0 if index == guilty => "ThrottlingError",
        1 if index == guilty => "ProvisionedThroughputExceeded",
        number if index == guilty || number == 0 => "TransactionConflict",
        _ => "None",
    };
    (0..items).map(&mut reason).collect()
}
