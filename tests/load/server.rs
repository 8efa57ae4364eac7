//! The development server in its own process.

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
    /// The address of its engine.
    pub(crate) engine: String,
    /// Kept open, because the process may write to it.
    _output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server with these flags on free ports, and waits until it listens.
    pub(crate) fn start(flags: &[&OsStr]) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command
            .args(["serve", "--port", "0", "--dynamodb-port", "0"])
            .args(flags)
            .env_remove("AWS_ENDPOINT_URL_DYNAMODB");
        let mut process = command.stdout(Stdio::piped()).spawn().expect("a process");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        // Its first line names the API, its second line the engine.
        let mut address = || {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            let word = line.split_whitespace().find(|word| word.starts_with("http://"));
            word.expect("an address").trim_end_matches([',', '.']).to_owned()
        };
        let (api, engine) = (address(), address());
        Self { process, api, engine, _output: output }
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
