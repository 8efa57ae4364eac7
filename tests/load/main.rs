//! Load and restarts: posts at full speed to the development server in its own process, then checks
//! the guarantees.
//!
//! `cargo run --release -p tests --example load -- --posts 100000`. With `--kills 5` it kills the
//! server five times. With `AWS_ENDPOINT_URL_DYNAMODB` the servers use that engine instead of the
//! embedded one, as with `tests/dynamodb-local`.

mod check;
mod clients;
mod server;

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use clients::Crowd;
use server::Server;

/// Posts to the development server at full speed and checks the guarantees.
#[derive(Debug, Parser)]
struct Flags {
    /// Messages to post.
    #[arg(long, default_value_t = 100_000)]
    posts: usize,
    /// Concurrent clients.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Times to kill the server (SIGKILL) and restart it.
    #[arg(long, default_value_t = 0)]
    kills: usize,
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
    match &flags.role {
        Some(Role::Serve(options)) => {
            local::server::run(options, std::future::pending()).await.expect("a server")
        }
        None if flags.kills > 0 => run_with_kills(&flags).await,
        None => run_at_full_speed(&flags).await,
    }
    ExitCode::SUCCESS
}

/// The engine that the servers use.
enum Engine {
    /// The embedded one, with a database in this folder.
    Embedded(TempDir),
    /// Another one, at this address.
    Other(String),
}

impl Engine {
    fn new() -> Self {
        match env::var("AWS_ENDPOINT_URL_DYNAMODB") {
            Ok(url) => Self::Other(url),
            Err(_) => Self::Embedded(tempfile::tempdir().expect("a folder")),
        }
    }

    fn file(folder: &TempDir) -> PathBuf {
        folder.path().join("chat.db")
    }

    /// Starts a server on this engine.
    fn serve(&self) -> Server {
        match self {
            Self::Embedded(folder) => {
                Server::start(&["--database".as_ref(), Self::file(folder).as_ref()])
            }
            Self::Other(url) => Server::start(&["--dynamodb-endpoint".as_ref(), url.as_ref()]),
        }
    }

    /// Starts the engine alone, in a process of its own, so that its memory is measured separately.
    fn serve_alone(&self) -> Option<Server> {
        let Self::Embedded(folder) = self else { return None };
        let file = Self::file(folder);
        let port: [&OsStr; 2] = ["--dynamodb-port".as_ref(), "0".as_ref()];
        Some(Server::start(&[port[0], port[1], "--database".as_ref(), file.as_ref()]))
    }

    /// Returns the size of the database file in MiB; 0 for another engine.
    fn size(&self) -> u64 {
        let Self::Embedded(folder) = self else { return 0 };
        let files = ["db", "db-wal"].map(|end| Self::file(folder).with_extension(end));
        files.iter().map(|file| file.metadata().map_or(0, |file| file.len())).sum::<u64>() >> 20
    }

    /// Returns all items. The servers must have ended.
    async fn items(&self) -> Vec<Value> {
        match self {
            Self::Embedded(folder) => check::items_of_file(&Self::file(folder)),
            Self::Other(url) => check::items_of_engine(url).await,
        }
    }
}

/// Posts at full speed and measures memory.
async fn run_at_full_speed(flags: &Flags) {
    let engine = Engine::new();
    let alone = engine.serve_alone();
    let server = match &alone {
        Some(alone) => Server::start(&["--dynamodb-endpoint".as_ref(), alone.engine.as_ref()]),
        None => engine.serve(),
    };
    let (_address, addresses) = watch::channel(server.api.clone());
    let crowd = Crowd::prepare(flags.posts, addresses).await;
    println!("| posts | server | engine | database |\n| --- | --- | --- | --- |");
    let mut memory = Vec::new();
    let sample = async {
        for tenth in 0..=10 {
            crowd.progress(flags.posts * tenth / 10).await;
            println!(
                "| {} | {} MiB | {} MiB | {} MiB |",
                flags.posts * tenth / 10,
                server.memory(),
                alone.as_ref().map_or(0, Server::memory),
                engine.size(),
            );
            memory.push(server.memory());
        }
    };
    let (posts, ()) = tokio::join!(crowd.post(flags.clients), sample);
    check::api(&server.api, &crowd, &posts).await;
    drop((server, alone));
    check::items(&engine.items().await, &crowd, &posts);
    // The first posts warm the allocator up. From then on each request frees its memory.
    let (early, end) = (memory[2], memory[10]);
    assert!(
        end <= early + early / 4 + 8,
        "the server grows: {early} MiB after a fifth of the posts, {end} MiB at the end"
    );
    println!(
        "{}\nThe guarantees hold: {} posts, and the server's memory is flat.",
        crowd.summary(&posts),
        flags.posts
    );
}

/// Kills the server several times while clients post, and restarts it on the same engine.
async fn run_with_kills(flags: &Flags) {
    let engine = Engine::new();
    let mut server = engine.serve();
    let (address, addresses) = watch::channel(server.api.clone());
    let crowd = Crowd::prepare(flags.posts, addresses).await;
    let kill = async {
        for number in 0..flags.kills {
            let (from, to) =
                (flags.posts * number / flags.kills, flags.posts * (number + 1) / flags.kills);
            crowd.progress(fastrand::usize(from..to)).await;
            server.kill();
            server = engine.serve();
            address.send(server.api.clone()).expect("clients");
        }
    };
    let (posts, ()) = tokio::join!(crowd.post(flags.clients), kill);
    check::api(&server.api, &crowd, &posts).await;
    drop(server);
    check::items(&engine.items().await, &crowd, &posts);
    println!(
        "{}\nThe guarantees hold: {} posts, {} kills.",
        crowd.summary(&posts),
        flags.posts,
        flags.kills
    );
}
