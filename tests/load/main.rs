//! Load and restarts: posts at full speed against the local server in a process of its own, then the promise over all that is
//! stored. `cargo run --release -p tests --example load -- --posts 100000`, and with `--kills 5` the server is killed five times.

mod check;
mod clients;
mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::sync::watch;

use clients::Crowd;
use server::Server;

#[derive(Debug, Parser)]
struct Flags {
    /// How many messages are posted.
    #[arg(long, default_value_t = 100_000)]
    posts: usize,
    /// How many clients post them.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// How many times the server is killed (SIGKILL) on the way.
    #[arg(long, default_value_t = 0)]
    kills: usize,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Is the server; for the processes that this one starts.
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
        None if flags.kills > 0 => survive(&flags).await,
        None => carry(&flags).await,
    }
    ExitCode::SUCCESS
}

/// Full speed, and what it does to memory. The engine runs in a process apart, so that its share and the server's are told apart.
async fn carry(flags: &Flags) {
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
    // The first posts warm the allocator up; from then on each request gives back what it took.
    let (early, end) = (memory[2], memory[10]);
    assert!(
        end <= early + early / 4 + 8,
        "the server grows: {early} MiB after a fifth of the posts, {end} MiB at the end"
    );
    println!(
        "{}\nNothing lost, nothing twice: {} posts, and the server's memory is flat.",
        crowd.summary(&posts),
        flags.posts
    );
}

/// The server is killed in the middle, again and again, and started again on the same file.
async fn survive(flags: &Flags) {
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
        "{}\nNothing lost, nothing twice: {} posts, {} kills.",
        crowd.summary(&posts),
        flags.posts,
        flags.kills
    );
}
