//! Clients that follow a conversation through a live connection, as the documentation tells them to:
//! they subscribe again as a heartbeat, ask for what a frame does not show, and reconnect.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use shared::Time;
use shared::live::TICKET_LIFETIME;
use tokio::time::{Instant, sleep, timeout_at};

use super::sockets::Socket;
use crate::followers::{Followed, Poll};
use crate::requests::Ask;
use crate::world::World;

/// The time for the answer to a heartbeat.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time from one heartbeat to the next: while the conversation is visible, and while it is hidden.
/// Clients may ask more often.
const HEARTBEATS: [Duration; 4] = [
    Duration::from_secs(3),
    Duration::from_secs(3),
    Duration::from_secs(60),
    Duration::from_secs(300),
];
/// The most that two clocks of the service differ.
const MOST_SKEW: Duration = Duration::from_secs(7);
/// The time in which the frames of the last answer have arrived.
const AFTERMATH: Duration = Duration::from_secs(12);

/// A client with a live connection.
struct Listener {
    world: Arc<World>,
    rng: Rng,
    followed: Followed,
    heartbeat: Duration,
    /// True if its tokens expire soon.
    hurried: bool,
}

/// A ticket of a user.
struct Ticket {
    user: Option<usize>,
    secret: String,
    expires_at: Time,
    /// How long the connection lasts.
    lifetime: Duration,
}

impl Ticket {
    /// Creates a ticket, with a token that expires after so many seconds, if it does.
    async fn create(world: &World, user: Option<usize>, seconds: Option<u64>) -> Option<Self> {
        let now = world.time();
        let expiry = |seconds| now.after(Duration::from_secs(seconds)).as_second();
        let token_expires = seconds.map(expiry);
        let ask = Ask { function: "create-ticket", user, token_expires, ..Ask::default() };
        let answer = world.ask(ask).await;
        if answer.status != 201 {
            if !matches!(answer.status, 500 | 503) {
                world.violation(format!("create-ticket: {answer:?}"));
            }
            return None;
        }
        let url = answer.body["url"].as_str().expect("an address");
        let (_, secret) = url.split_once("ticket=").expect("a ticket");
        let expires_at = answer.body["connection_expires_at"].as_str().expect("a time").to_owned();
        let expires_at = Time::try_from(expires_at).expect("a time");
        if token_expires.is_some_and(|expiry| expires_at.as_second() > expiry) {
            world.violation(format!("a connection outlives its token: {expires_at}"));
        }
        let (secret, lifetime) = (secret.to_owned(), expires_at.since(now));
        Some(Self { user, secret, expires_at, lifetime })
    }

    /// Opens a connection. Returns also whether the service accepted the ticket.
    async fn open(&self, world: &Arc<World>) -> (Option<Socket>, bool) {
        world.sockets.open(world, self.user, &self.secret, self.expires_at).await
    }
}

/// Keeps a ticket until it has expired, by every clock. Then it opens nothing.
pub(crate) async fn hoarder(world: Arc<World>, mut rng: Rng) {
    world.pause(&mut rng, 5_000).await;
    let user = world.draw_user(&mut rng);
    let Some(ticket) = Ticket::create(&world, user, None).await else { return };
    sleep(TICKET_LIFETIME + MOST_SKEW).await;
    if ticket.open(&world).await.1 {
        world.violation("an expired ticket opened a connection".to_owned());
    }
}

/// Why a client does not listen to a connection any more.
enum End {
    /// It has to be replaced, soon or after a failure.
    Renew,
    Lost,
    /// The conversation is deleted, or hidden when nothing follows any more.
    Over,
    /// It has answered a heartbeat when nothing followed any more.
    Complete,
}

/// Continues, or ends the connection.
type Flow<T = ()> = ControlFlow<End, T>;

/// Follows a conversation through live connections until nothing follows any more.
pub(crate) async fn listener(
    world: Arc<World>,
    mut rng: Rng,
    user: Option<usize>,
    conversation: usize,
) {
    world.pause(&mut rng, 5_000).await;
    let Some(followed) = start(&world, &mut rng, user, conversation).await else { return };
    let heartbeat = *rng.choice(&HEARTBEATS).expect("a time");
    let hurried = !world.weather.is_timed() && rng.u32(..3) == 0;
    let listener = Listener { world: world.clone(), rng, followed, heartbeat, hurried };
    if let Some(followed) = listener.run().await {
        world.known().listened.push(followed);
    }
}

