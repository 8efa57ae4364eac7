//! The development server as a process: what it prints, how it ends, and what survives a restart.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// The longest time that a test waits. It waits this long only if it fails.
const PATIENCE: Duration = Duration::from_secs(30);

const SIGNED_IN: &str = "authorization: Bearer ";

/// A running server. It is killed when this is dropped.
struct Server {
    process: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// The lines of the start-up.
    start_up: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the lines of a stream.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(stream).lines();
        lines.map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    receiver
}

impl Server {
    fn command(folder: &Path, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
        command.args(["--port", "0"]).args(flags).current_dir(folder);
        command.env_remove("AWS_ENDPOINT_URL_DYNAMODB").env_remove("TABLE_NAME");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a server in a folder, and waits until it listens.
    fn start(folder: &Path, flags: &[&str]) -> Self {
        let mut process = Self::command(folder, flags).spawn().expect("a process");
        let stdout = lines(process.stdout.take().expect("stdout"));
        let stderr = lines(process.stderr.take().expect("stderr"));
        let mut server = Self { process, stdout, stderr, start_up: Vec::new() };
        while server.start_up.last().is_none_or(|line| line != "Press Ctrl-C to stop.") {
            let line = server.line();
            server.start_up.push(line);
        }
        server
    }

    /// Returns the next line on stdout.
    fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line on stdout")
    }

    /// Returns the address that the start-up gives for this name.
    fn address(&self, name: &str) -> Option<&str> {
        let lines = self.start_up.iter().map(|line| line.trim());
        let mut addresses = lines.filter_map(|line| line.strip_prefix(name)).map(str::trim);
        addresses.find(|address| address.starts_with("http://"))
    }

    /// Returns the first token that the start-up prints.
    fn token(&self) -> &str {
        let mut tokens = self.start_up.iter().filter_map(|line| line.trim().strip_prefix("TOKEN="));
        tokens.next().expect("a token")
    }

    /// Opens a connection and sends this text.
    fn connect(&self, text: &str) -> TcpStream {
        let host = self.address("API").expect("an address").trim_start_matches("http://");
        let mut connection = TcpStream::connect(host).expect("a connection");
        connection.write_all(text.as_bytes()).expect("sent");
        connection
    }

    /// Sends a request without a body. Returns the response.
    fn request(&self, line: &str, header: &str) -> String {
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let connection = self.connect(&format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{header}connection: close\r\n\r\n"
        ));
        read(connection)
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(kill.expect("kill").success());
    }

    /// Waits until the process ends. Returns its exit status.
    fn exit_status(&mut self) -> Option<i32> {
        // Its output ends when it does.
        while self.stdout.recv_timeout(PATIENCE).is_ok() {}
        self.process.wait().expect("a status").code()
    }
}

fn read(mut connection: TcpStream) -> String {
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut response = String::new();
    connection.read_to_string(&mut response).expect("a response");
    response
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn start_up_prints_the_addresses_of_the_page_the_reference_and_the_api() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--in-memory"]);
    let api = server.address("API").expect("the API").to_owned();
    let path = |name| server.address(name).and_then(|url| url.strip_prefix(&api)).expect(name);
    for (path, content) in
        [(path("Page"), "<html"), (path("Reference"), "<html"), ("/profiles", "{")]
    {
        let response =
            server.request(&format!("GET {path}"), "accept: text/html, application/json");
        assert!(response.starts_with("HTTP/1.1 200 ") && response.contains(content), "{response}");
    }
}

#[test]
fn the_port_of_the_engine_is_open_only_on_request() {
    let folder = folder();
    for (flags, expected) in
        [(&["--in-memory"][..], 1), (&["--in-memory", "--dynamodb-port", "0"][..], 2)]
    {
        let server = Server::start(folder.path(), flags);
        assert_eq!(server.address("Engine").is_some(), expected == 2);
        assert_eq!(listening_sockets(server.process.id()), expected);
    }
}

/// Returns the number of TCP sockets that a process listens on.
fn listening_sockets(process: u32) -> usize {
    let own: Vec<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .expect("Linux")
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .filter_map(|link| {
            Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').into())
        })
        .collect();
    // The fourth column is the state, 0A while listening; the tenth is the socket's inode.
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/net/{table}")));
    let tables = tables.into_iter().filter_map(Result::ok).collect::<String>();
    let rows = tables.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&"0A") && own.iter().any(|inode| row[9] == inode)).count()
}

