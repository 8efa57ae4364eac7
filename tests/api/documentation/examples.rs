//! Tests of the OpenAPI document: its examples are real, and it documents every error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tests::service::{Api, Response, Value, json};

use super::openapi::{document, resolve};

const CONVERSATION: &str = "/conversations/{conversation_id}";
const MEMBERSHIPS: &str = "/profiles/{profile_id}/conversations";
const MEMBERS: &str = "/conversations/{conversation_id}/members";
const MEMBER: &str = "/conversations/{conversation_id}/members/{profile_id}";
const READ: &str = "/conversations/{conversation_id}/members/{profile_id}/read";
const MESSAGES: &str = "/conversations/{conversation_id}/messages";
const CHANGES: &str = "/conversations/{conversation_id}/changes";
const MESSAGE: &str = "/conversations/{conversation_id}/messages/{seq}";

/// Checks that a successful response has every required header, and no undocumented one.
fn check_headers(document: &Value, path: &str, method: &str, response: &Response) {
    let status = response.status.as_str();
    let documented = &document["paths"][path][method]["responses"][status];
    for (name, header) in documented["headers"].as_object().into_iter().flatten() {
        let required = resolve(document, header)["required"] == true;
        assert!(!required || !response.header(name).is_empty(), "{method} {path}: {name}");
    }
    for name in ["ETag", "Location", "Idempotency-Replayed", "RateLimit", "RateLimit-Policy"] {
        let documented = documented["headers"][name].is_object();
        assert!(documented || response.header(name).is_empty(), "{method} {path}: {name}");
    }
}

/// The story that the examples of an operation's bodies tell, as it happens on a service.
struct Story {
    api: Api,
    document: Value,
    /// The ids in the document, and those on the service.
    ids: Vec<(String, String)>,
}

impl Story {
    /// Returns the example of a request body, with the ids of the service.
    fn request(&self, path: &str, method: &str) -> Value {
        let example = &self.document["paths"][path][method]["requestBody"];
        let mut text = example["content"]["application/json"]["example"].to_string();
        for (documented, real) in &self.ids {
            text = text.replace(documented, real);
        }
        serde_json::from_str(&text).expect("JSON")
    }

    /// Returns the example of a successful response body.
    fn response(&self, path: &str, method: &str) -> Value {
        let responses = &self.document["paths"][path][method]["responses"];
        let response = responses.get("200").unwrap_or(&responses["201"]);
        response["content"]["application/json"]["example"].clone()
    }

    /// Checks that a response equals the example, apart from ids and times.
    fn compare(&self, path: &str, method: &str, response: &Response) {
        let status = if method == "post" { 201 } else { 200 };
        let mut text = response.expect(status).to_string();
        for (documented, real) in &self.ids {
            text = text.replace(real, documented);
        }
        check_headers(&self.document, path, method, response);
        let mut response = serde_json::from_str(&text).expect("JSON");
        let mut example = self.response(path, method);
        hide_times(&mut example);
        hide_times(&mut response);
        assert_eq!(example, response, "{method} {path}: example (left), response (right)");
    }

    /// Creates a resource from the example request, compares, and returns its id.
    async fn create(&mut self, path: &str) -> String {
        let response = self.api.post(path, &self.request(path, "post")).await;
        let id = |body: &Value| body["id"].as_str().expect("an id").to_owned();
        let real = id(&response.expect(201));
        self.ids.push((id(&self.response(path, "post")), real.clone()));
        self.compare(path, "post", &response);
        real
    }

    /// Sends a GET to `url`, and compares the response with the example of `path`.
    async fn get(&self, path: &str, url: &str) {
        self.compare(path, "get", &self.api.get(url).await);
    }

    /// Sends the example of a PUT to `url`, and compares the response.
    async fn put(&self, path: &str, url: &str) {
        let request = self.request(path, "put");
        self.compare(path, "put", &self.api.put(url, &request).await);
    }

    /// Sends the example of a PATCH to `url`, and compares the response.
    async fn patch(&self, path: &str, url: &str) {
        let request = self.request(path, "patch");
        self.compare(path, "patch", &self.api.patch(url, &request).await);
    }
}

fn hide_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name.ends_with("_at") => *text = "a time".into(),
                    value => hide_times(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_times),
        _ => {}
    }
}

