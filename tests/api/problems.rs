//! The code and the text of every error.

use std::time::Duration;

use tests::clock::Clock;
use tests::recorder::{Fault, Recorder};
use tests::service::{Api, Response, Setup, Value, embedded_engine, json};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Words of Rust's JSON parser, which tell a client nothing.
const JARGON: [&str; 6] = ["sequence", "map", "invalid type", ", expected", "struct", " at line "];

/// Returns every text that a client reads in a problem.
fn texts(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_object().into_iter().flat_map(|errors| errors.values());
    let errors = errors.flat_map(|errors| errors.as_array().expect("a list"));
    errors.chain([&problem["detail"]]).map(|text| text.as_str().expect("a text")).collect()
}

#[tokio::test]
async fn every_client_error_has_a_stable_code_and_says_what_to_do() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for _ in 0..10 {
        api.say(&id, &author_id, "x").await;
    }
    let (message, reward) =
        (format!("/conversations/{id}/messages/1"), format!("/conversations/{id}/messages/11"));
    api.delete(&message).await.expect(204);
    let edit = json!({ "text": "x" });
    let text = ("content-type", "text/plain");
    let large = " ".repeat(96 * 1024 + 1);
    for (response, status, code, advice) in [
        (api.send("POST", "/profiles", &[JSON], "{").await, 400, "malformed", "is not JSON"),
        (api.get("/profiles/x").await, 400, "malformed", "must be a UUID such as"),
        (api.get("/profiles?limit=0").await, 400, "malformed", "from 1 to 100"),
        (api.get("/profiles?page=2").await, 400, "malformed", "Known: limit, before"),
        (api.get("/profiles?limit=1&limit=1").await, 400, "malformed", "limit once"),
        (api.get(&format!("/profiles/{UNKNOWN}")).await, 404, "not_found", "no such profile"),
        (api.patch(&message, &edit).await, 409, "message_deleted", "cannot be edited"),
        (api.delete(&reward).await, 409, "congratulation", "edited or deleted"),
        (api.send("POST", "/profiles", &[JSON], large).await, 413, "too_large", "at most 98304"),
        (
            api.send("POST", "/profiles", &[text], "{}").await,
            415,
            "media_type",
            "as application/json",
        ),
        (api.post("/profiles", &json!({})).await, 422, "invalid", "fields listed in errors"),
    ] {
        let problem = response.expect_code(status, code);
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(advice) && detail.ends_with('.'), "{problem}");
    }
}

#[tokio::test]
async fn the_two_422s_of_a_post_differ_by_their_code() {
    let api = Api::start().await;
    let key = uuid::Uuid::new_v4().to_string();
    let post = |name: &str| {
        let (api, key, body) = (api.clone(), key.clone(), json!({ "first_name": name }));
        async move { api.post_with_key("/profiles", &key, &body).await }
    };
    post("Ada").await.expect(201);
    let reused = post("Bob").await.expect_code(422, "idempotency_key_reused");
    assert!(reused.get("errors").is_none(), "{reused}");
    assert!(reused["detail"].to_string().contains("If this is a new request, use a new key"));
    let invalid = post("").await.expect_code(422, "invalid");
    assert!(invalid["errors"]["first_name"].is_array(), "{invalid}");
}

