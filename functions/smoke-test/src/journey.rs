//! The journey of a user, step by step.
//!
//! A profile and a private conversation are created; ten messages are posted, and the tenth brings a
//! congratulation; a POST is repeated with its idempotency key; messages are listed and marked as
//! read; the inbox shows that; a message is edited.
//! Afterwards the conversation and the profile are deleted, also if a step failed or timed out. If the
//! process ends before that, a later run deletes them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Post, Response};
use crate::leftovers::{JOB_TITLE, SUBJECT, delete_leftovers};
use crate::report::{Report, Step};

/// The longest durations.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One request.
    pub request: Duration,
    /// All steps before the cleanup.
    pub steps: Duration,
    /// The cleanup.
    pub cleanup: Duration,
    /// A run in progress. What an earlier one created is left over when it is older.
    pub run: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10), // The timeout of the service's functions.
            steps: Duration::from_secs(20),
            cleanup: Duration::from_secs(15),
            run: Duration::from_secs(10 * 60),
        }
    }
}

impl Limits {
    /// Returns limits with which the journey and its cleanup end before `deadline`. A third of the
    /// time is for the cleanup.
    #[must_use]
    pub fn until(deadline: tokio::time::Instant) -> Self {
        let defaults = Self::default();
        let remaining = deadline.saturating_duration_since(tokio::time::Instant::now());
        let cleanup = defaults.cleanup.min(remaining / 3);
        Self { steps: defaults.steps.min(remaining - cleanup), cleanup, ..defaults }
    }
}

/// Runs the journey at `url` and calls `on_step` after each step that succeeds.
///
/// `token` is the access token, if the service requires one.
pub fn run(
    url: &str,
    token: Option<&str>,
    limits: Limits,
    mut on_step: impl FnMut(&Step),
) -> Report {
    let client = Client::new(url, token, limits.request);
    let mut journey =
        Journey { client, steps: Vec::new(), on_step: &mut on_step, created: Vec::new() };
    journey.client.start(limits.steps);
    let mut failures: Vec<String> = journey.run_steps().err().into_iter().collect();
    journey.client.start(limits.cleanup);
    failures.extend(journey.clean_up());
    // Without authentication every resource is everyone's.
    if failures.is_empty() && token.is_some() {
        let deleted = delete_leftovers(&journey.client, limits.run);
        failures.extend(deleted.err().map(|reason| format!("delete-leftovers: {reason}")));
    }
    Report { steps: journey.steps, failure: (!failures.is_empty()).then(|| failures.join("; ")) }
}

struct Journey<'j> {
    client: Client<'j>,
    steps: Vec<Step>,
    on_step: &'j mut dyn FnMut(&Step),
    /// The resources to delete, the last one first.
    created: Vec<Created>,
}

/// A resource that exists, or may exist.
struct Created {
    /// The name of the step that deletes it.
    deletion: &'static str,
    /// The request that created it.
    post: Post,
    /// Its path; `None` if the response to `post` is missing.
    location: Option<String>,
}

