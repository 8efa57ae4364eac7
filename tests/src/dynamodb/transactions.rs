//! The embedded engine, with the transactions of DynamoDB.
//!
//! - A transaction holds its items from its arrival until they are visible. Meanwhile every other
//!   write to one of them is a conflict.
//! - The items of a transaction become visible one by one, for every kind of read. A read returns
//!   the previous item until then. DynamoDB promises isolation for single items only, not for
//!   `BatchGetItem` and `Query`.
//! - The response of a transaction is sent when all its items are visible. So only other requests
//!   can see a part of it, or its own request after a lost response.
//! - The index lags behind the table, for each item separately. So do eventually consistent reads of
//!   conversations.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use dynoxide::Database;
use fastrand::Rng;
use local::engine;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::queries::{Replacement, query_as_seen};
use super::stream::{self, Record};
use super::{Backend, Executed, ItemKey, Request, cancellation, error_body};

/// The embedded engine behind DynamoDB's rules for transactions.
pub struct Transactions {
    database: Database,
    state: Mutex<State>,
    /// Where the records of the stream go, if anybody receives them.
    records: OnceLock<UnboundedSender<Record>>,
}

struct State {
    delays: Delays,
    active: Vec<Transaction>,
    /// The tokens of all committed transactions.
    committed: HashSet<String>,
    /// Changes that the index and eventually consistent reads do not show yet.
    lagging: Vec<Change>,
    views: Views,
}

/// A transaction whose items are not all visible.
struct Transaction {
    token: String,
    changes: Vec<Change>,
}

/// A change of an item.
struct Change {
    key: ItemKey,
    /// The item before the change.
    before: Option<Value>,
    visible_at: Instant,
}

/// The delays until committed changes become visible.
pub enum Delays {
    /// No delay, unless [`Transactions::transact`] gets one.
    None,
    /// Drawn at random.
    Drawn {
        /// Draws them.
        rng: Rng,
        /// Divides them.
        haste: u32,
        /// The share of transactions that stay invisible for up to 1.5 seconds, in percent.
        slow: u32,
    },
}

/// The reads that saw something incomplete.
#[derive(Clone, Copy, Debug, Default)]
pub struct Views {
    /// Reads that saw a part of a transaction, or none of it, after it was committed.
    pub partial: u64,
    /// Reads that saw an idempotency key whose resource was not visible.
    pub early_keys: u64,
    /// Queries that saw an outdated index.
    pub outdated_index: u64,
    /// Eventually consistent reads of an item as it was before.
    pub outdated_items: u64,
}

impl Delays {
    /// Draws the delay of each item of a transaction.
    fn of_items(&mut self, items: usize) -> Vec<Duration> {
        match self {
            Self::None => vec![Duration::ZERO; items],
            Self::Drawn { rng, haste, slow } => {
                let longest = match rng.u32(..100) {
                    share if share < *slow => rng.u64(200_000..1_500_000),
                    share if share < 30 => rng.u64(20_000..150_000),
                    _ => 10_000,
                };
                let delay = |_| Duration::from_micros(rng.u64(..longest)) / *haste;
                (0..items).map(delay).collect()
            }
        }
    }

    /// Draws the delay of a change in the index.
    fn of_index(&mut self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Drawn { rng, haste, .. } => {
                let longest = if rng.u32(..4) == 0 { 2_000_000 } else { 20_000 };
                Duration::from_micros(rng.u64(..longest)) / *haste
            }
        }
    }
}

impl Change {
    fn is_visible(&self) -> bool {
        self.visible_at <= Instant::now()
    }
}

impl State {
    fn forget_visible(&mut self) {
        self.active.retain(|transaction| !transaction.changes.iter().all(Change::is_visible));
        self.lagging.retain(|change| !change.is_visible());
    }

    /// Returns the change of an item that reads do not see yet.
    fn held(&self, key: &ItemKey) -> Option<&Change> {
        let mut changes = self.active.iter().flat_map(|transaction| &transaction.changes);
        changes.find(|change| change.key == *key && !change.is_visible())
    }

    /// Returns the first change of an item that eventually consistent reads do not see yet.
    fn lagging(&self, key: &ItemKey) -> Option<&Change> {
        self.lagging.iter().find(|change| change.key == *key && !change.is_visible())
    }

    /// Returns whether a visible item was written by a transaction that is not visible completely.
    fn is_early(&self, key: &ItemKey) -> bool {
        self.active.iter().any(|transaction| {
            let mut changes = transaction.changes.iter();
            changes.any(|change| change.key == *key && change.is_visible())
        })
    }
}

impl Transactions {
    /// Wraps a database.
    #[must_use]
    pub fn new(database: Database, delays: Delays) -> Self {
        let state = State {
            delays,
            active: Vec::new(),
            committed: HashSet::new(),
            lagging: Vec::new(),
            views: Views::default(),
        };
        Self { database, state: Mutex::new(state), records: OnceLock::new() }
    }