#[test]
fn each_request_is_one_line_without_its_query_and_token() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--in-memory", "--auth"]);
    let token = format!("{SIGNED_IN}{}", server.token());
    for (line, header, start) in [
        ("GET /profiles?limit=5", token.as_str(), "GET /profiles 200 "),
        ("GET /profiles", "", "GET /profiles 401 "),
        ("GET /profiles/x?secret=1", token.as_str(), "GET /profiles/x 400 "),
        ("GET /nowhere", "", "GET /nowhere 404 "),
    ] {
        server.request(line, header);
        let logged = server.line();
        let duration = logged.strip_prefix(start).unwrap_or_else(|| panic!("{line}: {logged}"));
        let number = duration.strip_suffix(" ms").unwrap_or_else(|| panic!("{logged}"));
        assert!(number.parse::<u32>().is_ok(), "{logged}");
    }
}

#[test]
fn quiet_means_no_line_for_a_request() {
    let folder = folder();
    let mut server = Server::start(folder.path(), &["--in-memory", "--quiet"]);
    server.request("GET /profiles", "");
    server.signal("TERM");
    assert!(server.stdout.recv_timeout(PATIENCE).is_err(), "there is nothing until the end");
    assert_eq!(server.exit_status(), Some(0));
}

#[test]
fn tokens_survive_a_restart_and_are_valid_only_for_their_database() {
    let (folder, other) = (folder(), folder());
    let status = |server: &Server, token: &str| {
        let response = server.request("GET /profiles", &format!("{SIGNED_IN}{token}"));
        response.split(' ').nth(1).expect("a status").to_owned()
    };
    let token = Server::start(folder.path(), &["--auth"]).token().to_owned();
    assert_eq!(status(&Server::start(folder.path(), &["--auth"]), &token), "200");
    assert_eq!(status(&Server::start(other.path(), &["--auth"]), &token), "401");
    assert_eq!(status(&Server::start(folder.path(), &["--auth", "--in-memory"]), &token), "401");
}

#[test]
fn a_signal_ends_a_server_with_a_half_sent_request() {
    let folder = folder();
    for signal in ["INT", "TERM"] {
        let mut server = Server::start(folder.path(), &["--in-memory"]);
        let _half_sent = server.connect("GET /profiles HTTP/1.1\r\nhost: local");
        // A response on a later connection shows that the server has accepted the earlier one.
        server.request("GET /profiles", "");
        server.signal(signal);
        assert_eq!(server.exit_status(), Some(0));
    }
}

#[test]
fn an_open_request_is_answered_after_the_signal() {
    let folder = folder();
    let mut server = Server::start(folder.path(), &["--in-memory"]);
    let mut connection = server.connect(
        "POST /profiles HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 20\r\nexpect: 100-continue\r\n\r\n",
    );
    // The server asks for the body when it reads it, so the request is open.
    let mut interim = [0; 25];
    connection.read_exact(&mut interim).expect("an interim response");
    assert!(interim.starts_with(b"HTTP/1.1 100 "));
    server.signal("INT");
    let line = server.stderr.recv_timeout(PATIENCE).expect("a line on stderr");
    assert!(line.starts_with("Stopping"), "{line}");
    connection.write_all(br#"{"first_name":"Ada"}"#).expect("sent");
    let response = read(connection);
    assert!(response.starts_with("HTTP/1.1 201 "), "{response}");
    assert_eq!(server.exit_status(), Some(0));
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let folder = folder();
    let mut server = Server::start(folder.path(), &["--in-memory"]);
    let _half_sent = server.connect("GET /profiles HTTP/1.1\r\nhost: local");
    server.request("GET /profiles", "");
    server.signal("INT");
    server.stderr.recv_timeout(PATIENCE).expect("a line on stderr");
    server.signal("INT");
    // The end of a server that waits for its requests would be 0.
    assert_eq!(server.exit_status(), Some(130));
}

#[test]
fn an_unusable_flag_is_one_line_and_the_exit_status_is_1() {
    let folder = folder();
    fs::write(
        folder.path().join("text"),
        "This is not a database, but a text of some length.".repeat(9),
    )
    .expect("a file");
    for (flags, expected) in [
        (&["--port", "http"][..], "--port"),
        (&["--prot", "1"][..], "--prot"),
        (&["--host", "localhost"][..], "--host"),
        (&["--in-memory", "--database", "x"][..], "--in-memory"),
        (&["--cors-origins", "*"][..], "such as http://localhost:5173"),
        (&["--cors-origins", "foo"][..], "'foo' is not an origin"),
        (&["--host", "0.0.0.0"][..], "--allow-open"),
        (&["--database", "text"][..], "text: not a usable database file"),
    ] {
        let output = Server::command(folder.path(), flags).output().expect("a process");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("error: ") && error.contains(expected), "{error}");
        assert_eq!((error.lines().count(), output.stdout.len()), (1, 0), "{error}");
    }
    assert!(!folder.path().join("chat.db").exists(), "nothing is created");
}

#[test]
fn every_address_is_served_if_that_is_confirmed() {
    let folder = folder();
    for flag in ["--allow-open", "--auth"] {
        let server = Server::start(folder.path(), &["--in-memory", "--host", "0.0.0.0", flag]);
        let response = server.request("GET /", "");
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
}
