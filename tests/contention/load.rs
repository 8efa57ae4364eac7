//! The load: posters in one conversation or with one author, and the outcome of their posts.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use local::template::{TEMPLATE, Template};
use shared::table::Backoff;
use shared::{
    Caller, ConversationId, Error, NewConversation, NewMessage, NewProfile, ProfileId, Table,
};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use tests::dynamodb::capacity::{Capacity, Used};

/// The time before the measurement.
const WARM_UP: Duration = Duration::from_secs(5);
/// The length of the measurement, in virtual time.
const MEASURED: Duration = Duration::from_secs(120);
/// The time of a function for one request: as in `template.yaml`, less the margin.
const ALLOWED: Duration = Duration::from_secs(8);
/// The value of `Retry-After`.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The arrival of posts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Posters {
    /// Closed loop: each of these posters posts again when its previous request is answered.
    Closed(usize),
    /// Open loop: this number per second, at random times.
    Open(f64),
}

/// The item that all posts write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Contended {
    /// One conversation. Each poster has its own author.
    Conversation,
    /// One author. Each poster has its own conversation.
    Author,
}

/// A load to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) posters: Posters,
    pub(crate) contended: Contended,
    pub(crate) backoff: Backoff,
    pub(crate) seed: u64,
}

/// The measurement.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The latencies of the stored posts, shortest first.
    latencies: Vec<Duration>,
    refused: usize,
    used: Used,
    /// The number of stored posts of each poster.
    posts: Vec<usize>,
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
        let dynamodb = Capacity::new(self.seed);
        let table = dynamodb.table().with_backoff(self.backoff);
        table
            .create(&Template::parse(TEMPLATE).expect("the template").table)
            .await
            .expect("a table");
        // In an open loop nearly every post comes from another poster.
        let posters = if let Posters::Closed(posters) = self.posters { posters } else { 100 };
        let mut pairs = Vec::new();
        for _ in 0..posters {
            pairs.push(match (pairs.first(), self.contended) {
                (Some(&(_, conversation)), Contended::Conversation) => {
                    (author(&table).await, conversation)
                }
                (Some(&(author, _)), Contended::Author) => {
                    (author, conversation(&table, author).await)
                }
                (None, _) => {
                    let author = author(&table).await;
                    (author, conversation(&table, author).await)
                }
            });
        }
        let start = Instant::now() + WARM_UP;
        let outcome =
            Rc::new(RefCell::new(Outcome { posts: vec![0; posters], ..Outcome::default() }));
        let poster = |number: usize| Poster {
            table: table.clone(),
            number,
            pair: pairs[number],
            start,
            outcome: outcome.clone(),
        };
        match self.posters {
            Posters::Closed(posters) => {
                for number in 0..posters {
                    spawn_local(poster(number).post_in_a_loop());
                }
            }
            Posters::Open(rate) => {
                let (all, mut random) = (
                    (0..posters).map(poster).collect::<Vec<_>>(),
                    fastrand::Rng::with_seed(self.seed),
                );
                spawn_local(async move {
                    loop {
                        sleep(Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate)).await;
                        let poster = random.choice(&all).expect("a poster").clone();
                        spawn_local(async move { poster.post().await });
                    }
                });
            }
        }
        sleep_until(start).await;
        let before = dynamodb.used();
        sleep(MEASURED).await;
        let used = dynamodb.used();
        let mut outcome = outcome.take();
        outcome.used.transactions = used.transactions - before.transactions;
        outcome.used.units = used.units - before.units;
        outcome.latencies.sort_unstable();
        outcome
    }
}

async fn author(table: &Table) -> ProfileId {
    let input: NewProfile = NewProfile {
        first_name: "Ada".to_owned().try_into().expect("a name"),
        last_name: String::new().try_into().expect("a name"),
        job_title: String::new().try_into().expect("a title"),
    };
    let created = table
        .for_request(Instant::now() + ALLOWED)
        .create_profile(&Caller::Anyone, input, None)
        .await;
    created.expect("an author").resource.id
}

async fn conversation(table: &Table, author_id: ProfileId) -> ConversationId {
    let input = NewConversation {
        subject: "Contention".to_owned().try_into().expect("a subject"),
        author_id,
    };
    let created = table
        .for_request(Instant::now() + ALLOWED)
        .create_conversation(&Caller::Anyone, input, None)
        .await;
    created.expect("a conversation").resource.id
}

#[derive(Clone)]
struct Poster {
    table: Table,
    number: usize,
    pair: (ProfileId, ConversationId),
    start: Instant,
    outcome: Rc<RefCell<Outcome>>,
}

impl Poster {
    async fn post_in_a_loop(self) {
        loop {
            if !self.post().await {
                sleep(RETRY_AFTER).await;
            }
        }
    }

    /// Posts once, as the function would. Returns whether the post was stored.
    async fn post(&self) -> bool {
        let (author_id, conversation_id) = self.pair;
        let text = "Contention".to_owned().try_into().expect("a text");
        let input = NewMessage { author_id, text, metadata: Default::default() };
        let begun = Instant::now();
        let table = self.table.for_request(begun + ALLOWED);
        let answer = table.create_message(&Caller::Anyone, conversation_id, input, None).await;
        let stored = match answer {
            Ok(_) => true,
            // An unknown outcome is rare: an attempt took longer than the shortest time left for
            // it.
            Err(Error::Unavailable(_) | Error::OutcomeUnknown(_)) => false,
            Err(error) => panic!("{error}"),
        };
        if begun >= self.start {
            let mut outcome = self.outcome.borrow_mut();
            if stored {
                outcome.latencies.push(begun.elapsed());
                outcome.posts[self.number] += 1;
            } else {
                outcome.refused += 1;
            }
        }
        stored
    }
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / MEASURED.as_secs_f64()
    }

    /// Returns the quantile of the latency, in seconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(index.min(self.latencies.len() - 1)).map_or(0.0, Duration::as_secs_f64)
    }

    pub(crate) fn transactions(&self) -> f64 {
        f64::from(self.used.transactions) / self.latencies.len() as f64
    }
}

impl fmt::Display for Posters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(posters) => write!(f, "{posters} concurrent"),
            Self::Open(rate) => write!(f, "{rate} posts/s offered"),
        }
    }
}

impl fmt::Display for Contended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conversation => "into one conversation",
            Self::Author => "by one author",
        })
    }
}

/// The columns of a Markdown table.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.latencies.len();
        let refused = 100.0 * self.refused as f64 / (answered + self.refused) as f64;
        write!(
            f,
            "{:.1} | {:.2} s | {:.2} s | {:.2} s | {refused:.2} % | {:.1} | {:.1} | {}–{}",
            self.rate(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
            self.transactions(),
            self.used.units / answered as f64,
            self.posts.iter().min().expect("a poster"),
            self.posts.iter().max().expect("a poster"),
        )
    }
}