/// Starts with nothing or with the newest messages. Returns `None` if there is nothing to follow.
async fn start(
    world: &World,
    rng: &mut Rng,
    user: Option<usize>,
    conversation: usize,
) -> Option<Followed> {
    if rng.u32(..3) == 0 {
        return Some(Followed::nothing(user, conversation));
    }
    loop {
        if let Some(followed) = Followed::start(world, rng, user, conversation).await {
            return Some(followed);
        }
        let hidden = world.is_done() && world.may_hide(conversation, user);
        if world.is_deleted(conversation) || hidden {
            return None;
        }
        world.poll_pause(rng).await;
    }
}

impl Listener {
    /// Follows from connection to connection. Returns what it has in the end.
    async fn run(mut self) -> Option<Followed> {
        let mut failures = 0;
        let mut old: Option<Socket> = None;
        loop {
            let Some((mut socket, lifetime)) = self.connect().await else {
                self.poll_meanwhile(failures).await.continue_value()?;
                failures += 1;
                continue;
            };
            let ControlFlow::Break(end) = self.listen(&mut socket, lifetime, old.take()).await
            else {
                continue;
            };
            match end {
                End::Renew => (old, failures) = (Some(socket), 0),
                End::Lost => {
                    self.poll_meanwhile(failures).await.continue_value()?;
                    failures += 1;
                }
                End::Over => return None,
                End::Complete => return Some(self.followed),
            }
        }
    }

    /// Gets a ticket and opens a connection. Returns the connection and how long it lasts.
    async fn connect(&mut self) -> Option<(Socket, Duration)> {
        let (world, user) = (self.world.clone(), self.followed.user);
        let seconds = self.hurried.then(|| self.rng.u64(5..40));
        let ticket = Ticket::create(&world, user, seconds).await?;
        let mut opened = vec![];
        if self.rng.u32(..4) == 0 {
            // Somebody else has seen the ticket.
            let mut later = self.rng.fork();
            let second = async {
                world.pause(&mut later, 60).await;
                ticket.open(&world).await
            };
            let (one, other) = tokio::join!(ticket.open(&world), second);
            opened.extend([one, other]);
        } else {
            opened.push(ticket.open(&world).await);
        }
        if opened.iter().filter(|(_, accepted)| *accepted).count() > 1 {
            world.violation("a ticket opened two connections".to_owned());
        }
        let socket = opened.into_iter().find_map(|(socket, _)| socket)?;
        Some((socket, ticket.lifetime))
    }

    /// Polls for a random time after a failed connection.
    async fn poll_meanwhile(&mut self, failures: u32) -> Flow {
        let most = 20_000 * 2u64.pow(failures.min(4));
        let until = Instant::now() + Duration::from_millis(self.rng.u64(..=most.min(300_000)));
        while Instant::now() < until {
            self.world.pause(&mut self.rng, 4_000).await;
            self.catch_up(until).await?;
        }
        ControlFlow::Continue(())
    }

    /// Asks for what is new, until nothing is, or until a time.
    async fn catch_up(&mut self, until: Instant) -> Flow {
        loop {
            match self.followed.poll(&self.world, &mut self.rng).await {
                Poll::More => {}
                Poll::Nothing => return ControlFlow::Continue(()),
                Poll::Ended => return ControlFlow::Break(End::Over),
                Poll::Restart => self.restart().await?,
                Poll::Hidden => return ControlFlow::Continue(()),
                Poll::Failed if Instant::now() > until => return ControlFlow::Continue(()),
                Poll::Failed => self.world.pause(&mut self.rng, 1_000).await,
            }
        }
    }