impl Journey<'_> {
    fn run_steps(&mut self) -> Result<(), String> {
        let profile = json!({
            "first_name": "Smoke", "last_name": "Test", "job_title": JOB_TITLE,
        });
        let profile =
            self.create("create-profile", "delete-profile", Post::new("/profiles", profile))?;
        let author = &profile.body["id"];
        // Only this client sees it.
        let conversation =
            json!({ "subject": SUBJECT, "author_id": author, "visibility": "private" });
        let conversation = self.create(
            "create-conversation",
            "delete-conversation",
            Post::new("/conversations", conversation),
        )?;
        let messages = format!("{}/messages", conversation.location);
        self.post_messages(&messages, author)?;
        self.step("list-messages", |client| {
            let page = client.send("GET", &format!("{messages}?after=0"))?.expect_status(200)?;
            let results = page.body["results"].as_array().into_iter().flatten();
            let seqs: Vec<&Value> = results.map(|message| &message["seq"]).collect();
            expect("seqs", &json!(seqs), &json!((1..=11).collect::<Vec<u64>>()))
        })?;
        self.step("mark-read", |client| {
            let id = author.as_str().unwrap_or_default();
            let path = format!("{}/members/{id}/read", conversation.location);
            let member = client.put(&path, &json!({ "seq": 11 }))?.expect_status(200)?;
            expect("unread", &member.body["unread"], &json!(0))
        })?;
        self.step("list-memberships", |client| {
            let path = format!("{}/conversations", profile.location);
            let inbox = client.send("GET", &path)?.expect_status(200)?;
            let entry = &inbox.body["results"][0];
            expect("conversation", &entry["conversation_id"], &conversation.body["id"])?;
            expect("read_seq", &entry["read_seq"], &json!(11))
        })?;
        self.step("update-message", |client| {
            let edit = json!({ "text": "Edited" });
            let edited = client.patch(&format!("{messages}/1"), &edit)?.expect_status(200)?;
            expect("text", &edited.body["text"], &edit["text"])
        })?;
        self.step("get-profile", |client| {
            let profile = client.send("GET", &profile.location)?.expect_status(200)?;
            expect("points", &profile.body["points"], &json!(10))
        })
    }

    /// Posts ten messages, checks the congratulation after the tenth, and repeats the last POST.
    fn post_messages(&mut self, path: &str, author: &Value) -> Result<(), String> {
        let message = |number: u64| {
            Post::new(path, json!({ "author_id": author, "text": format!("Message {number}") }))
        };
        for number in 1..10 {
            let posted = self.step("create-message", |client| {
                client.post(&message(number))?.expect_status(201)
            })?;
            expect("points", &posted.body["points"], &json!(number))?;
            expect("reward", &posted.body["reward"], &Value::Null)?;
        }
        let tenth = message(10);
        let posted =
            self.step("congratulation", |client| client.post(&tenth)?.expect_status(201))?;
        expect("points of the reward", &posted.body["reward"]["points"], &json!(10))?;
        expect("seq of the reward", &posted.body["reward"]["seq"], &json!(11))?;
        self.step("replay", |client| {
            let replay = client.post(&tenth)?.expect_status(201)?;
            expect("replayed", &json!(replay.replayed), &json!(true))?;
            expect("replayed message", &replay.body, &posted.body)
        })
    }

    /// Creates a resource and records it for the cleanup.
    fn create(
        &mut self,
        name: &'static str,
        deletion: &'static str,
        post: Post,
    ) -> Result<Response, String> {
        let mut refused = false;
        let response = self.step(name, |client| {
            let response = client.post(&post)?;
            refused = response.status < 500 && response.status != 201;
            response.expect_status(201)
        });
        if !refused {
            let location = response.as_ref().ok().map(|response| response.location.clone());
            self.created.push(Created { deletion, post, location });
        }
        response
    }

    /// Deletes everything that was created. Returns the steps that failed, with their reasons.
    fn clean_up(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        while let Some(created) = self.created.pop() {
            let deleted = self.step(created.deletion, |client| {
                let location = match created.location {
                    Some(location) => Some(location),
                    None => find_location(client, &created.post)?,
                };
                location.map_or(Ok(()), |location| delete(client, &location))
            });
            failures.extend(deleted.err());
        }
        failures
    }

    /// Runs one step, measures it and reports it. An error begins with the step's name.
    fn step<T>(
        &mut self,
        name: &'static str,
        action: impl FnOnce(&Client<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let started = Instant::now();
        let result = action(&self.client).map_err(|reason| format!("{name}: {reason}"))?;
        let step = Step { name, duration: started.elapsed() };
        (self.on_step)(&step);
        self.steps.push(step);
        Ok(result)
    }
}

/// Finds a resource whose creation got no response: repeats the POST with its idempotency key.
/// Returns `None` if the service refuses the POST.
fn find_location(client: &Client<'_>, post: &Post) -> Result<Option<String>, String> {
    let response = client.post(post)?;
    Ok((response.status == 201).then_some(response.location))
}

/// Deletes a resource and checks that it is gone. Repeats a DELETE that fails once.
fn delete(client: &Client<'_>, path: &str) -> Result<(), String> {
    let deleted = client.send("DELETE", path).and_then(|response| response.expect_status(204));
    if deleted.is_err() {
        let repeated = client.send("DELETE", path)?;
        // The first DELETE may have succeeded although its response was lost.
        if repeated.status != 404 {
            repeated.expect_status(204)?;
        }
    }
    client.send("GET", path)?.expect_status(404).map(drop)
}

fn expect(what: &str, found: &Value, expected: &Value) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, found {found}"))
    }
}
