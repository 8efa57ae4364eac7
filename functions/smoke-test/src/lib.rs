//! The smoke test: walks the journey of a user through the public URL, and times each step.

pub mod sign_in;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};
use uuid::Uuid;

use sign_in::SignIn;

/// A step of the journey that was made.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it did.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// The journey as far as it went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The steps that went well, in order.
    pub steps: Vec<Step>,
    /// The step that did not, and why.
    pub failure: Option<String>,
}

impl Report {
    /// A journey that did not even begin.
    #[must_use]
    pub fn failed(why: String) -> Self {
        Self { failure: Some(why), ..Self::default() }
    }

    /// The report as one line of CloudWatch's embedded metric format. Source:
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
    #[must_use]
    pub fn to_metrics(&self, stack: &str) -> String {
        let mut metrics = vec![json!({ "Name": "Passed", "Unit": "Count" })];
        let mut line = Map::new();
        line.insert("Stack".into(), json!(stack));
        line.insert("Passed".into(), json!(u8::from(self.failure.is_none())));
        line.insert("failure".into(), json!(self.failure));
        for step in &self.steps {
            metrics.push(json!({ "Name": step.name, "Unit": "Milliseconds" }));
            line.insert(step.name.into(), json!(step.took.as_secs_f64() * 1e3));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        line.insert(
            "_aws".into(),
            json!({
                "Timestamp": u64::try_from(now.as_millis()).unwrap_or_default(),
                "CloudWatchMetrics": [{ "Namespace": "Chat/SmokeTest", "Dimensions": [["Stack"]], "Metrics": metrics }],
            }),
        );
        Value::Object(line).to_string()
    }
}

/// Signs in, where that is needed, and walks the journey. After one that failed it signs in anew, in case its token was why.
pub async fn walk(url: &str, sign_in: Option<&SignIn>) -> Report {
    let token = match sign_in {
        Some(sign_in) => match sign_in.token().await {
            Ok(token) => Some(token),
            Err(error) => return Report::failed(format!("sign-in: {error}")),
        },
        None => None,
    };
    let url = url.to_owned();
    let walked = spawn_blocking(move || run(&url, token.as_deref(), |_| {})).await;
    let report = walked.unwrap_or_else(|error| Report::failed(error.to_string()));
    if let (Some(sign_in), Some(_)) = (sign_in, &report.failure) {
        sign_in.forget();
    }
    report
}

/// Walks the journey: a profile, a conversation, ten messages and their congratulation, a repeated key, a poll, an edit; then
/// deletes what it made, also after a failure. Tells each step as it is made. `token` is an access token, where one is needed.
pub fn run(url: &str, token: Option<&str>, mut tell: impl FnMut(&Step)) -> Report {
    let agent = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(15)))
        .http_status_as_error(false)
        .build()
        .new_agent();
    let url = url.trim_end_matches('/');
    let mut walk =
        Walk { agent, url, token, report: Report::default(), tell: &mut tell, made: Vec::new() };
    let journey = walk.journey();
    let cleaned = walk.clean_up();
    walk.report.failure = journey.and(cleaned).err();
    walk.report
}

struct Walk<'w> {
    agent: Agent,
    url: &'w str,
    token: Option<&'w str>,
    report: Report,
    tell: &'w mut dyn FnMut(&Step),
    /// What has to be deleted, and the name of the step that does it; the last first.
    made: Vec<(&'static str, String)>,
}

/// What the service answered.
struct Answer {
    status: u16,
    location: String,
    replayed: bool,
    body: Value,
}

