//! Those who use the service in a simulation, as real clients do: they post, repeat, give up, edit, delete and poll; and they
//! remember what they were told.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use functions::http::Auth;
use lambda_http::http::{HeaderMap, Method};
use lambda_http::{Body, Context, Request, RequestExt};
use serde_json::{Value, json};
use shared::Table;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::network::Network;

/// The service, and what its clients know of it.
pub(crate) struct World {
    pub(crate) table: Table,
    pub(crate) network: Arc<Network>,
    pub(crate) authors: Vec<String>,
    pub(crate) conversations: Vec<String>,
    /// Where time is real, clients wait this many times less.
    pub(crate) haste: u32,
    known: Mutex<Known>,
}

/// What the clients know.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) posts: Vec<Post>,
    /// Messages that someone asked to be deleted, and whether that was answered 204.
    pub(crate) deletions: Vec<((usize, u64), bool)>,
    /// Messages whose edit was answered 200.
    pub(crate) edits: Vec<(usize, u64)>,
    /// What the poller of each conversation saw.
    pub(crate) polled: Vec<Vec<Value>>,
    pub(crate) deleted_conversations: Vec<usize>,
    pub(crate) deleted_profiles: Vec<usize>,
    /// What was created, by its name; whether with a key; and how often nobody knew whether it was.
    pub(crate) creations: Vec<(String, bool, usize)>,
    /// What was told that cannot be true.
    pub(crate) wrong: Vec<String>,
}

/// A message that a client wants to be posted, and what it was told of that.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    /// Stands in its metadata.
    pub(crate) name: String,
    pub(crate) author: usize,
    pub(crate) conversation: usize,
    pub(crate) keyed: bool,
    pub(crate) told: Vec<Told>,
}

/// What a client was told of a post.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// 201: it is there.
    Stored(Value),
    /// 503, or a refusal: this request wrote nothing.
    Nothing(u16),
    /// 410, to a repeat: what it created is gone.
    Gone,
    /// 500, or no answer while the client waited.
    Unknown,
}

/// An answer of the service.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Value,
}

impl World {
    pub(crate) fn new(table: Table, network: Arc<Network>, haste: u32) -> Self {
        Self {
            table,
            network,
            authors: Vec::new(),
            conversations: Vec::new(),
            haste,
            known: Mutex::default(),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic")
    }

    /// Asks the function of this name, as API Gateway would. The deadline is not told: it would be of the machine's clock, which is
    /// another in each run.
    pub(crate) async fn ask(
        &self,
        function: &str,
        path: &[(&str, String)],
        query: &[(&str, String)],
        key: Option<Uuid>,
        body: &Value,
    ) -> Answer {
        let method = match function.split_once('-').map(|(verb, _)| verb) {
            Some("create") => Method::POST,
            Some("update") => Method::PATCH,
            Some("delete") => Method::DELETE,
            _ => Method::GET,
        };
        let mut request =
            Request::new(if body.is_null() { Body::Empty } else { Body::Text(body.to_string()) });
        *request.method_mut() = method;
        request.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
        if let Some(key) = key {
            request
                .headers_mut()
                .insert("idempotency-key", key.to_string().parse().expect("a value"));
        }
        let parameters =
            |pairs: &[(&str, String)]| -> std::collections::HashMap<String, Vec<String>> {
                pairs
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), vec![value.clone()]))
                    .collect()
            };
        let request = request
            .with_path_parameters(parameters(path))
            .with_query_string_parameters(parameters(query))
            .with_lambda_context(Context::default());
        let (function, missing) = (function, "a function");
        let response =
            local::invoke(function, &self.table, Auth::Open, request).await.expect(missing);
        let answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_slice(response.body()).unwrap_or_default(),
        };
        self.network.note(&format!("{function} {}", answer.status));
        if answer.status == 503
            && answer.headers.get("retry-after").is_none_or(|value| value != "1")
        {
            self.wrong(format!("{function}: a 503 that does not say when to come again"));
        }
        answer
    }

    /// Creates something that has this body, however long it takes, and answers its id.
    pub(crate) async fn create(&self, rng: &mut Rng, function: &str, body: Value) -> String {
        let key = rng.bool().then(Uuid::new_v4);
        let mut unknown = 0;
        loop {
            let answer = self.ask(function, &[], &[], key, &body).await;
            match answer.status {
                201 => {
                    let name = body["first_name"]
                        .as_str()
                        .or(body["subject"].as_str())
                        .unwrap_or_default()
                        .to_owned();
                    self.known().creations.push((name, key.is_some(), unknown));
                    return answer.body["id"].as_str().expect("an id").to_owned();
                }
                500 => unknown += 1,
                503 => {}
                status => self.wrong(format!("{function} answered {status}")),
            }
            sleep(Duration::from_secs(1) / self.haste).await;
        }
    }

    pub(crate) fn wrong(&self, what: String) {
        self.known().wrong.push(what);
    }

    pub(crate) fn path(&self, conversation: usize) -> (&'static str, String) {
        ("conversation_id", self.conversations[conversation].clone())
    }

    /// Some time to think, drawn evenly up to this many milliseconds.
    pub(crate) async fn pause(&self, rng: &mut Rng, most: u64) {
        sleep(Duration::from_micros(rng.u64(..=most * 1000)) / self.haste).await;
    }

    /// One request to post.
    async fn post_once(&self, post: &Post, key: Option<Uuid>) -> Told {
        let body = json!({ "author_id": self.authors[post.author], "text": "x", "metadata": { "name": post.name } });
        let answer =
            self.ask("create-message", &[self.path(post.conversation)], &[], key, &body).await;
        match answer.status {
            201 => Told::Stored(answer.body),
            410 => Told::Gone,
            500 => Told::Unknown,
            status => Told::Nothing(status),
        }
    }
}

