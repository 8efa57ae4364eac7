//! API Gateway's WebSocket API behind an unreliable network: opens connections, runs the functions of
//! frames, and carries the frames that the service posts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use fastrand::Rng;
use functions::live::{Publisher, SocketEvent, connect, disconnect, subscribe, unsubscribe, watch};
use serde_json::{Value, json};
use shared::Time;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

use crate::world::World;

/// The connections. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Sockets(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: Rng,
    /// The share of frames with a fault, in percent.
    trouble: u32,
    lines: HashMap<String, Line>,
    posted: Vec<Posted>,
}

/// A connection as API Gateway knows it.
#[derive(Debug)]
struct Line {
    state: LineState,
    frames: UnboundedSender<Value>,
    user: Option<usize>,
    expires_at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineState {
    Open,
    /// It has ended, and API Gateway knows.
    Gone,
    /// Nothing arrives any more, and nobody knows.
    Dead,
}

/// A frame that the service has posted.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) user: Option<usize>,
    /// When the invocation that posted it began.
    pub(crate) started: Instant,
    /// The same by the slowest clock of the service.
    pub(crate) started_at: Time,
    pub(crate) ended: Instant,
    /// When the connection ends.
    pub(crate) expires_at: Time,
    pub(crate) frame: Value,
}

/// The client's end of a connection.
pub(crate) struct Socket {
    id: String,
    pub(crate) frames: UnboundedReceiver<Value>,
    sockets: Sockets,
    world: Arc<World>,
}

/// What happens to a frame.
enum Fate {
    Arrives,
    Twice,
    Late,
    Lost,
    Throttled,
    /// It arrives or not, and the response is an error.
    Failed {
        arrives: bool,
    },
    /// As [`Fate::Failed`], but nothing answers.
    Unanswered {
        arrives: bool,
    },
    /// The connection ends, and API Gateway knows (`true`) or not.
    Cut(bool),
}

impl Sockets {
    pub(crate) fn new(rng: Rng) -> Self {
        let (lines, posted) = (HashMap::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { rng, trouble: 0, lines, posted })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    /// Injects faults into this share of the frames, in percent.
    pub(crate) fn storm(&self, trouble: u32) {
        self.state().trouble = trouble;
    }

    /// Returns how many frames were posted.
    pub(crate) fn count(&self) -> usize {
        self.state().posted.len()
    }

    /// Returns the frames that were posted.
    pub(crate) fn take_posted(&self) -> Vec<Posted> {
        std::mem::take(&mut self.state().posted)
    }

    /// Returns the publisher of an invocation that starts now.
    pub(crate) fn publisher(&self, world: &World) -> Publisher {
        let (sockets, started, started_at) = (self.clone(), Instant::now(), world.time());
        Publisher::with_http_client(Connections { sockets, started, started_at })
    }

    /// Opens a connection with a ticket. Returns `None` if it is refused or the answer is lost, and
    /// whether the ticket was accepted.
    pub(crate) async fn open(
        &self,
        world: &Arc<World>,
        user: Option<usize>,
        secret: &str,
        expires_at: Time,
    ) -> (Option<Socket>, bool) {
        let (frames, receiver) = unbounded_channel();
        let id = {
            let mut state = self.state();
            let id = format!("connection-{}", state.lines.len());
            let line = Line { state: LineState::Gone, frames, user, expires_at };
            state.lines.insert(id.clone(), line);
            id
        };
        let event = event(&id, json!({ "ticket": secret }), None);
        let status = world.invoke("connect", |table| connect(table, event)).await;
        world.dynamodb.note(&format!("connect {id} {status:?}"));
        if status != Some(200) {
            return (None, false);
        }
        let (delay, lost) = {
            let mut state = self.state();
            let lost = state.trouble > 0 && state.rng.u32(..20) == 0;
            (Duration::from_millis(state.rng.u64(1..20)), lost)
        };
        // Until it is open, posts find it gone.
        sleep(delay).await;
        if lost {
            return (None, true);
        }
        self.state().lines.get_mut(&id).expect("a line").state = LineState::Open;
        let (sockets, world) = (self.clone(), world.clone());
        (Some(Socket { id, frames: receiver, sockets, world }), true)
    }

    /// Carries a frame to a client. Returns the status for the service; `None` if nothing answers.
    async fn post(&self, of: Connections, id: &str, frame: Value) -> Option<u16> {
        let delay = Duration::from_millis(self.state().rng.u64(1..30));
        sleep(delay).await;
        let mut state = self.state();
        let Line { state: line, user, expires_at, .. } = &state.lines[id];
        let (line, user, expires_at) = (*line, *user, *expires_at);
        if line == LineState::Gone {
            return Some(410);
        }
        let fate = state.draw();
        let (arrives, status) = match fate {
            Fate::Arrives | Fate::Late => (1, Some(200)),
            Fate::Twice => (2, Some(200)),
            Fate::Lost => (0, Some(200)),
            Fate::Throttled => (0, Some(429)),
            Fate::Failed { arrives } => (usize::from(arrives), Some(500)),
            Fate::Unanswered { arrives } => (usize::from(arrives), None),
            Fate::Cut(known) => {
                state.set(id, if known { LineState::Gone } else { LineState::Dead });
                (0, Some(200))
            }
        };
        let (started, started_at, ended) = (of.started, of.started_at, Instant::now());
        let posted = Posted { user, started, started_at, ended, expires_at, frame: frame.clone() };
        state.posted.push(posted);
        for _ in 0..if line == LineState::Open { arrives } else { 0 } {
            let longest = if matches!(fate, Fate::Late | Fate::Twice) { 4_000 } else { 40 };
            let delay = Duration::from_millis(state.rng.u64(1..=longest));
            let (sender, frame) = (state.lines[id].frames.clone(), frame.clone());
            tokio::spawn(async move {
                sleep(delay).await;
                // The client may have closed the connection.
                let _ = sender.send(frame);
            });
        }
        status
    }

    /// Runs the function of a frame, as API Gateway does: frames may overtake each other.
    async fn receive(self, world: Arc<World>, id: String, frame: Value) {
        let (delay, lost) = {
            let mut state = self.state();
            let lost = state.lines[&id].state != LineState::Open
                || matches!(state.draw(), Fate::Lost | Fate::Cut(_));
            (Duration::from_millis(state.rng.u64(1..30)), lost)
        };
        if lost {
            return;
        }
        sleep(delay).await;
        let event = event(&id, json!({}), Some(&frame));
        let publisher = self.publisher(&world);
        let status = match frame["action"].as_str() {
            Some("subscribe") => {
                world.invoke("subscribe", |table| subscribe(table, publisher, event)).await
            }
            Some("unsubscribe") => {
                world.invoke("unsubscribe", |table| unsubscribe(table, publisher, event)).await
            }
            _ => world.invoke("watch", |table| watch(table, publisher, event)).await,
        };
        world.dynamodb.note(&format!("{} of {id} {status:?}", frame["action"]));
    }
}

impl State {
    fn set(&mut self, id: &str, state: LineState) {
        self.lines.get_mut(id).expect("a line").state = state;
    }

