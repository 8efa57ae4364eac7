//! Load and restarts: posts at full speed to the development server in its own process, then checks
//! the guarantees.
//!
//! `cargo run --release -p tests --example load -- --posts 100000`. With `--kills 5` it kills the
//! server five times.

mod check;
mod clients;
mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
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

/// Posts at full speed and measures memory. The engine runs in its own process, so that its memory
/// is measured separately.
async fn run_at_full_speed(flags: &Flags) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chat.db");
    let engine = Server::start(&[
        "--dynamodb-port".as_ref(),
        "0".as_ref(),
        "--database".as_ref(),
        file.as_os_str(),
    ]);
    let server = Server::start(&["--dynamodb-endpoint".as_ref(), engine.engine.as_ref()]);
    let (_address, addresses) = watch::channel(server.api.clone());
    let crowd = Crowd::prepare(flags.posts, addresses).await;
    println!("| posts | server | engine | database |\n| --- | --- | --- | --- |");
    let mut memory = Vec::new();
    let sample = async {
        for tenth in 0..=10 {
            crowd.progress(flags.posts * tenth / 10).await;
            let database = ["", "-wal"].map(|end| {
                file.with_extension(format!("db{end}")).metadata().map_or(0, |file| file.len())
            });
            let database = database.iter().sum::<u64>() >> 20;
            println!(
                "| {} | {} MiB | {} MiB | {database} MiB |",
                flags.posts * tenth / 10,
                server.memory(),
                engine.memory()
            );
            memory.push(server.memory());
        }
    };
    let (posts, ()) = tokio::join!(crowd.post(flags.clients), sample);
    check::api(&server.api, &crowd, &posts).await;
    drop((server, engine));
    check::database(&file, &crowd, &posts);
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

/// Kills the server several times while clients post, and restarts it with the same file.
async fn run_with_kills(flags: &Flags) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chat.db");
    let start = || Server::start(&["--database".as_ref(), file.as_os_str()]);
    let mut server = start();
    let (address, addresses) = watch::channel(server.api.clone());
    let crowd = Crowd::prepare(flags.posts, addresses).await;
    let kill = async {
        for number in 0..flags.kills {
            let (from, to) =
                (flags.posts * number / flags.kills, flags.posts * (number + 1) / flags.kills);
            crowd.progress(fastrand::usize(from..to)).await;
            server.kill();
            server = start();
            address.send(server.api.clone()).expect("clients");
        }
    };
    let (posts, ()) = tokio::join!(crowd.post(flags.clients), kill);
    check::api(&server.api, &crowd, &posts).await;
    drop(server);
    check::database(&file, &crowd, &posts);
    println!(
        "{}\nThe guarantees hold: {} posts, {} kills.",
        crowd.summary(&posts),
        flags.posts,
        flags.kills
    );
}
