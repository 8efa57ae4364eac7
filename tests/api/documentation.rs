//! What people and tools read about the API: the pages, their files, and the OpenAPI document.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;
use local::template::{TEMPLATE, Template};

use tests::service::{Api, Response, Value, json};

/// What a browser asks for.
const BROWSER: (&str, &str) =
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The paths that a page loads by itself.
fn loaded_by(page: &str) -> Vec<&str> {
    let tags = page.split('<').filter(|tag| tag.starts_with("script") || tag.starts_with("link"));
    let values = tags.flat_map(|tag| tag.split([' ', '>']));
    let values = values.filter_map(|attribute| {
        attribute.strip_prefix("src=\"").or(attribute.strip_prefix("href=\""))
    });
    values
        .filter_map(|value| value.strip_suffix('"'))
        .filter(|value| !value.starts_with("data:"))
        .collect()
}

#[track_caller]
fn assert_careful(answer: &Response) {
    assert_eq!(answer.header("content-security-policy"), POLICY);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("vary"), "Accept, Accept-Encoding");
}

#[tokio::test]
async fn a_browser_gets_a_page_and_everyone_else_the_index() {
    let api = Api::start_isolated().await;
    for accept in [
        BROWSER.1,
        "text/html",
        "text/*",
        "application/json;q=0.5, text/html;q=0.6",
        "TEXT/HTML ; Q=1, */*;q=0.9",
    ] {
        let answer = api.send("GET", "/", &[("accept", accept)], "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{accept}"
        );
        assert!(answer.text.starts_with("<!doctype html>"), "{accept}");
        assert_careful(&answer);
    }
    for accept in [
        "*/*",
        "application/json",
        "text/html;q=0.5, application/json",
        "text/html;q=0, */*",
        "image/png",
        "",
    ] {
        let answer = api.send("GET", "/", &[("accept", accept)], "").await;
        let index = json!({
            "profiles": "/profiles",
            "conversations": "/conversations",
            "documentation": "/docs",
            "openapi": "/openapi.json",
        });
        assert_eq!(answer.expect(200), index, "{accept:?}");
        assert_eq!(answer.header("content-type"), "application/json", "{accept:?}");
        assert_careful(&answer);
        for path in index.as_object().expect("an object").values() {
            api.get(path.as_str().expect("a path")).await.expect_status(200);
        }
    }
}

#[tokio::test]
async fn a_page_is_served_with_everything_that_it_loads_and_nothing_from_elsewhere() {
    let api = Api::start_isolated().await;
    for (page, least) in [("/", 4), ("/docs", 3)] {
        let answer = api.send("GET", page, &[BROWSER], "").await;
        let paths = loaded_by(&answer.text);
        assert!(paths.len() >= least, "{page} loads {paths:?}");
        for path in paths {
            let file = api.get(path).await;
            file.expect_status(200);
            let expected = if path.ends_with(".css") {
                "text/css; charset=utf-8"
            } else {
                "text/javascript; charset=utf-8"
            };
            assert_eq!(file.header("content-type"), expected, "{path}");
            assert_careful(&file);
            let imports = file.text.lines().filter(|line| line.starts_with("import "));
            for import in imports.filter_map(|line| line.split('"').nth(1)?.strip_prefix("./")) {
                api.get(&format!("/assets/{import}")).await.expect_status(200);
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found() {
    let api = Api::start_isolated().await;
    for path in [
        "/assets/none.js",
        "/docs/none",
        "/assets/index.html",
        "/docs/..%2Fopenapi.json",
        "/docs/swagger-ui.js",
    ] {
        api.get(path).await.problem(404);
    }
}

#[tokio::test]
async fn a_client_that_has_a_file_is_not_sent_it_again() {
    let api = Api::start_isolated().await;
    for path in ["/", "/assets/app.js", "/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"] {
        let tag = api.get(path).await.header("etag").to_owned();
        assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        for same in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let answer = api.send("GET", path, &[("if-none-match", &same)], "").await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (304, ""), "{path}");
            assert_eq!(answer.header("etag"), tag);
            assert_careful(&answer);
        }
        let gzip = api
            .send("GET", path, &[("accept-encoding", "gzip")], "")
            .await
            .header("etag")
            .to_owned();
        assert_ne!(gzip, tag, "a strong tag belongs to one encoding");
        for other in [&gzip, "\"other\"", tag.trim_matches('"')] {
            api.send("GET", path, &[("if-none-match", other)], "").await.expect_status(200);
        }
    }
    let page = api.send("GET", "/", &[BROWSER], "").await;
    assert_ne!(page.header("etag"), api.get("/").await.header("etag"));
}

#[tokio::test]
async fn a_client_that_reads_gzip_gets_it() {
    let api = Api::start_isolated().await;
    for path in ["/", "/assets/app.css", "/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"] {
        let plain = api.get(path).await;
        assert_eq!(plain.header("content-encoding"), "");
        for accepted in ["gzip", "br, gzip;q=0.5", "*", "GZIP"] {
            let answer = api.send("GET", path, &[("accept-encoding", accepted)], "").await;
            assert_eq!(answer.header("content-encoding"), "gzip", "{path} {accepted}");
            let mut text = String::new();
            GzDecoder::new(answer.bytes.as_slice()).read_to_string(&mut text).expect("gzip");
            assert!(text == plain.text, "{path} {accepted}");
        }
        for accepted in ["identity", "gzip;q=0", "br", "gzip;q=0, *"] {
            let answer = api.send("GET", path, &[("accept-encoding", accepted)], "").await;
            assert_eq!(answer.header("content-encoding"), "", "{path} {accepted}");
        }
        // API Gateway passes on answers of up to 6 MB, in base64.
        assert!(plain.text.len() * 4 / 3 < 6_000_000, "{path} is too large for Lambda");
    }
}

#[tokio::test]
async fn the_documentation_is_public_where_everything_else_is_not() {
    let api = Api::closed().await;
    for path in ["/", "/assets/app.css", "/docs", "/openapi.json"] {
        api.get(path).await.expect_status(200);
    }
    api.get("/profiles").await.problem(401);
}

/// The OpenAPI document.
async fn document(api: &Api) -> Value {
    api.get("/openapi.json").await.expect(200)
}

/// What a reference within the document stands for.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(value, |pointer| {
        document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not there"))
    })
}

