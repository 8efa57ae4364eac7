//! The development server in its own process.

use std::collections::HashMap;
use std::env;
use std::ffi::OsStr;
use std::fs::read_to_string;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    process: Child,
    /// The address of the API.
    pub(crate) api: String,
    /// The address of its engine; empty if its port is closed.
    pub(crate) engine: String,
    /// Kept open, because the process may write to it.
    _output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server with these flags on free ports, and waits until it listens.
    pub(crate) fn start(flags: &[&OsStr]) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command
            .args(["serve", "--quiet", "--port", "0"])
            .args(flags)
            .env_remove("AWS_ENDPOINT_URL_DYNAMODB");
        let mut process = command.stdout(Stdio::piped()).spawn().expect("a process");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        // The lines before the last line of the start-up name the addresses.
        let mut addresses = HashMap::new();
        let mut line = String::new();
        while !line.starts_with("Press Ctrl-C") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("a line"), 0, "the server has ended");
            if let [name, address] = *line.split_whitespace().collect::<Vec<_>>() {
                addresses.insert(name.to_owned(), address.to_owned());
            }
        }
        Self {
            process,
            api: addresses.remove("API").expect("the address of the API"),
            engine: addresses.remove("Engine").unwrap_or_default(),
            _output: output,
        }
    }

    /// Returns its memory (`VmRSS`) in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = read_to_string(format!("/proc/{}/status", self.process.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
    }

    /// Kills it with SIGKILL, without any cleanup.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("a process");
        self.process.wait().expect("a process");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
