//! Simulates Lambda: starts a function's binary, sends it events through a runtime API, and
//! measures the resources that it uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

/// The timeout. It is long, because a function under callgrind is fifty times slower.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call of the runtime API by a function.
enum Told {
    /// It requests an event.
    Polls(Instant),
    /// It has answered an event.
    Answers(Instant, Bytes),
    /// It has failed.
    Fails(Bytes),
}

struct Api {
    events: Mutex<mpsc::UnboundedReceiver<String>>,
    told: mpsc::UnboundedSender<Told>,
}

/// A running function, with its own runtime API.
pub(crate) struct Function {
    process: Child,
    api: JoinHandle<()>,
    events: mpsc::UnboundedSender<String>,
    told: mpsc::UnboundedReceiver<Told>,
    /// The time from the start of the process until it first requested an event.
    pub(crate) first_poll: Duration,
}

/// The resources that a process has used so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    /// Its peak memory in bytes.
    pub(crate) peak: f64,
}

impl Function {
    /// Starts a function with a table at `endpoint`, and waits until it requests its first event.
    /// `with` is a command that runs the binary, such as `valgrind`.
    pub(crate) async fn start(
        with: &[&str],
        binary: &Path,
        endpoint: &str,
        trusted: &Path,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let ((events, receiver), (sender, told)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let state = Arc::new(Api { events: Mutex::new(receiver), told: sender });
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(error))
            .with_state(state);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let api =
            tokio::spawn(async move { axum::serve(listener, app).await.expect("a runtime API") });

        let mut line: Vec<&std::ffi::OsStr> = with.iter().map(AsRef::as_ref).collect();
        line.push(binary.as_ref());
        let mut command = Command::new(line[0]);
        command
            .args(&line[1..])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.envs([
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "create-message"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ("TABLE_NAME", "chat"),
            ("AUTH", "open"),
        ]);
        command.env("SSL_CERT_FILE", trusted);
        let started = Instant::now();
        let process =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let mut function = Self { process, api, events, told, first_poll: Duration::ZERO };
        function.first_poll = function.polls().await.duration_since(started);
        function
    }

    async fn told(&mut self) -> Told {
        timeout(PATIENCE, self.told.recv())
            .await
            .expect("a function that runs")
            .expect("a runtime API")
    }

    async fn polls(&mut self) -> Instant {
        match self.told().await {
            Told::Polls(when) => when,
            Told::Answers(..) => panic!("an answer to no event"),
            Told::Fails(why) => panic!("{}", String::from_utf8_lossy(&why)),
        }
    }

    /// Sends an event. Returns the latency and the response. Afterwards the function requests the
    /// next event.
    pub(crate) async fn invoke(&mut self, event: &str) -> (Duration, Bytes) {
        let handed_over = Instant::now();
        self.events.send(event.to_owned()).expect("a runtime API");
        let answer = match self.told().await {
            Told::Answers(when, answer) => (when.duration_since(handed_over), answer),
            Told::Fails(why) => panic!("{}", String::from_utf8_lossy(&why)),
            Told::Polls(_) => panic!("no answer"),
        };
        self.polls().await;
        answer
    }

    /// Returns the resources that the process has used so far, as the kernel counts them.
    pub(crate) fn used(&self) -> Used {
        used(self.process.id())
    }

    /// Terminates it, and waits for its end.
    pub(crate) fn end(mut self) {
        let id = self.process.id().to_string();
        Command::new("kill").arg(id).status().expect("kill");
        self.process.wait().expect("an end");
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.api.abort();
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Reads the resources that a process has used. The times of `/proc/<pid>/stat` are in hundredths
/// of a second, which is longer than a start.
pub(crate) fn used(process: u32) -> Used {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let cpu = tasks.map(|task| {
        let schedule = fs::read_to_string(task.expect("a thread").path().join("schedstat"))
            .unwrap_or_default();
        schedule.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0)
    });
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let peak: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    Used { cpu: Duration::from_nanos(cpu.sum()), peak: peak * 1024.0 }
}

/// Writes the file of trusted roots for a function: those of Lambda, and this certificate.
pub(crate) fn trusted(folder: &Path, certificate: &str) -> PathBuf {
    let file = folder.join("trusted.pem");
    fs::write(&file, [include_str!("../../../shared/src/table/amazon.pem"), certificate].concat())
        .expect("a file");
    file
}

async fn next(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let polled = Instant::now();
    let mut events = api.events.lock().await;
    // The receiver is gone after the end of the function.
    drop(api.told.send(Told::Polls(polled)));
    let event = events.recv().await.unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", Uuid::new_v4().to_string()),
        ("lambda-runtime-deadline-ms", (now + PATIENCE).as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:create-message".to_owned(),
        ),
        ("lambda-runtime-trace-id", "Root=1-6560a5e0-0f1e2d3c4b5a69788796a5b4".to_owned()),
    ];
    (headers, event)
}

async fn response(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    drop(api.told.send(Told::Answers(Instant::now(), body)));
    StatusCode::ACCEPTED
}

async fn error(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    drop(api.told.send(Told::Fails(body)));
    StatusCode::ACCEPTED
}
