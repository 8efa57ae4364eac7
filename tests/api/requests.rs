//! Requests that are refused before a handler runs, and the responses of the gateway itself.

use lambda_http::RequestExt;

use tests::service::{Api, json};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let api = Api::start().await;
    for body in ["", "{", "{\"first_name\":}", "'x'", "\u{feff}{}", "{} {}", "NaN"] {
        api.send("POST", "/profiles", &[JSON], body).await.expect_code(400, "malformed");
    }
    let open = "[".repeat(10_000);
    api.send("POST", "/profiles", &[JSON], open).await.expect_code(400, "malformed");
    let lone_surrogate = api.send("POST", "/profiles", &[JSON], r#"{"first_name":"\ud800"}"#).await;
    assert_eq!(lone_surrogate.invalid_fields(), ["first_name"]);
}

/// Needs a service of its own: `cargo lambda watch` answers such a body with a 500.
#[tokio::test]
async fn a_body_that_is_not_utf_8_is_refused() {
    let api = Api::start_isolated().await;
    let body = b"{\"first_name\":\"\xff\"}".to_vec();
    api.send("POST", "/profiles", &[JSON], body).await.expect_code(400, "malformed");
}

#[tokio::test]
async fn a_body_of_another_media_type_is_refused() {
    let api = Api::start().await;
    let body = r#"{"first_name":"Ada"}"#;
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "application/jsonp",
        "application/merge-patch+json",
    ] {
        let headers = [("content-type", media_type)];
        api.send("POST", "/profiles", &headers, body).await.problem(415);
    }
    api.send("POST", "/profiles", &[], body).await.problem(415);
    for media_type in
        ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
    {
        let headers = [("content-type", media_type)];
        api.send("POST", "/profiles", &headers, body).await.expect(201);
    }
    let path = format!("/profiles/{}", api.profile("Ada").await);
    for media_type in ["text/plain", "application/json-patch+json"] {
        api.send("PATCH", &path, &[("content-type", media_type)], "{}").await.problem(415);
    }
    api.send("PATCH", &path, &[], "{}").await.problem(415);
    for media_type in ["application/json", "application/merge-patch+json; charset=utf-8"] {
        api.send("PATCH", &path, &[("content-type", media_type)], "{}").await.expect(200);
    }
}

