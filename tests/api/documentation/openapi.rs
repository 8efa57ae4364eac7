//! Tests of the OpenAPI document: it matches the service, and its examples are real.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use documentation::openapi;
use functions::operations;
use local::template::Template;

use tests::service::{Api, Response, Value, json};

const CONVERSATION: &str = "/conversations/{conversation_id}";
const MEMBERSHIPS: &str = "/profiles/{profile_id}/conversations";
const MEMBERS: &str = "/conversations/{conversation_id}/members";
const MEMBER: &str = "/conversations/{conversation_id}/members/{profile_id}";
const READ: &str = "/conversations/{conversation_id}/members/{profile_id}/read";
const MESSAGES: &str = "/conversations/{conversation_id}/messages";
const CHANGES: &str = "/conversations/{conversation_id}/changes";
const MESSAGE: &str = "/conversations/{conversation_id}/messages/{seq}";

/// Returns the served document.
async fn document(api: &Api) -> Value {
    api.get("/openapi.json").await.expect(200)
}

/// Returns path, method (in lower case) and description of every operation.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").iter();
            methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

/// Returns the value that a reference within the document points at, or the value itself.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(value, |pointer| {
        document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} does not exist"))
    })
}

/// Returns the names of an operation's parameters in one place: "query" or "header".
fn parameters<'d>(document: &'d Value, operation: &'d Value, place: &str) -> BTreeSet<&'d str> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters = parameters.map(|parameter| resolve(document, parameter));
    let parameters = parameters.filter(|parameter| parameter["in"] == place);
    parameters.map(|parameter| parameter["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn the_committed_document_is_the_generated_one() {
    let served = Api::start_isolated().await.get("/openapi.json").await;
    assert!(
        served.text == openapi::document(),
        "assets/openapi.json is out of date. Run:\n\
         cargo run -p documentation --example openapi > openapi.json && \
         mv openapi.json functions/documentation/assets"
    );
}

#[tokio::test]
async fn the_document_describes_exactly_the_routes_of_the_template() {
    let document = document(&Api::start_isolated().await).await;
    let described = operations(&document).into_iter().map(|(path, method, operation)| {
        let id = operation["operationId"].as_str().expect("an id");
        (id.replace('_', "-"), method.to_uppercase(), path.to_owned())
    });
    let routes = Template::parse().expect("the template").routes.into_iter();
    // The documentation does not describe itself.
    let routes = routes.filter(|route| route.function != documentation::FUNCTION);
    let routes = routes.map(|route| (route.function, route.method, route.path));
    assert_eq!(
        described.collect::<BTreeSet<_>>(),
        routes.collect(),
        "openapi.json (left) and template.yaml (right)"
    );
}

#[tokio::test]
async fn every_operation_documents_the_query_parameters_and_the_scope_that_it_checks() {
    let document = document(&Api::start_isolated().await).await;
    let described: BTreeMap<_, _> = operations(&document)
        .into_iter()
        .map(|(_, _, operation)| (operation["operationId"].as_str().expect("an id"), operation))
        .collect();
    for checked in operations::ALL {
        let operation = described[checked.id];
        let query: BTreeSet<&str> = checked.query.iter().copied().collect();
        assert_eq!(parameters(&document, operation, "query"), query, "{}", checked.id);
        let security = json!([{ "token": [checked.scope] }, { "token": ["chat/admin"] }]);
        assert_eq!(operation["security"], security, "{}", checked.id);
    }
    assert_eq!(described.len(), operations::ALL.len());
}

#[tokio::test]
async fn every_reference_and_link_of_the_document_has_a_target() {
    fn check(document: &Value, value: &Value, ids: &BTreeSet<&str>) {
        resolve(document, value);
        if let Some(links) = value.get("links").and_then(Value::as_object) {
            for link in links.values() {
                assert!(ids.contains(link["operationId"].as_str().expect("an id")), "{link}");
            }
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|value| check(document, value, ids)),
            Value::Array(values) => values.iter().for_each(|value| check(document, value, ids)),
            _ => {}
        }
    }
    let document = document(&Api::start_isolated().await).await;
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document).into_iter();
    let ids = operations.map(|(_, _, operation)| operation["operationId"].as_str().expect("an id"));
    check(&document, &document, &ids.collect());
}

/// Client generators support one media type per body, and dates without a pattern.
#[tokio::test]
async fn every_body_has_one_media_type_and_no_date_has_a_pattern() {
    fn check(value: &Value) {
        if let Some(content) = value.get("content").and_then(Value::as_object) {
            assert_eq!(content.len(), 1, "{value}");
        }
        assert!(value.get("format") != Some(&json!("date-time")) || value.get("pattern").is_none());
        match value {
            Value::Object(fields) => fields.values().for_each(check),
            Value::Array(values) => values.iter().for_each(check),
            _ => {}
        }
    }
    check(&document(&Api::start_isolated().await).await);
}

#[tokio::test]
async fn every_operation_documents_its_errors_bodies_and_headers() {
    let document = document(&Api::start_isolated().await).await;
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let has_body = ["post", "patch", "put"].contains(&method) && path != "/tickets";
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{name}");
        assert_eq!(operation.get("requestBody").is_some(), has_body, "{name}");

        let responses = operation["responses"].as_object().expect("responses");
        let mut expected = BTreeSet::from(["400", "401", "403", "413", "500", "503"]);
        let id = operation["operationId"].as_str().expect("an id");
        expected.extend(path.contains('{').then_some("404"));
        expected.extend((path.ends_with("{seq}") && method != "get").then_some("409"));
        let has_key = method == "post" && has_body;
        expected.extend((has_key || id == "list_changes").then_some("410"));
        let has_version = ["patch", "delete"].contains(&method) && id != "delete_member";
        expected.extend(has_version.then_some("412"));
        expected.extend((id == "create_message").then_some("429"));
        expected.extend(has_body.then_some(["415", "422"]).into_iter().flatten());
        let errors = responses.keys().map(String::as_str).filter(|status| *status >= "400");
        assert_eq!(errors.collect::<BTreeSet<_>>(), expected, "{name}");

        for (status, response) in responses {
            let response = resolve(&document, response);
            let description = response["description"].as_str().expect("a description");
            assert!(!description.is_empty(), "{name} {status}");
            let content = response["content"].as_object().into_iter().flatten();
            let media_types: Vec<_> = content.map(|(media_type, _)| media_type.as_str()).collect();
            let expected: &[&str] = match status.as_str() {
                "204" => &[],
                status if status < "400" => &["application/json"],
                _ => &["application/problem+json"],
            };
            assert_eq!(media_types, expected, "{name} {status}");
        }
        let expected: &[&str] = match method {
            _ if has_key => &["Idempotency-Key"],
            _ if has_version => &["If-Match"],
            _ => &[],
        };
        let headers = parameters(&document, operation, "header");
        assert!(headers.iter().eq(expected), "{name}: {headers:?}");
    }
}

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

#[tokio::test]
async fn the_description_shows_the_body_of_the_gateways_own_errors() {
    let api = Api::start_isolated().await;
    let description = document(&api).await["info"]["description"].to_string();
    let body = api.get("/nothing").await.expect(404);
    assert!(body.as_object().expect("an object").keys().eq(["message"]), "{body}");
    assert!(description.contains(r#"{\"message\": "#), "{description}");
}