#[tokio::test]
async fn an_invalid_value_says_what_it_must_be() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}/messages");
    let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(32), "]".repeat(32));
    for (field, value, reason) in [
        ("text", "[]", "must be a string"),
        ("text", "{}", "must be a string"),
        ("text", "5", "must be a string"),
        ("text", "null", "must be a string"),
        ("text", "\" \"", "must not be blank"),
        ("text", "\"\"", "must have 1 to 5000 characters, has 0"),
        ("text", "\"\\ud800\"", "must be valid JSON: "),
        ("author_id", "7", "must be a string"),
        ("author_id", "\"x\"", "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057"),
        ("metadata", "[]", "must be a JSON object"),
        ("metadata", "\"{}\"", "must be a JSON object"),
        ("metadata", "null", "must be a JSON object"),
        ("metadata", "{\"n\":1e400}", "must be valid JSON: number out of range"),
        ("metadata", "{\"a\":1,\"a\":2}", "must not have two members named \"a\""),
        ("metadata", &nested, "must not be nested more deeply than 32 levels"),
        ("colour", "1", "is unknown or read-only"),
    ] {
        let mut members = vec![("author_id", format!("\"{author_id}\"")), ("text", "\"x\"".into())];
        members.retain(|(name, _)| *name != field);
        members.push((field, value.to_owned()));
        let members = members.iter().map(|(name, value)| format!("\"{name}\":{value}"));
        let body = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        let problem = api.send("POST", &path, &[JSON], body).await.expect_code(422, "invalid");
        let errors = problem["errors"][field].as_array().unwrap_or_else(|| panic!("{problem}"));
        let [error] = errors.as_slice() else { panic!("{problem}") };
        assert!(error.as_str().expect("a text").starts_with(reason), "{value}: {problem}");
        assert_eq!(problem["errors"].as_object().map(serde_json::Map::len), Some(1), "{problem}");
        for text in texts(&problem) {
            assert!(!JARGON.iter().any(|word| text.contains(word)), "{text}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_an_object_is_reported_as_such() {
    let api = Api::start().await;
    for body in ["[]", "\"x\"", "1", "null", "true"] {
        let problem =
            api.send("POST", "/profiles", &[JSON], body).await.expect_code(422, "invalid");
        assert_eq!(problem["errors"], json!({ "body": ["must be a JSON object"] }), "{body}");
    }
}

#[tokio::test]
async fn a_duplicate_field_is_refused() {
    let api = Api::start().await;
    let path = format!("/profiles/{}", api.profile("Ada").await);
    for body in [
        r#"{"first_name":"A","first_name":"B"}"#,
        r#"{"first_name":"A","first_name":"A"}"#,
        r#"{"first_name":"A","\u0066irst_name":"B"}"#,
    ] {
        for (method, path) in [("POST", "/profiles"), ("PATCH", &path)] {
            let problem = api.send(method, path, &[JSON], body).await.expect_code(422, "invalid");
            assert_eq!(problem["errors"], json!({ "first_name": ["is given more than once"] }));
        }
    }
    assert_eq!(api.get(&path).await.expect(200)["first_name"], "Ada");
}

#[tokio::test]
async fn every_problem_has_the_id_of_its_request() {
    let api = Api::start().await;
    let (one, other) = (api.get("/profiles/x").await, api.get("/profiles/x").await);
    let id = |response: &Response| response.problem(400)["request_id"].to_string();
    assert_ne!(id(&one), id(&other));
}

#[tokio::test]
async fn a_failure_of_the_table_has_a_code_that_says_what_is_stored() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let setup = Setup::new().engine(&recorder.endpoint).timeout(Duration::from_secs(3));
    let api = setup.start().await.api;
    let ada = json!({ "first_name": "Ada" });
    for (fault, status, code, advice) in [
        (Fault::Refused("ThrottlingException"), 503, "unavailable", "has stored nothing"),
        (Fault::ResponseLost, 500, "outcome_unknown", "Repeat it with the same Idempotency-Key"),
        (Fault::Refused("ValidationException"), 500, "internal", "request_id"),
    ] {
        recorder.inject(move |_, _| fault.clone());
        let problem = api.post("/profiles", &ada).await.expect_code(status, code);
        assert!(problem["detail"].to_string().contains(advice), "{problem}");
    }
}

#[tokio::test]
async fn a_repeat_for_a_deleted_resource_says_that_it_was_deleted() {
    let clock = Clock::default();
    let api = Setup::new().clock(&clock).start().await.api;
    let ada = json!({ "first_name": "Ada" });
    let created = api.post_with_key("/profiles", "key", &ada).await;
    api.delete(created.header("location")).await.expect(204);
    clock.advance(Duration::from_secs(11));
    let problem = api.post_with_key("/profiles", "key", &ada).await.expect_code(410, "gone");
    assert!(problem["detail"].to_string().contains("has been deleted"), "{problem}");
}
