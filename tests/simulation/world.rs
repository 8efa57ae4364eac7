//! The service under test, its clocks, and what its clients remember.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use functions::http::Auth;
use shared::{Table, Time};
use tests::dynamodb::invocations::{Crash, Invocation};
use tests::dynamodb::seeded::Seeded;
use tests::guarantees::{Change, Post};
use tokio::time::{Instant, sleep};

use crate::attempts::Attempt;
use crate::followers::Followed;
use crate::observed::Observed;
use crate::pollers::Polled;
use crate::requests::{Answer, Ask};
use crate::weather::Weather;

/// The most transactions that a post or a change sends.
const MAX_TRANSACTIONS: u32 = 8;
/// The clocks of the service run ahead of the start of the simulation by at least this.
const HEAD_START: Duration = Duration::from_secs(3600);

/// The service and its clients.
pub(crate) struct World {
    pub(crate) table: Table,
    pub(crate) dynamodb: Arc<Seeded>,
    pub(crate) weather: Weather,
    pub(crate) authors: Vec<String>,
    pub(crate) conversations: Vec<String>,
    /// Pauses are divided by this, for runs in real time.
    pub(crate) haste: u32,
    /// Posts whose function died.
    pub(crate) crashed_posts: AtomicUsize,
    started: Instant,
    /// Draws the clock of each invocation, and whether it dies.
    rng: Mutex<Rng>,
    /// True while functions die.
    crashing: AtomicBool,
    /// True when the writers have finished.
    finished: AtomicBool,
    /// True when the readers stop.
    done: AtomicBool,
    known: Mutex<Known>,
}

/// The memory of the clients.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) posts: Vec<Post>,
    pub(crate) edits: Vec<Change>,
    pub(crate) deletions: Vec<Change>,
    /// Requests to change messages, conversations and profiles.
    pub(crate) attempts: Vec<Attempt>,
    /// The contents that the responses showed.
    pub(crate) observed: Observed,
    /// The messages that clients know, by conversation and `seq`, with the time of the response.
    pub(crate) stored: Vec<(usize, u64, Instant)>,
    pub(crate) polled: Vec<Polled>,
    pub(crate) followed: Vec<Followed>,
    pub(crate) deleted_conversations: Vec<usize>,
    pub(crate) deleted_profiles: Vec<usize>,
    pub(crate) creations: Vec<Creation>,
    /// Responses that contradict each other.
    pub(crate) violations: Vec<String>,
    /// Conversations that were removed from the table.
    pub(crate) purged: usize,
}

/// A profile or conversation that a client created.
pub(crate) struct Creation {
    pub(crate) id: String,
    /// Its first name or subject.
    pub(crate) name: String,
    pub(crate) keyed: bool,
    /// The number of undecided requests before the first 201.
    pub(crate) undecided: usize,
    /// `None` if no client tried to delete it; otherwise whether the response confirmed it.
    pub(crate) deleted: Option<bool>,
}