#[tokio::test]
async fn the_document_has_exactly_the_routes_of_the_template() {
    let document = document(&Api::start_isolated().await).await;
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().expect("operations").iter().map(move |(method, operation)| {
            (
                operation["operationId"].as_str().expect("an id").replace('_', "-"),
                method.to_uppercase(),
                path.clone(),
            )
        })
    });
    let routes = Template::parse(TEMPLATE).expect("the template").routes.into_iter();
    // The documentation does not document itself.
    let routes = routes.filter(|route| route.function != "get-documentation");
    let routes: BTreeSet<_> =
        routes.map(|route| (route.function, route.method, route.path)).collect();
    assert_eq!(
        operations.collect::<BTreeSet<_>>(),
        routes,
        "openapi.json (left) and template.yaml (right)"
    );
}

#[tokio::test]
async fn the_document_refers_to_nothing_that_it_does_not_have() {
    fn check(document: &Value, value: &Value) {
        resolved(document, value);
        if let Some(operation) = value.get("operationId").filter(|_| value.get("summary").is_none())
        {
            let paths = document["paths"].as_object().expect("paths").values();
            let mut operations =
                paths.flat_map(|item| item.as_object().expect("operations").values());
            assert!(
                operations.any(|other| other["operationId"] == *operation),
                "a link to {operation}"
            );
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|value| check(document, value)),
            Value::Array(values) => values.iter().for_each(|value| check(document, value)),
            _ => {}
        }
    }
    let document = document(&Api::start_isolated().await).await;
    assert_eq!(document["openapi"], "3.1.0");
    check(&document, &document);
}

#[tokio::test]
async fn every_operation_tells_its_errors_with_their_bodies_and_its_headers() {
    let document = document(&Api::start_isolated().await).await;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{name}");
            assert_eq!(
                operation.get("requestBody").is_some(),
                ["post", "patch"].contains(&method.as_str()),
                "{name}"
            );
            let responses = operation["responses"].as_object().expect("responses");
            let mut expected = vec!["400", "401", "403", "413", "429", "500", "503"];
            expected.extend(path.contains('{').then_some("404"));
            expected.extend((method == "post").then_some("410"));
            expected.extend(
                ["post", "patch"]
                    .contains(&method.as_str())
                    .then_some(["415", "422"])
                    .into_iter()
                    .flatten(),
            );
            expected.extend((path.ends_with("{seq}") && method != "get").then_some("409"));
            let refused: BTreeSet<&str> =
                responses.keys().map(String::as_str).filter(|status| *status >= "400").collect();
            assert_eq!(refused, expected.into_iter().collect(), "{name}");
            for (status, response) in responses {
                let response = resolved(&document, response);
                assert!(
                    !response["description"].as_str().unwrap_or_default().is_empty(),
                    "{name} {status}"
                );
                assert!(response.get("content").is_none_or(Value::is_object), "{name} {status}");
                let bodies: Vec<&str> = response["content"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(media_type, _)| media_type.as_str())
                    .collect();
                let expected: &[&str] = match status.as_str() {
                    "204" => &[],
                    "200" | "201" | "429" => &["application/json"],
                    "401" | "403" | "404" | "413" | "500" | "503" => {
                        &["application/json", "application/problem+json"]
                    }
                    _ => &["application/problem+json"],
                };
                assert_eq!(bodies, expected, "{name} {status}");
            }
            assert_eq!(
                operation["responses"]["201"]["headers"]["Location"].is_object(),
                method == "post",
                "{name}"
            );
            let keyed = operation["parameters"].as_array().into_iter().flatten();
            let keyed = keyed
                .map(|parameter| &resolved(&document, parameter)["name"])
                .any(|name| name == "Idempotency-Key");
            assert_eq!(keyed, method == "post", "{name}");
        }
    }
    assert!(document["components"]["responses"]["503"]["headers"]["Retry-After"].is_object());
}