/// A client that posts some messages, edits and deletes some of them.
pub(crate) async fn poster(world: Arc<World>, mut rng: Rng, client: usize, author: usize) {
    for number in 0..rng.usize(3..9) {
        world.pause(&mut rng, 400).await;
        let post = Post {
            name: format!("{client}-{number}"),
            author,
            conversation: rng.usize(..world.conversations.len()),
            keyed: rng.u32(..10) < 6,
            told: Vec::new(),
        };
        let index = {
            let mut known = world.known();
            known.posts.push(post.clone());
            known.posts.len() - 1
        };
        let told = post_until_told(&world, &mut rng, &post).await;
        let stored = told.iter().find_map(|told| match told {
            Told::Stored(message) => message["seq"].as_u64(),
            _ => None,
        });
        world.known().posts[index].told = told;
        let Some(seq) = stored else { continue };
        let path = [world.path(post.conversation), ("seq", seq.to_string())];
        match rng.u32(..12) {
            0 => {
                world.known().deletions.push(((post.conversation, seq), false));
                let deletion = world.known().deletions.len() - 1;
                if world.ask("delete-message", &path, &[], None, &Value::Null).await.status == 204 {
                    world.known().deletions[deletion].1 = true;
                }
            }
            1 | 2 => {
                let edit = json!({ "text": format!("edited {}", post.name) });
                if world.ask("update-message", &path, &[], None, &edit).await.status == 200 {
                    world.known().edits.push((post.conversation, seq));
                }
            }
            _ => {}
        }
    }
}

/// Posts until it is known what became of it, as far as that can be found out.
async fn post_until_told(world: &Arc<World>, rng: &mut Rng, post: &Post) -> Vec<Told> {
    let key = post.keyed.then(Uuid::new_v4);
    let mut told = Vec::new();
    for _ in 0..6 {
        // Now and then the same request twice at once, by a nervous finger; with a key that does no harm.
        if key.is_some() && rng.u32(..7) == 0 {
            let (one, other) = tokio::join!(world.post_once(post, key), world.post_once(post, key));
            told.extend([one, other]);
        } else {
            // Some clients wait for a while only. The service goes on.
            let (task_world, task_post) = (world.clone(), post.clone());
            let asked: JoinHandle<Told> =
                tokio::spawn(async move { task_world.post_once(&task_post, key).await });
            let patience = if rng.u32(..8) == 0 {
                Duration::from_millis(rng.u64(1..300))
            } else {
                Duration::from_secs(60)
            };
            told.push(match timeout(patience / world.haste.min(4), asked).await {
                Ok(answered) => answered.unwrap_or(Told::Unknown),
                Err(_) => Told::Unknown,
            });
        }
        match told.last() {
            // Not always content with the first answer.
            Some(Told::Stored(_)) if key.is_some() && rng.u32(..4) == 0 => {}
            Some(Told::Unknown) if key.is_some() => {}
            Some(Told::Nothing(503)) => sleep(Duration::from_secs(1) / world.haste).await,
            _ => break,
        }
        world.pause(rng, 200).await;
    }
    told
}

/// Follows a conversation by `after`, until `done`; then until there is no more.
pub(crate) async fn poller(
    world: Arc<World>,
    mut rng: Rng,
    conversation: usize,
    done: Arc<std::sync::atomic::AtomicBool>,
) {
    let mut seen: Vec<Value> = Vec::new();
    loop {
        let last_round = done.load(std::sync::atomic::Ordering::Relaxed);
        let after = seen.last().map_or("0".to_owned(), |message| message["seq"].to_string());
        let limit = rng.u32(1..=20).to_string();
        let query = [("after", after), ("limit", limit)];
        let answer = world
            .ask("list-messages", &[world.path(conversation)], &query, None, &Value::Null)
            .await;
        let page = answer.body["results"].as_array().cloned().unwrap_or_default();
        match answer.status {
            200 if last_round && page.is_empty() => break,
            200 => seen.extend(page),
            404 => break,
            500 | 503 => {}
            status => world.wrong(format!("a poll answered {status}")),
        }
        world.pause(&mut rng, 500).await;
    }
    world.known().polled[conversation] = seen;
}

/// Looks at the newest page now and then.
pub(crate) async fn reader(world: Arc<World>, mut rng: Rng, conversation: usize) {
    for _ in 0..8 {
        world.pause(&mut rng, 600).await;
        let answer = world
            .ask("get-conversation", &[world.path(conversation)], &[], None, &Value::Null)
            .await;
        if answer.status != 200 {
            continue;
        }
        let places: Vec<u64> = answer.body["messages"]["results"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|message| message["seq"].as_u64())
            .collect();
        let whole = places.windows(2).all(|pair| pair[0] == pair[1] + 1)
            && places.last().is_none_or(|last| *last == 1);
        if !whole || answer.body["last_seq"].as_u64() != places.first().copied().or(Some(0)) {
            world.wrong(format!(
                "a page with a hole: {places:?}, last_seq {}",
                answer.body["last_seq"]
            ));
        }
    }
}
