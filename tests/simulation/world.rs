//! The service under test, its clocks, and what its clients remember.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use functions::http::Auth;
use shared::{Table, Time};
use tests::dynamodb::invocations::{Crash, Invocation};
use tests::dynamodb::seeded::Seeded;
use tests::dynamodb::stream::Record;
use tests::guarantees::{Change, Post};
use tokio::time::{Instant, sleep};

use crate::attempts::Attempt;
use crate::followers::Followed;
use crate::live::sockets::Sockets;
use crate::looks::{self, Look};
use crate::observed::Observed;
use crate::pollers::Polled;
use crate::requests::{Answer, Ask, USERS};
use crate::standing::{Candidate, MemberRequest};
use crate::weather::Weather;

/// The most transactions that a post or a change sends.
const MAX_TRANSACTIONS: u32 = 8;
/// The operations that send a limited number of transactions.
const LIMITED: [&str; 6] = [
    "create-message",
    "update-message",
    "delete-message",
    "update-conversation",
    "put-member",
    "delete-member",
];
/// The operations that store everything or, if they are refused, nothing.
const WHOLE: [&str; 7] = [
    "create-profile",
    "create-conversation",
    "update-profile",
    "delete-profile",
    "put-member",
    "delete-member",
    "mark-read",
];
/// The clocks of the service run ahead of the start of the simulation by at least this.
const HEAD_START: Duration = Duration::from_secs(3600);

/// The time for an invocation of a function of live delivery.
const INVOCATION: Duration = Duration::from_secs(8);

/// Returns the time at which simulations start.
fn start_time() -> Time {
    Time::try_from("2026-01-01T00:00:00.000Z".to_owned()).expect("RFC 3339")
}

/// The service and its clients.
pub(crate) struct World {
    pub(crate) table: Table,
    pub(crate) dynamodb: Arc<Seeded>,
    pub(crate) sockets: Sockets,
    pub(crate) weather: Weather,
    pub(crate) authors: Vec<String>,
    /// The user who owns each author.
    pub(crate) owners: Vec<usize>,
    pub(crate) conversations: Vec<String>,
    pub(crate) origins: Vec<Origin>,
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

/// How a conversation was created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) private: bool,
    /// The author who created it.
    pub(crate) author: usize,
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
    /// Clients with a live connection.
    pub(crate) listened: Vec<Followed>,
    pub(crate) deleted_conversations: Vec<usize>,
    /// When the deletion of a conversation was confirmed.
    pub(crate) ended_conversations: HashMap<usize, Instant>,
    pub(crate) deleted_profiles: Vec<usize>,
    /// The profiles that a client tried to delete, and when that began.
    pub(crate) ended_profiles: HashMap<String, Instant>,
    /// All profiles that can be members.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) member_requests: Vec<MemberRequest>,
    /// Requests of users for private conversations.
    pub(crate) looks: Vec<Look>,
    /// Responses to users who could not see the conversation.
    pub(crate) hidden: usize,
    /// When the first request that writes something began, by what identifies it in responses.
    pub(crate) begun: BTreeMap<String, Instant>,
    /// Invocations that answered that nothing is stored.
    refusals: Vec<(&'static str, u16, Arc<Invocation>)>,
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
        mut rng: Rng,
        haste: u32,
    ) -> Self {
        Self {
            table,
            dynamodb,
            sockets: Sockets::new(rng.fork()),
            weather,
            authors: Vec::new(),
            owners: Vec::new(),
            conversations: Vec::new(),
            origins: Vec::new(),
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
        self.sockets.storm(self.weather.frames);
        self.crashing.store(self.weather.crashes > 0, Ordering::Relaxed);
    }

    /// Ends the faults and the crashes.
    pub(crate) fn calm(&self) {
        self.dynamodb.calm();
        self.sockets.storm(0);
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

    /// Remembers that a client begins to delete a profile.
    pub(crate) fn begin_deletion(&self, profile: &str) {
        self.known().ended_profiles.insert(profile.to_owned(), Instant::now());
    }

    /// Returns whether a client tried to delete a conversation.
    pub(crate) fn is_deleted(&self, conversation: usize) -> bool {
        self.known().deleted_conversations.contains(&conversation)
    }

    /// Returns the user who owns a conversation.
    pub(crate) fn owner(&self, conversation: usize) -> usize {
        self.owners[self.origins[conversation].author]
    }

    /// Returns whether a caller may not be allowed to see a conversation, or is only at times.
    pub(crate) fn may_hide(&self, conversation: usize, user: Option<usize>) -> bool {
        self.origins[conversation].private
            && user.is_some_and(|user| user != self.owner(conversation))
    }

    /// Returns whether a conversation that is not deleted may be hidden from the caller of a
    /// request.
    pub(crate) fn is_hidden(&self, ask: &Ask) -> bool {
        let id = ask.path.iter().find(|(name, _)| *name == "conversation_id");
        let conversation =
            id.and_then(|(_, id)| self.conversations.iter().position(|one| one == id));
        conversation.is_some_and(|conversation| {
            self.may_hide(conversation, ask.user) && !self.is_deleted(conversation)
        })
    }

    /// Draws a caller: an administrator, or a user.
    pub(crate) fn draw_user(&self, rng: &mut Rng) -> Option<usize> {
        rng.bool().then(|| rng.usize(..USERS))
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
        let start = start_time();
        let ahead = HEAD_START + self.weather.skew(function, &mut self.rng());
        let (started, haste) = (self.started, self.haste);
        self.table.clone().with_clock(move || start.after(ahead + started.elapsed() * haste))
    }

    /// Returns the time by the slowest clock of the service.
    pub(crate) fn time(&self) -> Time {
        start_time().after(HEAD_START + self.started.elapsed() * self.haste)
    }

    /// Describes a record of the stream without ids, which differ from run to run.
    pub(crate) fn describe(&self, record: &Record) -> String {
        let id = record.partition().trim_start_matches("CONVERSATION#");
        let conversation = self.conversations.iter().position(|known| known == id);
        let what = record.describe();
        let what = what.split_once("MEMBER#").map_or(&*what, |(event, _)| event);
        format!("{what} in {conversation:?}")
    }

    /// Invokes a function of live delivery. Returns `None` if it dies.
    pub(crate) async fn invoke<F: Future>(
        &self,
        function: &str,
        work: impl FnOnce(Table) -> F,
    ) -> Option<F::Output> {
        let table = self.table_of_invocation(function).for_request(Instant::now() + INVOCATION);
        Invocation::new(function, self.draw_crash(function)).run(work(table)).await
    }

    fn rng(&self) -> MutexGuard<'_, Rng> {
        self.rng.lock().expect("no panic")
    }

    /// Calls the function of an operation, as API Gateway would. The function may die.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        let crash = self.draw_crash(ask.function);
        self.ask_until(ask, crash).await
    }