/// What an example and a real answer have in common: everything but ids and times.
fn told(value: &Value, ids: &[(&str, &str)]) -> Value {
    let mut text = value.to_string();
    for (id, name) in ids {
        text = text.replace(id, name);
    }
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    fn without_times(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name.ends_with("_at") => *text = "a time".into(),
                        value => without_times(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(without_times),
            _ => {}
        }
    }
    without_times(&mut value);
    value
}

#[tokio::test]
async fn the_examples_are_requests_and_answers_as_they_really_are() {
    let api = Api::start_isolated().await;
    let document = document(&api).await;
    let json_of = |path: &str, method: &str, part: &str| {
        document
            .pointer(&format!(
                "/paths/{}/{method}/{part}/content/application~1json/example",
                path.replace('/', "~1")
            ))
            .cloned()
    };
    let (profile_path, conversation_path) =
        ("/profiles/{profile_id}", "/conversations/{conversation_id}");
    let messages_path = "/conversations/{conversation_id}/messages";
    let message_path = "/conversations/{conversation_id}/messages/{seq}";
    let request =
        |path: &str, method: &str| json_of(path, method, "requestBody").expect("an example");

    let ada = api.post("/profiles", &request("/profiles", "post")).await.expect(201);
    let ada_id = ada["id"].as_str().expect("an id");
    let in_example =
        json_of("/profiles", "post", "responses/201").expect("an example")["id"].clone();
    let in_example = in_example.as_str().expect("an id");
    let real = |body: Value| -> Value {
        serde_json::from_str(&body.to_string().replace(in_example, ada_id)).expect("JSON")
    };
    let opened =
        api.post("/conversations", &real(request("/conversations", "post"))).await.expect(201);
    let engines_id = opened["id"].as_str().expect("an id");
    let engines_in_example =
        json_of("/conversations", "post", "responses/201").expect("an example")["id"].clone();
    let ids = [
        (ada_id, "Ada's id"),
        (in_example, "Ada's id"),
        (engines_id, "the conversation's id"),
        (engines_in_example.as_str().expect("an id"), "the conversation's id"),
    ];
    let compare = |path: &str, method: &str, status: u16, answer: &Value| {
        let example = json_of(path, method, &format!("responses/{status}")).expect("an example");
        assert_eq!(
            told(&example, &ids),
            told(answer, &ids),
            "{method} {path}: the example (left) and the answer (right)"
        );
    };
    compare("/profiles", "post", 201, &ada);
    compare("/conversations", "post", 201, &opened);

    let (profile, conversation) =
        (format!("/profiles/{ada_id}"), format!("/conversations/{engines_id}"));
    let messages = format!("{conversation}/messages");
    let message = real(request(messages_path, "post"));
    api.post(&messages, &message).await.expect(201);
    compare(conversation_path, "get", 200, &api.get(&conversation).await.expect(200));
    compare("/conversations", "get", 200, &api.get("/conversations").await.expect(200));
    let change = request(conversation_path, "patch");
    compare(conversation_path, "patch", 200, &api.patch(&conversation, &change).await.expect(200));
    for _ in 2..10 {
        api.post(&messages, &message).await.expect(201);
    }
    compare(messages_path, "post", 201, &api.post(&messages, &message).await.expect(201));
    compare(messages_path, "get", 200, &api.get(&format!("{messages}?limit=2")).await.expect(200));
    compare(message_path, "get", 200, &api.get(&format!("{messages}/10")).await.expect(200));
    let change = request(message_path, "patch");
    compare(
        message_path,
        "patch",
        200,
        &api.patch(&format!("{messages}/10"), &change).await.expect(200),
    );
    compare("/profiles", "get", 200, &api.get("/profiles").await.expect(200));
    compare(profile_path, "get", 200, &api.get(&profile).await.expect(200));
    compare(
        profile_path,
        "patch",
        200,
        &api.patch(&profile, &request(profile_path, "patch")).await.expect(200),
    );

    let refused = |status: &str| {
        &document["components"]["responses"][status]["content"]["application/problem+json"]["example"]
    };
    assert_eq!(api.get("/profiles?limit=0").await.problem(400), *refused("400"));
    assert_eq!(Api::closed().await.get("/profiles").await.problem(401), *refused("401"));
    assert_eq!(
        api.post("/profiles", &json!({ "first_name": "" })).await.problem(422),
        *refused("422")
    );
    assert_eq!(api.send("POST", "/profiles", &[], "").await.problem(415), *refused("415"));
    api.delete(&format!("{messages}/10")).await.expect(204);
    let edit = json!({ "text": "x" });
    assert_eq!(api.patch(&format!("{messages}/10"), &edit).await.problem(409), *refused("409"));
    api.delete(&profile).await.expect(204);
    assert_eq!(api.get(&profile).await.problem(404), *refused("404"));
    let large = api.send("POST", "/profiles", &[], vec![b' '; 96 * 1024 + 1]).await;
    assert_eq!(large.problem(413), *refused("413"));
    assert_eq!(
        api.get("/nothing").await.expect(404),
        document["components"]["responses"]["404"]["content"]["application/json"]["example"]
    );
}