    /// Returns the records of all writes from now on, in the order of their commits.
    ///
    /// # Panics
    /// If it is called twice.
    pub fn records(&self) -> UnboundedReceiver<Record> {
        let (sender, records) = unbounded_channel();
        self.records.set(sender).expect("one receiver");
        records
    }

    /// Returns which reads saw something incomplete so far.
    pub fn views(&self) -> Views {
        self.state().views
    }

    /// Returns all items of the table, without delays.
    pub fn all_items(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut request = json!({ "TableName": table });
        loop {
            let scan = serde_json::from_value(request.clone()).expect("a request");
            let page = self.database.scan(scan).expect("a page");
            let page = serde_json::to_value(page).expect("JSON");
            items.extend(page["Items"].as_array().into_iter().flatten().cloned());
            match page.get("LastEvaluatedKey").filter(|key| !key.is_null()) {
                Some(key) => request["ExclusiveStartKey"] = key.clone(),
                None => return items,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("no panic");
        state.forget_visible();
        state
    }

    /// Executes a request on the engine, without any delay.
    pub(super) fn run(&self, request: &Request) -> Executed {
        let body = request.body.to_string();
        let (status, body) = engine::answer(&self.database, &request.target, body.as_bytes());
        let body = serde_json::from_str(&body).expect("JSON");
        Executed { status, body, settles_in: Duration::ZERO }
    }

    /// Executes a transaction whose items become visible after these delays.
    pub(super) fn transact(&self, request: &Request, delays: &[Duration]) -> Executed {
        let keys = request.written_keys();
        let token = request.body["ClientRequestToken"].as_str().unwrap_or_default().to_owned();
        {
            let state = self.state();
            if state.active.iter().any(|active| active.token == token) {
                return refusal("TransactionInProgressException");
            }
            let code = |key| if state.held(key).is_some() { "TransactionConflict" } else { "None" };
            let codes: Vec<&str> = keys.iter().map(code).collect();
            if codes.contains(&"TransactionConflict") {
                return Executed { body: cancellation(&codes), ..refusal("") };
            }
        }
        let before: Vec<_> = keys.iter().map(|key| self.stored(request, key)).collect();
        let mut executed = self.run(request);
        // A repeat of a committed transaction changes nothing.
        if executed.status == 200 && self.state().committed.insert(token.clone()) {
            let now = Instant::now();
            let changes = keys.into_iter().zip(before).zip(delays);
            let changes = changes
                .map(|((key, before), delay)| Change { key, before, visible_at: now + *delay })
                .collect::<Vec<_>>();
            self.lag(&changes);
            self.state().active.push(Transaction { token, changes });
            executed.settles_in = delays.iter().copied().max().unwrap_or_default();
        }
        executed
    }

    /// Executes a write of one item.
    fn write_one(&self, request: &Request) -> Executed {
        let body = &request.body;
        let key = ItemKey::of(if body["Item"].is_null() { &body["Key"] } else { &body["Item"] });
        if self.state().held(&key).is_some() {
            return refusal("TransactionConflictException");
        }
        let update = body["UpdateExpression"].as_str();
        let moves = update.is_none_or(|update| update.contains("listing"));
        // Only conversations are read eventually consistent.
        if !is_indexed(&key) || !(moves || key.sk == "CONVERSATION") {
            return self.run(request);
        }
        let before = self.stored(request, &key);
        let executed = self.run(request);
        self.lag(&[Change { key, before, visible_at: Instant::now() }]);
        executed
    }

    /// Executes a batch of writes. Writes to held items remain unprocessed.
    fn write_batch(&self, request: &Request) -> Executed {
        let mut body = request.body.clone();
        let mut unprocessed = json!({});
        let (mut changes, mut any) = (Vec::new(), false);
        for (name, writes) in body["RequestItems"].as_object_mut().expect("tables") {
            let writes = writes.as_array_mut().expect("a list");
            let is_held = |write: &Value| self.state().held(&ItemKey::of_write(write)).is_some();
            let (held, free): (Vec<Value>, _) = writes.drain(..).partition(is_held);
            *writes = free;
            any |= !writes.is_empty();
            for key in writes.iter().map(ItemKey::of_write).filter(is_indexed) {
                let before = self.stored(request, &key);
                changes.push(Change { key, before, visible_at: Instant::now() });
            }
            if !held.is_empty() {
                unprocessed[name] = json!(held);
            }
        }
        if !any {
            let body = json!({ "UnprocessedItems": unprocessed });
            return Executed { status: 200, body, settles_in: Duration::ZERO };
        }
        let mut executed = self.run(&request.with_body(body));
        self.lag(&changes);
        executed.body["UnprocessedItems"] = unprocessed;
        executed
    }

    /// Delays the changes of indexed items in the index and in eventually consistent reads.
    fn lag(&self, changes: &[Change]) {
        let mut state = self.state();
        if matches!(state.delays, Delays::None) {
            return;
        }
        for Change { key, before, visible_at } in changes.iter().filter(|c| is_indexed(&c.key)) {
            let visible_at = *visible_at + state.delays.of_index();
            let (key, before) = (key.clone(), before.clone());
            state.lagging.push(Change { key, before, visible_at });
        }
    }

    /// Executes a batch of reads. Held items are returned as they were before.
    fn read_batch(&self, request: &Request) -> Executed {
        let mut executed = self.run(request);
        let mut state = self.state();
        let (mut partial, mut early_keys, mut outdated) = (false, false, false);
        for (name, table) in request.body["RequestItems"].as_object().into_iter().flatten() {
            let eventual = table["ConsistentRead"] != true;
            let Some(items) = executed.body["Responses"][name].as_array_mut() else { continue };
            for key in table["Keys"].as_array().into_iter().flatten().map(ItemKey::of) {
                early_keys |= key.sk == "KEY" && state.is_early(&key);
                let lagging = state.lagging(&key).filter(|_| eventual);
                if let Some(change) = lagging.or(state.held(&key)) {
                    items.retain(|item| ItemKey::of(item) != key);
                    items.extend(change.before.clone());
                    partial |= !eventual;
                    outdated |= eventual;
                }
            }
        }
        state.views.partial += u64::from(partial);
        state.views.early_keys += u64::from(early_keys);
        state.views.outdated_items += u64::from(outdated);
        executed
    }

    /// Executes a query of the table or of the index.
    fn query(&self, request: &Request) -> Executed {
        let of_index = !request.body["IndexName"].is_null();
        let replacements: Vec<Replacement> = {
            let state = self.state();
            let held = state.active.iter().flat_map(|transaction| &transaction.changes);
            let changes: Vec<&Change> =
                if of_index { state.lagging.iter().collect() } else { held.collect() };
            let mut replacements: Vec<Replacement> = Vec::new();
            for Change { key, before, .. } in changes.into_iter().filter(|c| !c.is_visible()) {
                // The first change that is not visible decides what is.
                if !replacements.iter().any(|replacement| replacement.key == *key) {
                    replacements.push(Replacement { key: key.clone(), item: before.clone() });
                }
            }
            replacements
        };
        let (executed, differs) =
            query_as_seen(request, &replacements, |request| self.run(request));
        let views = &mut self.state().views;
        let count = if of_index { &mut views.outdated_index } else { &mut views.partial };
        *count += u64::from(differs);
        executed
    }

    /// Returns the stored item, visible or not.
    fn stored(&self, request: &Request, key: &ItemKey) -> Option<Value> {
        let element = &request.body["TransactItems"][0];
        let element = element.as_object().and_then(|element| element.values().next());
        let name = match (element, request.body["RequestItems"].as_object()) {
            (Some(element), _) => element["TableName"].as_str(),
            (None, Some(tables)) => tables.keys().next().map(String::as_str),
            (None, None) => request.body["TableName"].as_str(),
        };
        let name = name.expect("a table name");
        let body = json!({ "RequestItems": { name: { "Keys": [key.to_json()] } } });
        let target = "DynamoDB_20120810.BatchGetItem".to_owned();
        let executed = self.run(&Request { target, ..request.with_body(body) });
        executed.body["Responses"][name].get(0).cloned()
    }
}

impl Backend for Transactions {
    async fn execute(&self, request: &Request) -> Executed {
        let Some(records) = self.records.get() else { return self.execute_unrecorded(request) };
        let exists = |key: &ItemKey| self.stored(request, key).is_some();
        stream::record(records, request, exists, || self.execute_unrecorded(request))
    }
}

impl Transactions {
    fn execute_unrecorded(&self, request: &Request) -> Executed {
        match request.operation() {
            "TransactWriteItems" => {
                let delays = self.state().delays.of_items(request.written_keys().len());
                self.transact(request, &delays)
            }
            "UpdateItem" | "PutItem" | "DeleteItem" => self.write_one(request),
            "BatchWriteItem" => self.write_batch(request),
            "BatchGetItem" => self.read_batch(request),
            "Query" => self.query(request),
            _ => self.run(request),
        }
    }
}

/// Returns whether the index may list an item.
fn is_indexed(key: &ItemKey) -> bool {
    matches!(key.sk.as_str(), "PROFILE" | "CONVERSATION") || key.sk.starts_with("MEMBER#")
}

fn refusal(error: &str) -> Executed {
    let body = error_body(error, json!({}));
    Executed { status: 400, body, settles_in: Duration::ZERO }
}