impl World {
    pub(crate) fn new(
        table: Table,
        dynamodb: Arc<Seeded>,
        weather: Weather,
        rng: Rng,
        haste: u32,
    ) -> Self {
        Self {
            table,
            dynamodb,
            weather,
            authors: Vec::new(),
            conversations: Vec::new(),
            haste,
            crashed_posts: AtomicUsize::new(0),
            started: Instant::now(),
            rng: Mutex::new(rng),
            crashing: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            done: AtomicBool::new(false),
            known: Mutex::default(),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic")
    }

    pub(crate) fn violation(&self, what: String) {
        self.known().violations.push(what);
    }

    /// Starts the faults and the crashes.
    pub(crate) fn storm(&self) {
        self.dynamodb.storm(self.weather.trouble);
        self.crashing.store(self.weather.crashes > 0, Ordering::Relaxed);
    }

    /// Ends the faults and the crashes.
    pub(crate) fn calm(&self) {
        self.dynamodb.calm();
        self.crashing.store(false, Ordering::Relaxed);
    }

    /// Tells the readers that the writers have finished.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    /// Tells the readers that nothing follows any more.
    pub(crate) fn end(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// Remembers that a client tried to delete a resource.
    pub(crate) fn mark_deleted(&self, id: &str, confirmed: bool) {
        let mut known = self.known();
        let creation = known.creations.iter_mut().find(|creation| creation.id == id);
        creation.expect("a creation").deleted = Some(confirmed);
    }

    /// Returns whether a client tried to delete a conversation.
    pub(crate) fn is_deleted(&self, conversation: usize) -> bool {
        self.known().deleted_conversations.contains(&conversation)
    }

    /// Returns the path parameter of a conversation.
    pub(crate) fn path(&self, conversation: usize) -> (&'static str, String) {
        ("conversation_id", self.conversations[conversation].clone())
    }

    /// Pauses for a random time of up to `longest` milliseconds.
    pub(crate) async fn pause(&self, rng: &mut Rng, longest: u64) {
        sleep(Duration::from_micros(rng.u64(..=longest * 1000)) / self.haste).await;
    }

    /// Pauses between two polls: longer when nothing is posted any more.
    pub(crate) async fn poll_pause(&self, rng: &mut Rng) {
        let longest = if self.finished.load(Ordering::Relaxed) { 8_000 } else { 500 };
        self.pause(rng, longest).await;
    }

    /// Returns the table as one invocation sees it: with a clock of its own.
    ///
    /// The clock follows the runtime's time, which is virtual in a simulation.
    pub(crate) fn table_of_invocation(&self, function: &str) -> Table {
        let start = Time::try_from("2026-01-01T00:00:00.000Z".to_owned()).expect("RFC 3339");
        let ahead = HEAD_START + self.weather.skew(function, &mut self.rng());
        let (started, haste) = (self.started, self.haste);
        self.table.clone().with_clock(move || start.after(ahead + started.elapsed() * haste))
    }

    fn rng(&self) -> MutexGuard<'_, Rng> {
        self.rng.lock().expect("no panic")
    }

    /// Calls the function of an operation, as API Gateway would. The function may die.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Answer {
        let crash = self.draw_crash(ask.function);
        self.ask_until(ask, crash).await
    }

    /// Calls the function of an operation, which dies at this point.
    pub(crate) async fn ask_until(&self, ask: Ask<'_>, crash: Crash) -> Answer {
        let (function, started) = (ask.function, Instant::now());
        let table = self.table_of_invocation(function);
        let invocation = Invocation::new(function, crash);
        let work = local::invoke(function, &table, Auth::Open, ask.into_request());
        let answer = match invocation.run(work).await {
            Some(response) => Answer::of(response.expect("a function")),
            None => Answer::died(),
        };
        self.dynamodb.note(&format!("{function} {} {}", answer.status, answer.code));
        let is_post = function == "create-message";
        self.crashed_posts.fetch_add(usize::from(is_post && answer.died), Ordering::Relaxed);
        self.check_answer(function, &answer, &invocation);
        if matches!(answer.status, 200 | 201) {
            let mut known = self.known();
            let violations = known.observed.record(started, &answer.body);
            known.violations.extend(violations);
        }
        answer
    }

    /// Checks what holds for every response.
    fn check_answer(&self, function: &str, answer: &Answer, invocation: &Invocation) {
        let Answer { status, code, retry_after, .. } = answer;
        let odd = match status {
            500 => !answer.died && code != "outcome_unknown",
            503 => *retry_after != Some(1),
            429 => {
                !matches!(code.as_str(), "rate_limited" | "conversation_busy")
                    || retry_after.is_none()
                    || invocation.writes() > 0
            }
            _ => false,
        };
        if odd {
            let writes = invocation.writes();
            self.violation(format!("{function}: {answer:?} after {writes} writes"));
        }
        let limited = ["create-message", "update-message", "delete-message", "update-conversation"];
        if limited.contains(&function) && invocation.transactions() > MAX_TRANSACTIONS {
            let transactions = invocation.transactions();
            self.violation(format!("{function} sent {transactions} transactions"));
        }
    }

    /// Calls the scheduled function that purges, once. Returns whether it succeeded.
    pub(crate) async fn purge(&self, time: Duration, crash: Crash) -> bool {
        let table = self.table_of_invocation("purge-deleted").for_request(Instant::now() + time);
        let invocation = Invocation::new("purge-deleted", crash);
        let result = invocation.run(functions::jobs::purge_deleted(table)).await;
        let succeeded = matches!(result, Some(Ok(())));
        self.dynamodb.note(&format!("purge-deleted {succeeded}"));
        succeeded
    }

    /// Draws the point at which an invocation dies.
    pub(crate) fn draw_crash(&self, function: &str) -> Crash {
        match self.crashing.load(Ordering::Relaxed) {
            true => self.weather.crash(function, &mut self.rng(), self.haste),
            false => Crash::Never,
        }
    }
}