#[tokio::test]
async fn every_example_of_a_body_is_a_real_request_or_response() {
    let api = Api::start_isolated().await;
    let document = document(&api).await;
    let mut story = Story { api, document, ids: Vec::new() };
    let profile = format!("/profiles/{}", story.create("/profiles").await);
    let conversation = format!("/conversations/{}", story.create("/conversations").await);
    let messages = format!("{conversation}/messages");
    let message = format!("{messages}/10");

    let post =
        async |story: &Story| story.api.post(&messages, &story.request(MESSAGES, "post")).await;
    post(&story).await.expect(201);
    let profile_id = profile.rsplit('/').next().expect("an id");
    let member = format!("{conversation}/members/{profile_id}");
    story.put(MEMBER, &member).await;
    story.get(MEMBERS, &format!("{conversation}/members")).await;
    story.put(READ, &format!("{member}/read")).await;
    story.get(MEMBERSHIPS, &format!("{profile}/conversations")).await;
    story.get(CONVERSATION, &conversation).await;
    story.get("/conversations", "/conversations").await;
    story.patch(CONVERSATION, &conversation).await;
    for _ in 2..10 {
        post(&story).await.expect(201);
    }
    story.compare(MESSAGES, "post", &post(&story).await);
    story.get(MESSAGES, &format!("{messages}?limit=2")).await;
    story.get(MESSAGE, &message).await;
    story.patch(MESSAGE, &message).await;
    story.get(CHANGES, &format!("{conversation}/changes?after=11.1")).await;
    story.get("/profiles", "/profiles").await;
    story.get("/profiles/{profile_id}", &profile).await;
    story.patch("/profiles/{profile_id}", &profile).await;
}

/// Causes errors on a service. Returns the responses.
async fn errors(api: &Api) -> Vec<Response> {
    let (author, conversation) = api.profile_and_conversation().await;
    let messages = format!("/conversations/{conversation}/messages");
    for number in 1..=10 {
        api.say(&conversation, &author, &format!("Message {number}")).await;
    }
    let (deleted, second) = (format!("{messages}/1"), format!("{messages}/2"));
    api.delete(&deleted).await.expect(204);
    let closed = api.conversation(&author).await;
    let last = json!({ "author_id": author, "text": "The last message" });
    let path = format!("/conversations/{closed}/messages");
    api.post_with_key(&path, "last", &last).await.expect(201);
    api.delete(&format!("/conversations/{closed}")).await.expect(204);
    let (ada, grace) = (json!({ "first_name": "Ada" }), json!({ "first_name": "Grace" }));
    let profile = api.post_with_key("/profiles", "profile", &ada).await.expect(201);
    let profile = format!("/profiles/{}", profile["id"].as_str().expect("an id"));
    api.delete(&profile).await.expect(204);
    let edit = json!({ "text": "Edited" });
    vec![
        api.get("/profiles?limit=0").await,
        Api::closed().await.get("/profiles").await,
        api.get(&profile).await,
        api.patch(&deleted, &edit).await,
        api.delete(&format!("{messages}/11")).await,
        api.post_with_key(&path, "last", &last).await,
        api.get(&format!("/conversations/{conversation}/changes?after=99.0")).await,
        api.send("DELETE", &second, &[("if-match", "\"99\"")], "").await,
        api.send("POST", "/profiles", &[], vec![b' '; 96 * 1024 + 1]).await,
        api.send("POST", "/profiles", &[], "").await,
        api.post("/profiles", &json!({ "first_name": "" })).await,
        api.post_with_key("/profiles", "profile", &grace).await,
    ]
}

/// Returns the documented examples of errors, by code.
fn documented_errors(document: &Value) -> BTreeMap<String, Value> {
    let responses = document["components"]["responses"].as_object().expect("responses").values();
    let examples = responses.filter_map(|response| {
        response["content"]["application/problem+json"]["examples"].as_object()
    });
    let examples = examples.flatten();
    examples.map(|(code, example)| (code.clone(), example["value"].clone())).collect()
}

#[tokio::test]
async fn every_example_of_an_error_is_a_real_response() {
    let api = Api::start_isolated().await;
    let mut examples = documented_errors(&document(&api).await);
    for response in errors(&api).await {
        let mut problem = response.problem(response.status.as_u16());
        let code = problem["code"].as_str().expect("a code").to_owned();
        let example = examples.remove(&code).unwrap_or_else(|| panic!("{code} twice or unknown"));
        problem["request_id"] = example["request_id"].clone();
        assert_eq!(example, problem, "{code}: example (left), response (right)");
    }
    // These need a token, a fault, load or a WebSocket. Their texts are constants.
    let left = [
        "connection_ended",
        "conversation_busy",
        "internal",
        "missing_scope",
        "not_a_member",
        "not_moderator",
        "not_owner",
        "outcome_unknown",
        "rate_limited",
        "too_many_subscriptions",
        "unavailable",
        "void",
    ];
    assert_eq!(examples.into_keys().collect::<Vec<_>>(), left);
}

#[tokio::test]
async fn every_code_in_the_source_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut codes = BTreeSet::new();
    for (file, mark) in
        [("functions/src/http/error.rs", "(StatusCode::"), ("shared/src/error.rs", "=> \"")]
    {
        let source = fs::read_to_string(root.join(file)).expect(file);
        let lines = source.lines().filter(|line| line.contains(mark));
        codes.extend(lines.filter_map(|line| line.split('"').nth(1)).map(str::to_owned));
    }
    let document = document(&Api::start_isolated().await).await;
    assert_eq!(documented_errors(&document).into_keys().collect::<BTreeSet<_>>(), codes);
}