#[tokio::test]
async fn a_body_over_96_kib_is_refused() {
    let api = Api::start().await;
    let body = |length: usize| format!("{}{}", r#"{"first_name":"Ada"}"#, " ".repeat(length - 20));
    api.send("POST", "/profiles", &[JSON], body(96 * 1024)).await.expect(201);
    api.send("POST", "/profiles", &[JSON], body(96 * 1024 + 1)).await.problem(413);
    let path = format!("/profiles/{}", api.profile("Ada").await);
    let merge_patch = ("content-type", "application/merge-patch+json");
    api.send("PATCH", &path, &[merge_patch], body(96 * 1024)).await.expect(200);
    api.send("PATCH", &path, &[merge_patch], body(96 * 1024 + 1)).await.problem(413);
}

#[tokio::test]
async fn a_malformed_id_is_refused() {
    let api = Api::start().await;
    for id in [
        "x",
        "1",
        "%00",
        "%C3%A9",
        "..%2Fprofiles",
        "01890a5dac96774bbcceb302099a8057",
        "%3Flimit=1",
        "a%20b",
        "%FF",
    ] {
        for path in ["/profiles/", "/conversations/"] {
            api.get(&format!("{path}{id}")).await.problem(400);
            api.delete(&format!("{path}{id}")).await.problem(400);
        }
        api.get(&format!("/conversations/{id}/messages")).await.problem(400);
    }
}

#[tokio::test]
async fn the_gateway_answers_requests_without_a_route() {
    let api = Api::start_isolated().await;
    for (method, path) in [
        ("GET", "/nothing"),
        ("PUT", "/profiles"),
        ("DELETE", "/profiles"),
        ("POST", "/profiles/01890a5d-ac96-774b-bcce-b302099a8057"),
        ("GET", "/profiles/"),
        ("GET", "//profiles"),
        ("GET", "/conversations/x/messages/"),
        ("GET", "/Profiles"),
        ("OPTIONS", "/profiles"),
    ] {
        let response = api.send(method, path, &[], "").await;
        assert_eq!(response.expect(404), json!({ "message": "Not Found" }), "{method} {path}");
        assert_eq!(response.header("content-type"), "application/json");
    }
    api.send("HEAD", "/profiles", &[], "").await.expect_status(404);
}

#[tokio::test]
async fn the_gateway_refuses_a_body_over_10_mib() {
    let api = Api::start_isolated().await;
    let body = vec![b' '; 10 * 1024 * 1024 + 1];
    let response = api.send("POST", "/profiles", &[JSON], body).await;
    assert_eq!(response.expect(413), json!({ "message": "Request Entity Too Large" }));
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    let api = Api::start().await;
    let created = api.post("/profiles", &json!({ "first_name": "Ada" })).await;
    let path = created.header("location").to_owned();
    let responses =
        [api.get(&path).await, api.get("/profiles/x").await, api.delete(&path).await, created];
    for response in responses {
        assert_eq!(response.header("x-content-type-options"), "nosniff");
        assert_eq!(response.header("cache-control"), "no-store");
        assert_eq!(response.header("referrer-policy"), "no-referrer");
        assert!(response.header("strict-transport-security").starts_with("max-age="));
    }
}

/// Covers events with an invalid Host, or with a header that is not ASCII.
#[tokio::test]
async fn headers_that_no_handler_reads_may_have_any_value() {
    let api = Api::start_isolated().await;
    let hosts = [
        "a b",
        "x:99999",
        "1.2.3.4.5",
        "999.999.999.999",
        "a.0",
        "a.0.",
        "localhost.0x",
        "0x7g",
        "xn--",
        "XN--A",
        "a.xn--zn7c.com",
    ];
    for host in hosts {
        // API Gateway may pass it on; the development server does not.
        let event = json!({
            "version": "2.0", "rawPath": "/profiles", "rawQueryString": "",
            "headers": { "host": host },
            "requestContext": {
                "domainName": host, "http": { "method": "GET", "path": "/profiles" },
                "stage": "$default",
            },
        });
        assert!(functions::http::event::parse(&event.to_string()).is_ok(), "{host}");
    }
    for (name, value) in [("x-forwarded-proto", ":"), ("user-agent", "é"), ("cookie", "a=💥")] {
        api.send("GET", "/profiles", &[(name, value)], "").await.expect(200);
    }
}

#[tokio::test]
async fn query_parameters_are_read_even_if_the_query_is_invalid_in_a_url() {
    for (query, name, value) in
        [("limit=5", "limit", "5"), ("limit=\"5\"", "limit", "\"5\""), ("<é>#=a b", "<é>#", "a b")]
    {
        let event = json!({
            "version": "2.0", "rawPath": "/profiles", "rawQueryString": query, "headers": {},
            "requestContext": {
                "http": { "method": "GET", "path": "/profiles" }, "stage": "$default",
            },
        });
        let request = functions::http::event::parse(&event.to_string()).expect("a request");
        assert_eq!(request.query_string_parameters().first(name), Some(value), "{query}");
    }
}

/// `tests/real-binaries` runs this against the real binaries, and searches their logs for `canary`.
#[tokio::test]
async fn a_canary_is_posted_and_refused() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}/messages");
    api.say(&id, &author_id, "canary").await;
    let with_key = [JSON, ("x-canary", "canary"), ("idempotency-key", "canary")];
    for (body, status) in [(r#"{"canary":1}"#, 422), (r#"{"canary"#, 400)] {
        api.send("POST", &path, &with_key, body).await.problem(status);
        api.send("POST", &path, &[JSON], body).await.problem(status);
    }
    api.get("/profiles?canary=canary").await.problem(400);
}