    /// Draws the fate of a frame.
    fn draw(&mut self) -> Fate {
        let Self { rng, trouble, .. } = self;
        if rng.u32(..100) >= *trouble {
            return Fate::Arrives;
        }
        match rng.u32(..16) {
            0..2 => Fate::Twice,
            2..6 => Fate::Late,
            6..10 => Fate::Lost,
            10 | 11 => Fate::Throttled,
            12 => Fate::Failed { arrives: rng.bool() },
            13 | 14 => Fate::Unanswered { arrives: rng.bool() },
            _ => Fate::Cut(rng.bool()),
        }
    }
}

impl Socket {
    /// Sends a frame.
    pub(crate) fn send(&self, frame: Value) {
        let (sockets, world, id) = (self.sockets.clone(), self.world.clone(), self.id.clone());
        tokio::spawn(sockets.receive(world, id, frame));
    }
}

/// The client closes the connection. API Gateway may not learn that.
impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.sockets.state();
        if state.rng.u32(..4) == 0 || state.lines[&self.id].state == LineState::Dead {
            state.set(&self.id, LineState::Dead);
            return;
        }
        state.set(&self.id, LineState::Gone);
        let (world, event) = (self.world.clone(), event(&self.id, json!({}), None));
        tokio::spawn(async move {
            world.invoke("disconnect", |table| disconnect(table, event)).await;
        });
    }
}

/// Returns the event of a connection or of a frame.
fn event(id: &str, query: Value, frame: Option<&Value>) -> SocketEvent {
    let event = json!({
        "requestContext": { "connectionId": id },
        "queryStringParameters": query,
        "body": frame.map(Value::to_string),
    });
    serde_json::from_value(event).expect("an event")
}

/// `@connections` for one invocation.
#[derive(Clone, Debug)]
struct Connections {
    sockets: Sockets,
    started: Instant,
    started_at: Time,
}

impl HttpClient for Connections {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connections {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let of = self.clone();
        let (_, id) = request.uri().rsplit_once("/@connections/").expect("a connection");
        let (id, frame) = (id.to_owned(), request.body().bytes().expect("a body").to_vec());
        HttpConnectorFuture::new(async move {
            let frame = serde_json::from_slice(&frame).expect("JSON");
            let sockets = of.sockets.clone();
            match sockets.post(of, &id, frame).await {
                Some(status) => {
                    let status = status.try_into().expect("a status");
                    Ok(HttpResponse::new(status, "{}".into()))
                }
                None => std::future::pending().await,
            }
        })
    }
}
