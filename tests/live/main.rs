//! Live delivery, measured: the development server in its own process, and clients that follow one
//! conversation.
//!
//! `cargo run --release -p tests --example live` prints the tables of docs/PERFORMANCE.md.

#[allow(dead_code, reason = "it has no engine of its own")]
#[path = "../load/server.rs"]
mod server;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use futures_util::future::join_all;
use server::Server;
use tests::client::Api;
use tests::service::json;
use tests::socket::Socket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// The longest time from a post to its frame, at the 99th percentile, with every number of
/// subscribers.
const TARGET: Duration = Duration::from_millis(500);
/// Enough authors that none meets its rate limit.
const AUTHORS: usize = 10;

/// Measures live delivery on the development server.
#[derive(Debug, Parser)]
struct Flags {
    /// Numbers of subscribers.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1_000])]
    subscribers: Vec<usize>,
    /// Posts to measure for each number of subscribers.
    #[arg(long, default_value_t = 300)]
    posts: usize,
    /// Posts per second.
    #[arg(long, default_value_t = 10)]
    rate: u64,
    /// Posts of the run that measures how the time of a post grows.
    #[arg(long, default_value_t = 100_000)]
    growth: usize,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Runs the server; for the processes that this program starts.
    #[command(hide = true)]
    Serve(local::server::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(Role::Serve(options)) = &flags.role {
        local::server::run(options, std::future::pending()).await.expect("a server");
        return ExitCode::SUCCESS;
    }
    println!(
        "| subscribers | p50 | p99 | frames/s at {} posts/s | frames/s at full speed | posts/s at \
         full speed | memory per connection |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        flags.rate
    );
    let mut slowest = Duration::ZERO;
    for subscribers in &flags.subscribers {
        slowest = slowest.max(measure(&flags, *subscribers).await);
    }
    measure_growth(flags.growth).await;
    if slowest <= TARGET { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A server, its authors, and a conversation of each. Clients follow the first.
struct Stage {
    server: Server,
    api: Api,
    authors: Vec<String>,
    conversations: Vec<String>,
}

impl Stage {
    async fn start() -> Self {
        let server = Server::start(&["--in-memory".as_ref()]);
        let api = Api::connect(&server.api);
        let (mut authors, mut conversations) = (Vec::new(), Vec::new());
        for number in 0..AUTHORS {
            authors.push(api.profile(&format!("Author {number}")).await);
            conversations.push(api.conversation(&authors[number]).await);
        }
        Self { server, api, authors, conversations }
    }

    /// Opens connections that follow the first conversation.
    async fn follow(&self, subscribers: usize) -> Vec<Socket> {
        let mut sockets = Vec::new();
        for _ in 0..subscribers {
            let mut socket = Socket::open(&self.api).await;
            socket.subscribe(&self.conversations[0], "0.0").await;
            sockets.push(socket);
        }
        sockets
    }

    /// Posts a message whose text is this number into one of the conversations. Repeats the post
    /// while the conversation is busy.
    async fn post(&self, number: usize, conversation: usize) {
        let path = format!("/conversations/{}/messages", self.conversations[conversation]);
        let author = &self.authors[number % AUTHORS];
        let body = json!({ "author_id": author, "text": number.to_string() });
        loop {
            let posted = self.api.post(&path, &body).await;
            if posted.status.as_u16() != 429 {
                return drop(posted.expect(201));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Posts until `posts` are made, one after the other in each of 16 clients, into this many
    /// conversations.
    async fn post_at_full_speed(self: &Arc<Self>, posts: usize, conversations: usize) {
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..16 {
            let (stage, next) = (self.clone(), next.clone());
            clients.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= posts {
                        return;
                    }
                    stage.post(number, number % conversations).await;
                }
            });
        }
        clients.join_all().await;
    }
}

/// A frame that arrived: when, and the numbers in the texts of its messages.
type Arrival = (Instant, Vec<usize>);

/// Reports the frames of a connection, until the receiver is dropped.
async fn report(mut socket: Socket, arrivals: UnboundedSender<Arrival>) {
    loop {
        let Ok(frame) = socket.receive().await else { return };
        let now = Instant::now();
        let texts = frame["results"].as_array().into_iter().flatten();
        // The text of a congratulation is no number.
        let numbers = texts.filter_map(|message| message["text"].as_str()?.parse().ok());
        if arrivals.send((now, numbers.collect())).is_err() {
            return;
        }
    }
}

/// Measures one number of subscribers, and prints a row. Returns the 99th percentile.
async fn measure(flags: &Flags, subscribers: usize) -> Duration {
    let stage = Arc::new(Stage::start().await);
    let before = stage.server.memory();
    let sockets = stage.follow(subscribers).await;
    let memory = (stage.server.memory() - before) * 1024 / subscribers as u64;
    let (sender, mut arrivals) = unbounded_channel();
    for socket in sockets {
        tokio::spawn(report(socket, sender.clone()));
    }
    let sent: Arc<Vec<OnceLock<Instant>>> =
        Arc::new((0..flags.posts).map(|_| OnceLock::new()).collect());
    let posting = {
        let (stage, sent) = (stage.clone(), sent.clone());
        let mut times = interval(Duration::from_secs(1) / flags.rate as u32);
        times.set_missed_tick_behavior(MissedTickBehavior::Burst);
        async move {
            let mut posts = Vec::new();
            for number in 0..sent.len() {
                times.tick().await;
                sent[number].set(Instant::now()).expect("the first time");
                let stage = stage.clone();
                posts.push(tokio::spawn(async move { stage.post(number, 0).await }));
            }
            join_all(posts).await;
        }
    };
    let started = Instant::now();
    let posting = tokio::spawn(posting);
    let (mut latencies, mut frames) = (Vec::new(), 0);
    while latencies.len() < flags.posts * subscribers {
        let (at, numbers) = arrivals.recv().await.expect("a frame");
        frames += 1;
        latencies.extend(numbers.iter().map(|number| at - *sent[*number].get().expect("sent")));
    }
    let rate = frames as f64 / started.elapsed().as_secs_f64();
    posting.await.expect("no panic");
    latencies.sort();
    let at = |share: usize| latencies[latencies.len() * share / 100];
    let (full, posts) = full_speed(&stage, &mut arrivals).await;
    println!(
        "| {subscribers} | {} ms | {} ms | {rate:.0} | {full:.0} | {posts:.0} | {memory} KiB |",
        at(50).as_millis(),
        at(99).as_millis(),
    );
    at(99)
}

/// Posts at full speed. Returns the frames and posts per second.
async fn full_speed(stage: &Arc<Stage>, arrivals: &mut UnboundedReceiver<Arrival>) -> (f64, f64) {
    let (posts, started, mut frames) = (2_000, Instant::now(), 0);
    let mut posting = Box::pin(stage.post_at_full_speed(posts, 1));
    loop {
        tokio::select! {
            () = &mut posting => break,
            _ = arrivals.recv() => frames += 1,
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    (f64::from(frames) / seconds, posts as f64 / seconds)
}

/// Posts many messages while a client follows, and prints the time of a tenth of them each.
async fn measure_growth(posts: usize) {
    let stage = Arc::new(Stage::start().await);
    let sockets = stage.follow(1).await;
    let (sender, mut arrivals) = unbounded_channel();
    for socket in sockets {
        tokio::spawn(report(socket, sender.clone()));
    }
    tokio::spawn(async move { while arrivals.recv().await.is_some() {} });
    println!("\n| posts | ms per post | server |\n| ---: | ---: | ---: |");
    for tenth in 1..=10 {
        let (posts, started) = (posts / 10, Instant::now());
        stage.post_at_full_speed(posts, AUTHORS).await;
        let time = started.elapsed().as_secs_f64() * 1_000.0 / posts as f64;
        println!("| {} | {time:.2} | {} MiB |", posts * tenth, stage.server.memory());
    }
}
