//! The local server in a process of its own.

use std::env;
use std::ffi::OsStr;
use std::fs::read_to_string;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running server; it is killed when this is dropped.
pub(crate) struct Server {
    process: Child,
    /// Where the API is.
    pub(crate) api: String,
    /// Where its engine is.
    pub(crate) engine: String,
    /// Open for as long as the process may write to it.
    _said: BufReader<ChildStdout>,
}

impl Server {
    /// Starts one with these flags, on ports that are free, and waits until it listens.
    pub(crate) fn start(flags: &[&OsStr]) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command
            .args(["serve", "--port", "0", "--dynamodb-port", "0"])
            .args(flags)
            .env_remove("AWS_ENDPOINT_URL_DYNAMODB");
        let mut process = command.stdout(Stdio::piped()).spawn().expect("a process");
        let mut said = BufReader::new(process.stdout.take().expect("what it says"));
        // Its first line names the API, its second the engine.
        let mut address = || {
            let mut line = String::new();
            said.read_line(&mut line).expect("a line");
            let word = line.split_whitespace().find(|word| word.starts_with("http://"));
            word.expect("a server that says where it is").trim_end_matches([',', '.']).to_owned()
        };
        let (api, engine) = (address(), address());
        Self { process, api, engine, _said: said }
    }

    /// What it holds in memory (`VmRSS`), in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = read_to_string(format!("/proc/{}/status", self.process.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
    }

    /// Ends it with SIGKILL: nothing is put in order.
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