    /// Calls the function of an operation, which dies at this point.
    pub(crate) async fn ask_until(&self, ask: Ask, crash: Crash) -> Answer {
        let (function, started) = (ask.function, Instant::now());
        for mark in looks::marks(&ask.body) {
            self.known().begun.entry(mark.to_owned()).or_insert(started);
        }
        let table = self.table_of_invocation(function);
        let invocation = Invocation::new(function, crash);
        let work = local::invoke(function, &table, Auth::Jwt, ask.clone().into_request());
        let answer = match invocation.run(work).await {
            Some(response) => Answer::of(response.expect("a function")),
            None => Answer::died(),
        };
        self.dynamodb.note(&format!("{function} {} {}", answer.status, answer.code));
        let is_post = function == "create-message";
        self.crashed_posts.fetch_add(usize::from(is_post && answer.died), Ordering::Relaxed);
        self.check_answer(function, &answer, &invocation);
        let looks = looks::looks(self, &ask, &answer, started, &invocation);
        let mut known = self.known();
        known.looks.extend(looks);
        if WHOLE.contains(&function) && matches!(answer.status, 400..500 | 503) {
            known.refusals.push((function, answer.status, invocation));
        }
        if matches!(answer.status, 200 | 201) {
            let violations = known.observed.record(started, &answer.body);
            known.violations.extend(violations);
        }
        drop(known);
        answer
    }

    /// Returns the requests that stored something although their response says that they did not.
    pub(crate) fn refusal_violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for (function, status, invocation) in &self.known().refusals {
            if invocation.stored() > 0 {
                violations.push(format!("{function} answered {status}, but stored something"));
            }
        }
        violations
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
        if LIMITED.contains(&function) && invocation.transactions() > MAX_TRANSACTIONS {
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
