//! The load: clients that send requests in virtual time, and the outcome.

use std::rc::Rc;
use std::time::Duration;

use shared::table::Usage;
use shared::{Caller, Error, IfMatch, MessagePatch, NewMessage};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use crate::former::Former;
use crate::outcome::{Outcome, Record};
use crate::world::{Target, World};

/// The time of a function for one request: as in `template.yaml`, less the margin.
const ALLOWED: Duration = Duration::from_secs(8);
/// `Retry-After` of 503 and of a busy conversation.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The clients of a closed loop start within this time, at random.
const START_WITHIN: Duration = Duration::from_millis(200);

/// The arrival of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrivals {
    /// Open loop: this number per second, at random times, whether or not earlier ones are answered.
    Open(f64),
    /// Closed loop: each of these clients sends again when its previous request is answered, or after
    /// `Retry-After`.
    Closed(usize),
}

/// The kind of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Posts into one conversation, each by another author.
    OneConversation,
    /// Posts by one author, each into another conversation.
    OneAuthor {
        /// The rate limit; 0 is unlimited.
        posts_per_second: u32,
    },
    /// Edits of the messages of one conversation.
    Edits,
}

/// Which code serves the requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Algorithm {
    /// The service's own.
    Current,
    /// See [`crate::former`].
    Former,
}

/// A load to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) work: Work,
    pub(crate) arrivals: Arrivals,
    pub(crate) algorithm: Algorithm,
    /// The virtual time before the measurement.
    pub(crate) warm_up: Duration,
    /// The length of the measurement, in virtual time.
    pub(crate) measured: Duration,
    pub(crate) seed: u64,
}

/// The response to a request, and what the request used.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) usage: Usage,
}

/// The response to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Stored,
    /// 429.
    TooMany {
        retry_after: Duration,
    },
    /// 503.
    Unavailable,
    /// 500 `outcome_unknown`.
    Unknown,
}

impl Scenario {
    /// Measures. The same seed gives the same outcome.
    pub(crate) fn run(&self) -> Outcome {
        fastrand::seed(self.seed);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        LocalSet::new().block_on(&runtime, self.measure())
    }

    async fn measure(&self) -> Outcome {
        let targets = match self.arrivals {
            Arrivals::Closed(clients) => clients,
            // No target is used again before its last request is answered.
            Arrivals::Open(rate) => (rate * (ALLOWED.as_secs_f64() + 1.0)) as usize,
        };
        let world = World::new(self, targets).await;
        let start = Instant::now() + self.warm_up;
        let end = start + self.measured;
        let dynamodb = world.dynamodb.clone();
        let record = Record::new(start..end, targets);
        let clients = Rc::new(Clients { world, algorithm: self.algorithm, record });
        match self.arrivals {
            Arrivals::Closed(_) => {
                for number in 0..targets {
                    let start = START_WITHIN.mul_f64(fastrand::f64());
                    spawn_local(clients.clone().send_in_a_loop(number, start));
                }
            }
            Arrivals::Open(rate) => {
                spawn_local(clients.clone().send_at_random(rate, self.seed));
            }
        }
        sleep_until(start).await;
        let before = dynamodb.used();
        sleep_until(end).await;
        clients.record.finish(before, dynamodb.used())
    }
}

/// The clients of one measurement.
struct Clients {
    world: World,
    algorithm: Algorithm,
    record: Record,
}

impl Clients {
    async fn send_in_a_loop(self: Rc<Self>, number: usize, start: Duration) {
        sleep(start).await;
        loop {
            match self.send(number).await {
                Verdict::Stored => {}
                Verdict::TooMany { retry_after } => sleep(retry_after).await,
                Verdict::Unavailable | Verdict::Unknown => sleep(RETRY_AFTER).await,
            }
        }
    }

    async fn send_at_random(self: Rc<Self>, rate: f64, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut next = Instant::now();
        for number in (0..self.world.targets.len()).cycle() {
            // Poisson arrivals.
            next += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
            sleep_until(next).await;
            let clients = self.clone();
            spawn_local(async move { clients.send(number).await });
        }
    }

    /// Sends one request and records its response.
    async fn send(&self, number: usize) -> Verdict {
        let begun = Instant::now();
        let target = self.world.targets[number];
        let answer = match self.algorithm {
            Algorithm::Current => self.call_service(target, begun + ALLOWED).await,
            Algorithm::Former => self.call_former(target, begun + ALLOWED).await,
        };
        self.record.add(number, begun, &answer);
        answer.verdict
    }

    async fn call_service(&self, target: Target, deadline: Instant) -> Answer {
        let table = self.world.table.for_request(deadline);
        let Target { author, conversation, .. } = target;
        let result = match self.world.work {
            Work::Edits => {
                let text = "Edited".to_owned().try_into().expect("a text");
                let patch = MessagePatch { text: Some(text), metadata: None };
                let (caller, any) = (&Caller::Anyone, &IfMatch::Any);
                table.update_message(caller, conversation, target.seq, patch, any).await.map(drop)
            }
            Work::OneConversation | Work::OneAuthor { .. } => {
                let text = "Contention".to_owned().try_into().expect("a text");
                let message = NewMessage { author_id: author, text, metadata: Default::default() };
                table.create_message(&Caller::Anyone, conversation, message, None).await.map(drop)
            }
        };
        let verdict = match result {
            Ok(()) => Verdict::Stored,
            Err(Error::RateLimited { retry_after, .. }) => {
                Verdict::TooMany { retry_after: Duration::from_secs(retry_after.into()) }
            }
            Err(Error::ConversationBusy) => Verdict::TooMany { retry_after: RETRY_AFTER },
            Err(Error::Unavailable(_)) => Verdict::Unavailable,
            Err(Error::OutcomeUnknown(_)) => Verdict::Unknown,
            Err(error) => panic!("{}", error.chain()),
        };
        Answer { verdict, usage: table.usage() }
    }

    async fn call_former(&self, target: Target, deadline: Instant) -> Answer {
        let dynamodb = &self.world.dynamodb;
        let former = Former { dynamodb, deadline, usage: Usage::default() };
        match self.world.work {
            Work::Edits => former.edit(target.message_key()).await,
            _ => former.post(target.author, target.conversation).await,
        }
    }
}