    /// Starts again with the newest messages, because the cursor is unknown.
    async fn restart(&mut self) -> Flow {
        let Followed { user, conversation, .. } = self.followed;
        match start(&self.world, &mut self.rng, user, conversation).await {
            Some(followed) => {
                self.followed = followed;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(End::Over),
        }
    }

    /// Listens to a connection until it has to be replaced. Then `old` is not needed any more.
    async fn listen(
        &mut self,
        socket: &mut Socket,
        lifetime: Duration,
        mut old: Option<Socket>,
    ) -> Flow {
        let renewal = lifetime.mul_f64(0.7 + 0.25 * self.rng.f64());
        let renewal = Instant::now() + renewal;
        loop {
            let last = self.world.is_done();
            let seen = self.beat(socket).await?;
            drop(old.take());
            if !seen {
                // It may see the conversation again later.
                if last {
                    return ControlFlow::Break(End::Over);
                }
                self.world.poll_pause(&mut self.rng).await;
                continue;
            }
            if last || self.take_all(socket).await? {
                self.take_until(socket, Instant::now() + AFTERMATH).await?;
                self.followed.load_older(&self.world).await;
                return ControlFlow::Break(End::Complete);
            }
            if self.rng.u32(..4) == 0 {
                self.watch(socket);
            }
            if self.rng.bool() {
                self.followed.load_older(&self.world).await;
            }
            let next = Instant::now() + self.heartbeat;
            self.take_until(socket, next.min(renewal)).await?;
            if Instant::now() >= renewal {
                return ControlFlow::Break(End::Renew);
            }
        }
    }

    /// Takes frames until nothing follows any more, without a heartbeat, where no frame is lost and
    /// all are current. Returns false if that is not the case.
    async fn take_all(&mut self, socket: &mut Socket) -> Flow<bool> {
        if !self.world.weather.is_timed() {
            return ControlFlow::Continue(false);
        }
        while !self.world.is_done() && !self.followed.hidden {
            self.take_until(socket, Instant::now() + PATIENCE).await?;
        }
        ControlFlow::Continue(!self.followed.hidden)
    }

    /// Watches some conversations of a profile, which others may hide from its owner.
    fn watch(&mut self, socket: &Socket) {
        let mut profiles = self.world.known().candidates.clone();
        profiles.retain(|profile| self.followed.user.is_none_or(|user| profile.owner == user));
        let Some(profile) = self.rng.choice(profiles) else { return };
        let mut ids = self.world.conversations.clone();
        ids.retain(|_| self.rng.bool());
        let (action, profile) = ("watch", profile.id);
        socket.send(json!({ "action": action, "profile_id": profile, "conversation_ids": ids }));
    }

    /// Subscribes, and takes frames until the answer. Returns whether the client may see the
    /// conversation.
    async fn beat(&mut self, socket: &mut Socket) -> Flow<bool> {
        let (id, after) = (self.id(), self.followed.cursor());
        socket.send(json!({ "action": "subscribe", "conversation_id": id, "after": after }));
        let until = Instant::now() + PATIENCE;
        loop {
            let frame = match timeout_at(until, socket.frames.recv()).await {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(_) => return ControlFlow::Break(End::Lost),
            };
            let is_answer = frame["type"] == "changes" && frame["after"] == after;
            if !self.take(&frame).await? {
                return ControlFlow::Continue(false);
            }
            if is_answer {
                return ControlFlow::Continue(true);
            }
        }
    }

    /// Takes frames until a time, or until the subscription ends.
    async fn take_until(&mut self, socket: &mut Socket, until: Instant) -> Flow {
        while let Ok(frame) = timeout_at(until, socket.frames.recv()).await {
            let Some(frame) = frame else { return ControlFlow::Break(End::Lost) };
            if !self.take(&frame).await? {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes a frame. Returns false if the subscription has ended.
    async fn take(&mut self, frame: &Value) -> Flow<bool> {
        let id = self.id();
        // Others are about a watch.
        if frame["conversation_id"] != id {
            return ControlFlow::Continue(true);
        }
        match (frame["type"].as_str(), frame["code"].as_str()) {
            (Some("changes"), _) => {
                let fits = self.followed.take_frame(frame);
                if !fits {
                    self.catch_up(Instant::now() + PATIENCE).await?;
                }
            }
            (Some("ended"), _) | (_, Some("not_found")) => {
                if self.world.is_deleted(self.followed.conversation) {
                    return ControlFlow::Break(End::Over);
                }
                if !self.world.may_hide(self.followed.conversation, self.followed.user) {
                    self.world.violation(format!("a subscription ended: {frame}"));
                }
                self.followed.hidden = true;
                return ControlFlow::Continue(false);
            }
            (_, Some("cursor_unknown")) => self.restart().await?,
            (Some("error"), _) => return ControlFlow::Break(End::Lost),
            _ => {}
        }
        ControlFlow::Continue(true)
    }

    fn id(&self) -> String {
        self.world.conversations[self.followed.conversation].clone()
    }
}
