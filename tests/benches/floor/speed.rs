//! The speed of the development server: eight connections, each in a thread, in a closed loop.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Binaries;
use crate::lambda::used;
use crate::report::{Bar, Report, median, ms, number, table};

const CONNECTIONS: usize = 8;

/// The process of the development server.
struct Server {
    process: Child,
    port: u16,
    started: Duration,
}

impl Server {
    fn start(binary: &Path, data: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut command = Command::new(binary);
        command.args(data).args(["--quiet", "--port", &port.to_string()]);
        command
            .env_remove("AWS_ENDPOINT_URL_DYNAMODB")
            .env_remove("TABLE_NAME")
            .stdout(Stdio::null());
        let started = Instant::now();
        let process =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let mut server = Self { process, port, started: Duration::ZERO };
        while server.asked().is_none() {
            sleep(Duration::from_micros(200));
        }
        server.started = started.elapsed();
        server
    }

    fn asked(&self) -> Option<Value> {
        Connection::open(self.port)?.send(&get("/profiles?limit=1"))
    }

    fn connection(&self) -> Connection {
        Connection::open(self.port).expect("a connection")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A persistent connection.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    /// Sends a request, and reads the whole response.
    fn exchange(&mut self, request: &str) -> Option<(String, Vec<u8>)> {
        self.0.get_mut().write_all(request.as_bytes()).ok()?;
        let (mut status, mut length) = (String::new(), 0);
        self.0.read_line(&mut status).ok()?;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok()?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some((status, body))
    }

    fn send(&mut self, request: &str) -> Option<Value> {
        let (status, body) = self.exchange(request)?;
        assert!(status.starts_with("HTTP/1.1 20"), "{status}{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).ok()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The measurements of a burst of requests.
struct Burst {
    rate: f64,
    took: f64,
    /// The server's processor time for each request, in milliseconds.
    cpu: f64,
}

/// Sends each connection's request repeatedly for this time.
fn burst(server: &Server, requests: &[String], length: Duration) -> Burst {
    let barrier = Arc::new(Barrier::new(requests.len() + 1));
    let threads: Vec<_> = requests
        .iter()
        .map(|request| {
            let (mut connection, request, barrier) =
                (server.connection(), request.clone(), barrier.clone());
            spawn(move || {
                let mut took = Vec::new();
                barrier.wait();
                let started = Instant::now();
                while started.elapsed() < length {
                    let sent = Instant::now();
                    let (status, _) = connection.exchange(&request).expect("an answer");
                    assert!(status.starts_with("HTTP/1.1 20"), "{status}");
                    took.push(ms(sent.elapsed()));
                }
                took
            })
        })
        .collect();
    let before = used(server.process.id()).cpu;
    barrier.wait();
    let started = Instant::now();
    let mut took: Vec<f64> =
        threads.into_iter().flat_map(|thread| thread.join().expect("a connection")).collect();
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = used(server.process.id()).cpu.saturating_sub(before);
    Burst {
        rate: took.len() as f64 / elapsed,
        cpu: ms(cpu) / took.len() as f64,
        took: median(&mut took),
    }
}

pub(crate) fn run(binaries: &Binaries, length: Duration, report: &mut Report) {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("chat.db");
    let places = [vec!["--in-memory"], vec!["--database", file.to_str().expect("a path")]];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (place, data) in ["in memory", "in a file"].into_iter().zip(places) {
        let server = Server::start(&binaries.local, &data);
        let mut connection = server.connection();
        let id = |answer: Option<Value>| {
            answer.and_then(|answer| answer["id"].as_str().map(str::to_owned)).expect("an id")
        };
        let (mut posts, mut lists, mut gets) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            let author = id(connection.send(&post("/profiles", &json!({ "first_name": "Ada" }))));
            let opening = json!({ "subject": "Engines", "author_id": author });
            let conversation = id(connection.send(&post("/conversations", &opening)));
            let messages = format!("/conversations/{conversation}/messages");
            posts.push(post(&messages, &json!({ "author_id": author, "text": "Hello" })));
            for _ in 0..50 {
                connection.send(posts.last().expect("a post"));
            }
            lists.push(get(&messages));
            gets.push(get(&format!("/profiles/{author}")));
        }
        let started = number(ms(server.started));
        rows.push(vec![
            format!("{place}: exec → first response"),
            String::new(),
            format!("{started} ms"),
            String::new(),
        ]);
        if place == "in memory" {
            report.bar(
                "development server, exec → first response",
                ms(server.started),
                "ms",
                Bar::AtMost(100.0),
            );
        }
        for (what, requests, bar) in
            [("posts", &posts, 1_000.0), ("lists of 50", &lists, 2_000.0), ("gets", &gets, 8_000.0)]
        {
            burst(&server, requests, length / 10);
            let Burst { rate, took, cpu } = burst(&server, requests, length);
            rows.push(vec![
                format!("{place}: {what}"),
                format!("{} / s", number(rate)),
                format!("{} ms", number(took)),
                format!("{} ms", number(cpu)),
            ]);
            if place == "in memory" {
                report.bar(&format!("development server, {what}"), rate, "/ s", Bar::AtLeast(bar));
            }
        }
    }
    let head = ["", "rate", "p50", "server's CPU each"];
    table(
        &format!("Development server, {CONNECTIONS} connections on the same processors"),
        &head,
        &rows,
    );
}