impl Walk<'_> {
    fn journey(&mut self) -> Result<(), String> {
        let profile = json!({ "first_name": "Smoke", "last_name": "Test", "job_title": "Made by the smoke test" });
        let profile =
            self.step("create-profile", |walk| walk.create("/profiles", &profile, Uuid::new_v4()))?;
        self.made.push(("delete-profile", profile.location.clone()));
        let author = &profile.body["id"];

        let conversation = json!({ "subject": "Smoke test", "author_id": author });
        let conversation = self.step("create-conversation", |walk| {
            walk.create("/conversations", &conversation, Uuid::new_v4())
        })?;
        self.made.push(("delete-conversation", conversation.location.clone()));
        let messages = format!("{}/messages", conversation.location);

        let message =
            |number: u64| json!({ "author_id": author, "text": format!("Message {number}") });
        for number in 1..10 {
            let posted = self.step("create-message", |walk| {
                walk.create(&messages, &message(number), Uuid::new_v4())
            })?;
            expect("its points", &posted.body["points"], &json!(number))?;
            expect("its reward", &posted.body["reward"], &Value::Null)?;
        }
        let key = Uuid::new_v4();
        let tenth =
            self.step("congratulation", |walk| walk.create(&messages, &message(10), key))?;
        expect("the points congratulated", &tenth.body["reward"]["points"], &json!(10))?;
        expect("the place of the congratulation", &tenth.body["reward"]["seq"], &json!(11))?;
        self.step("replay", |walk| {
            let repeat = walk.create(&messages, &message(10), key)?;
            expect("whether it is a replay", &json!(repeat.replayed), &json!(true))?;
            expect("the repeated message", &repeat.body, &tenth.body)
        })?;
        self.step("list-messages", |walk| {
            let page = walk.send("GET", &format!("{messages}?after=0"), None, None)?.with(200)?;
            let places: Vec<&Value> = page["results"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|message| &message["seq"])
                .collect();
            expect("the places", &json!(places), &json!((1..=11).collect::<Vec<u64>>()))
        })?;
        self.step("update-message", |walk| {
            let edited = walk
                .send("PATCH", &format!("{messages}/1"), Some(&json!({ "text": "Edited" })), None)?
                .with(200)?;
            expect("the edited text", &edited["text"], &json!("Edited"))
        })?;
        self.step("get-profile", |walk| {
            let profile = walk.send("GET", &profile.location, None, None)?.with(200)?;
            expect("the points", &profile["points"], &json!(10))
        })
    }

    /// Deletes what was made, all of it that can be. Fails with the first thing that could not.
    fn clean_up(&mut self) -> Result<(), String> {
        let mut result = Ok(());
        while let Some((name, path)) = self.made.pop() {
            let deleted = self.step(name, |walk| {
                walk.send("DELETE", &path, None, None)?.with(204)?;
                walk.send("GET", &path, None, None)?.with(404)
            });
            result = result.and(deleted.map(drop));
        }
        result
    }

    fn step<T>(
        &mut self,
        name: &'static str,
        act: impl FnOnce(&Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let started = Instant::now();
        let result = act(self).map_err(|why| format!("{name}: {why}"))?;
        let step = Step { name, took: started.elapsed() };
        (self.tell)(&step);
        self.report.steps.push(step);
        Ok(result)
    }

    fn create(&self, path: &str, body: &Value, key: Uuid) -> Result<Answer, String> {
        let answer = self.send("POST", path, Some(body), Some(key))?;
        if answer.status == 201 { Ok(answer) } else { Err(answer.unexpected()) }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<Uuid>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key.to_string());
        }
        if let Some(token) = self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(body).map_err(|error| error.to_string())?;
        let mut response: Response<Body> =
            self.agent.run(request).map_err(|error| error.to_string())?;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let (location, replayed) = (header("location"), header("idempotency-replayed") == "true");
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
        Ok(Answer {
            status,
            location,
            replayed,
            body: serde_json::from_str(&text).unwrap_or_default(),
        })
    }
}

impl Answer {
    /// The body, if the status is this one.
    fn with(self, status: u16) -> Result<Value, String> {
        if self.status == status { Ok(self.body) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> String {
        let detail =
            self.body["detail"].as_str().or(self.body["message"].as_str()).unwrap_or_default();
        format!("answered {} {detail}", self.status)
    }
}

fn expect(what: &str, found: &Value, expected: &Value) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, found {found}"))
    }
}
