//! Clients that post as fast as they are answered, some with idempotency keys, and repeat as real clients do.

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

/// The clients, and what they talk about.
pub(crate) struct Crowd {
    pub(crate) authors: Vec<String>,
    pub(crate) conversations: Vec<String>,
    client: Client,
    posts: usize,
    next: AtomicUsize,
    done: watch::Sender<usize>,
    /// Where the server is; another one after a restart.
    addresses: watch::Receiver<String>,
    started: Instant,
}

/// A post, and what its client knows of it.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) text: String,
    pub(crate) author: usize,
    pub(crate) conversation: usize,
    pub(crate) key: Option<Uuid>,
    /// Its place, when an answer told it; otherwise it may be stored, or not.
    pub(crate) seq: Option<u64>,
    /// Whether an answer was lost on the way.
    interrupted: bool,
    /// Whether the answer to the repetition was that of an earlier attempt.
    replayed: bool,
}

impl Crowd {
    pub(crate) async fn prepare(posts: usize, addresses: watch::Receiver<String>) -> Arc<Self> {
        let (client, url) = (Client::new(), addresses.borrow().clone());
        let create = async |path: &str, body: Value| {
            let answer =
                client.post(format!("{url}/{path}")).json(&body).send().await.expect("an answer");
            let created: Value =
                answer.error_for_status().expect("201").json().await.expect("JSON");
            created["id"].as_str().expect("an id").to_owned()
        };
        let (mut authors, mut conversations) = (Vec::new(), Vec::new());
        for number in 0..AUTHORS {
            authors.push(
                create("profiles", json!({ "first_name": format!("Author {number}") })).await,
            );
        }
        for number in 0..CONVERSATIONS {
            conversations.push(
                create(
                    "conversations",
                    json!({ "subject": format!("{number}"), "author_id": authors[0] }),
                )
                .await,
            );
        }
        let (next, done) = (AtomicUsize::new(0), watch::Sender::new(0));
        Arc::new(Self {
            authors,
            conversations,
            client,
            posts,
            next,
            done,
            addresses,
            started: Instant::now(),
        })
    }

    /// Ready when so many posts are done.
    pub(crate) async fn progress(&self, posts: usize) {
        self.done.subscribe().wait_for(|done| *done >= posts).await.expect("clients");
    }

    /// Lets so many clients post until all is posted.
    pub(crate) async fn post(self: &Arc<Self>, clients: usize) -> Vec<Post> {
        let mut work = JoinSet::new();
        for _ in 0..clients {
            let crowd = self.clone();
            work.spawn(async move {
                let mut posts = Vec::new();
                loop {
                    let number = crowd.next.fetch_add(1, Ordering::Relaxed);
                    if number >= crowd.posts {
                        return posts;
                    }
                    posts.push(crowd.post_one(number).await);
                    crowd.done.send_modify(|done| *done += 1);
                }
            });
        }
        work.join_all().await.into_iter().flatten().collect()
    }

    /// Every second post has a key; of those, some are sent twice at once, and some again when they are answered.
    async fn post_one(&self, number: usize) -> Post {
        let mut post = Post {
            text: format!("Post {number}"),
            author: fastrand::usize(..AUTHORS),
            conversation: fastrand::usize(..CONVERSATIONS),
            key: number.is_multiple_of(2).then(Uuid::new_v4),
            seq: None,
            interrupted: false,
            replayed: false,
        };
        let answers = match number % 8 {
            2 => <[_; 2]>::from(tokio::join!(self.send(&post), self.send(&post))).to_vec(),
            4 => vec![self.send(&post).await, self.send(&post).await],
            _ => vec![self.send(&post).await],
        };
        post.seq = answers[0].seq;
        post.interrupted = answers[0].interrupted;
        post.replayed = answers[0].replayed;
        assert!(
            answers.iter().all(|answer| answer.seq == post.seq),
            "one effect for one key: {post:?}"
        );
        if answers.len() == 2 && answers.iter().all(|answer| !answer.interrupted) {
            assert_eq!(
                answers.iter().filter(|answer| answer.replayed).count(),
                1,
                "one of two answers is a repeat: {post:?}"
            );
        }
        post
    }

    /// Sends a post until it is answered. Without a key it is not sent again when an answer is lost: it might be stored.
    async fn send(&self, post: &Post) -> Answer {
        let mut answer = Answer::default();
        let mut addresses = self.addresses.clone();
        loop {
            let path = format!("conversations/{}/messages", self.conversations[post.conversation]);
            let url = format!("{}/{path}", *addresses.borrow_and_update());
            let mut request = self
                .client
                .post(url)
                .json(&json!({ "author_id": self.authors[post.author], "text": post.text }));
            if let Some(key) = post.key {
                request = request.header("idempotency-key", key.to_string());
            }
            let received = async {
                let response = request.send().await?;
                let (status, replayed) =
                    (response.status(), response.headers().contains_key("idempotency-replayed"));
                Ok::<_, reqwest::Error>((status, replayed, response.json::<Value>().await?))
            };
            match received.await {
                Ok((StatusCode::CREATED, replayed, posted)) => {
                    answer.seq = posted["seq"].as_u64();
                    answer.replayed = replayed;
                    return answer;
                }
                // Nothing was written: once more.
                Ok((StatusCode::SERVICE_UNAVAILABLE, ..)) => {}
                Ok((status, _, problem)) => panic!("{status} {problem}"),
                Err(error) => {
                    answer.interrupted = true;
                    let restarted = timeout(Duration::from_secs(60), addresses.changed()).await;
                    assert!(
                        matches!(restarted, Ok(Ok(()))),
                        "the server is gone, and nobody killed it: {error}"
                    );
                    if post.key.is_none() {
                        return answer;
                    }
                }
            }
        }
    }

    /// What the run was, in one line.
    pub(crate) fn summary(&self, posts: &[Post]) -> String {
        let count = |of: fn(&Post) -> bool| posts.iter().filter(|post| of(post)).count();
        format!(
            "{:.0} posts/s, {} with a key; {} answers lost, of which {} were with a key, and {} of those were stored already.",
            posts.len() as f64 / self.started.elapsed().as_secs_f64(),
            count(|post| post.key.is_some()),
            count(|post| post.interrupted),
            count(|post| post.interrupted && post.key.is_some()),
            count(|post| post.interrupted && post.replayed),
        )
    }
}

/// What one client was told of a post.
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    seq: Option<u64>,
    interrupted: bool,
    replayed: bool,
}
