//! Clients that post at full speed, some with idempotency keys, and repeat requests as real clients
//! do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

const AUTHORS: usize = 50;
const CONVERSATIONS: usize = 20;

/// The clients, their authors and their conversations.
pub(crate) struct Crowd {
    pub(crate) authors: Vec<String>,
    pub(crate) conversations: Vec<String>,
    client: Client,
    posts: usize,
    next: AtomicUsize,
    done: watch::Sender<usize>,
    /// The server's address, which changes when it restarts.
    addresses: watch::Receiver<String>,
    started: Instant,
}

/// A post, and what its client knows about it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) author: usize,
    pub(crate) conversation: usize,
    pub(crate) key: Option<Uuid>,
    /// The messages in its responses.
    pub(crate) stored: Vec<Value>,
    /// The number of responses that were lost.
    pub(crate) interrupted: usize,
    /// True if the first response was a replay.
    replayed: bool,
}

/// The response to a post, after all repeats that were necessary.
#[derive(Clone, Debug, Default)]
struct Answer {
    message: Option<Value>,
    interrupted: usize,
    replayed: bool,
}

impl Crowd {
    pub(crate) async fn prepare(posts: usize, addresses: watch::Receiver<String>) -> Arc<Self> {
        let (client, url) = (Client::new(), addresses.borrow().clone());
        let create = async |path: &str, body: Value| {
            let request = client.post(format!("{url}/{path}")).json(&body);
            let response = request.send().await.expect("a response");
            let created = response.error_for_status().expect("201").json::<Value>().await;
            created.expect("JSON")["id"].as_str().expect("an id").to_owned()
        };
        let (mut authors, mut conversations) = (Vec::new(), Vec::new());
        for number in 0..AUTHORS {
            let body = json!({ "first_name": format!("Author {number}") });
            authors.push(create("profiles", body).await);
        }
        for number in 0..CONVERSATIONS {
            let body = json!({ "subject": format!("{number}"), "author_id": authors[0] });
            conversations.push(create("conversations", body).await);
        }
        let (next, done, started) = (AtomicUsize::new(0), watch::Sender::new(0), Instant::now());
        Arc::new(Self { authors, conversations, client, posts, next, done, addresses, started })
    }

    /// Waits until this number of posts is done.
    pub(crate) async fn progress(&self, posts: usize) {
        self.done.subscribe().wait_for(|done| *done >= posts).await.expect("clients");
    }

    /// Lets `clients` clients post until all is posted.
    pub(crate) async fn post(self: &Arc<Self>, clients: usize) -> Vec<Sent> {
        let mut work = JoinSet::new();
        for _ in 0..clients {
            let crowd = self.clone();
            work.spawn(async move {
                let mut sent = Vec::new();
                loop {
                    let number = crowd.next.fetch_add(1, Ordering::Relaxed);
                    if number >= crowd.posts {
                        return sent;
                    }
                    sent.push(crowd.post_one(number).await);
                    crowd.done.send_modify(|done| *done += 1);
                }
            });
        }
        work.join_all().await.into_iter().flatten().collect()
    }

    /// Posts. Every second post has a key. Some of those are sent twice concurrently, and some
    /// again after the response.
    async fn post_one(&self, number: usize) -> Sent {
        let mut post = Sent {
            name: format!("Post {number}"),
            author: fastrand::usize(..AUTHORS),
            conversation: fastrand::usize(..CONVERSATIONS),
            key: number.is_multiple_of(2).then(Uuid::new_v4),
            stored: Vec::new(),
            interrupted: 0,
            replayed: false,
        };
        let answers = match number % 8 {
            2 => <[_; 2]>::from(tokio::join!(self.send(&post), self.send(&post))).to_vec(),
            4 => vec![self.send(&post).await, self.send(&post).await],
            _ => vec![self.send(&post).await],
        };
        post.replayed = answers[0].replayed;
        if answers.len() == 2 && answers.iter().all(|answer| answer.interrupted == 0) {
            let replays = answers.iter().filter(|answer| answer.replayed).count();
            assert_eq!(replays, 1, "one of two responses is a replay: {post:?}");
        }
        for answer in answers {
            post.stored.extend(answer.message);
            post.interrupted += answer.interrupted;
        }
        post
    }

    /// Sends a post until it is answered. Without a key it is not repeated after a lost response,
    /// because it may be stored.
    async fn send(&self, post: &Sent) -> Answer {
        let mut answer = Answer::default();
        let mut addresses = self.addresses.clone();
        loop {
            let path = format!("conversations/{}/messages", self.conversations[post.conversation]);
            let url = format!("{}/{path}", *addresses.borrow_and_update());
            let (author, name) = (&self.authors[post.author], &post.name);
            let body = json!({ "author_id": author, "text": name, "metadata": { "name": name } });
            let mut request = self.client.post(url).json(&body);
            if let Some(key) = post.key {
                request = request.header("idempotency-key", key.to_string());
            }
            let received = async {
                let response = request.send().await?;
                let status = response.status();
                let replayed = response.headers().contains_key("idempotency-replayed");
                Ok::<_, reqwest::Error>((status, replayed, response.json::<Value>().await?))
            };
            match received.await {
                Ok((StatusCode::CREATED, replayed, message)) => {
                    (answer.message, answer.replayed) = (Some(message), replayed);
                    return answer;
                }
                // Nothing was stored.
                Ok((StatusCode::SERVICE_UNAVAILABLE, ..)) => {}
                Ok((status, _, problem)) => panic!("{status} {problem}"),
                Err(error) => {
                    answer.interrupted += 1;
                    let restarted = timeout(Duration::from_secs(60), addresses.changed()).await;
                    let restarted = matches!(restarted, Ok(Ok(())));
                    assert!(restarted, "the server is gone, but was not killed: {error}");
                    if post.key.is_none() {
                        return answer;
                    }
                }
            }
        }
    }

    /// Describes the run in one line.
    pub(crate) fn summary(&self, sent: &[Sent]) -> String {
        let count = |of: fn(&Sent) -> bool| sent.iter().filter(|post| of(post)).count();
        format!(
            "{:.0} posts/s, {} with a key; {} posts lost a response, {} of them had a key, and {} \
             of those were stored already.",
            sent.len() as f64 / self.started.elapsed().as_secs_f64(),
            count(|post| post.key.is_some()),
            count(|post| post.interrupted > 0),
            count(|post| post.interrupted > 0 && post.key.is_some()),
            count(|post| post.interrupted > 0 && post.replayed),
        )
    }
}
