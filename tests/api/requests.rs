//! What is refused before any resource is looked at, and what the gateway answers by itself.

use lambda_http::RequestExt;

use tests::service::{Api, json};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let api = Api::start().await;
    for body in ["", "{", "{\"first_name\":}", "'x'", "\u{feff}{}", "{} {}", "NaN"] {
        api.send("POST", "/profiles", &[JSON], body).await.problem(400);
    }
    api.send("POST", "/profiles", &[JSON], "[".repeat(10_000)).await.problem(400);
    let lone_surrogate = api.send("POST", "/profiles", &[JSON], r#"{"first_name":"\ud800"}"#).await;
    assert_eq!(lone_surrogate.invalid_fields(), ["first_name"]);
}

/// `cargo lambda watch` answers this by itself, with a 500.
#[tokio::test]
async fn a_body_that_is_not_utf_8_is_refused() {
    let api = Api::own().await;
    api.send("POST", "/profiles", &[JSON], b"{\"first_name\":\"\xff\"}".to_vec())
        .await
        .problem(400);
}

#[tokio::test]
async fn only_json_is_read() {
    let api = Api::start().await;
    let body = r#"{"first_name":"Ada"}"#;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "application/jsonp",
        "application/merge-patch+json",
    ] {
        api.send("POST", "/profiles", &[("content-type", content_type)], body).await.problem(415);
    }
    api.send("POST", "/profiles", &[], body).await.problem(415);
    for content_type in
        ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
    {
        api.send("POST", "/profiles", &[("content-type", content_type)], body).await.with(201);
    }
    let path = format!("/profiles/{}", api.profile("Ada").await);
    for content_type in ["text/plain", "application/json-patch+json"] {
        api.send("PATCH", &path, &[("content-type", content_type)], "{}").await.problem(415);
    }
    api.send("PATCH", &path, &[], "{}").await.problem(415);
    for content_type in ["application/json", "application/merge-patch+json; charset=utf-8"] {
        api.send("PATCH", &path, &[("content-type", content_type)], "{}").await.with(200);
    }
}

#[tokio::test]
async fn a_body_over_96_kib_is_refused() {
    let api = Api::start().await;
    let of = |length: usize| format!("{}{}", r#"{"first_name":"Ada"}"#, " ".repeat(length - 20));
    api.send("POST", "/profiles", &[JSON], of(96 * 1024)).await.with(201);
    api.send("POST", "/profiles", &[JSON], of(96 * 1024 + 1)).await.problem(413);
    let path = format!("/profiles/{}", api.profile("Ada").await);
    let merge_patch = ("content-type", "application/merge-patch+json");
    api.send("PATCH", &path, &[merge_patch], of(96 * 1024)).await.with(200);
    api.send("PATCH", &path, &[merge_patch], of(96 * 1024 + 1)).await.problem(413);
}

#[tokio::test]
async fn an_id_that_is_none_is_refused() {
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
async fn the_gateway_answers_what_no_route_matches() {
    let api = Api::own().await;
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
        let answer = api.send(method, path, &[], "").await;
        assert_eq!(answer.with(404), json!({ "message": "Not Found" }), "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    assert_eq!(api.send("HEAD", "/profiles", &[], "").await.status, 404);
    let too_large = api.send("POST", "/profiles", &[JSON], vec![b' '; 10 * 1024 * 1024 + 1]).await;
    assert_eq!(too_large.with(413), json!({ "message": "Request Entity Too Large" }));
}

#[tokio::test]
async fn every_answer_has_the_headers_of_a_careful_service() {
    let api = Api::start().await;
    let created = api.post("/profiles", &json!({ "first_name": "Ada" })).await;
    let path = created.header("location").to_owned();
    let answers =
        [api.get(&path).await, api.get("/profiles/x").await, api.delete(&path).await, created];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(answer.header("strict-transport-security").starts_with("max-age="));
    }
}

#[tokio::test]
async fn headers_that_nobody_reads_may_be_anything() {
    let api = Api::own().await;
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
    let others = [("x-forwarded-proto", ":"), ("user-agent", "é"), ("cookie", "a=💥")];
    for (name, value) in hosts.map(|host| ("host", host)).into_iter().chain(others) {
        api.send("GET", "/profiles", &[(name, value)], "").await.with(200);
    }
}

#[tokio::test]
async fn an_idempotency_key_that_is_not_ascii_is_not_taken_for_none() {
    let api = Api::own().await;
    let headers = [JSON, ("idempotency-key", "é01890a5d-ac96-774b-bcce-b302099a8057")];
    api.send("POST", "/profiles", &headers, r#"{"first_name":"Ada"}"#).await.problem(400);
    assert_eq!(api.get("/profiles").await.with(200)["results"], json!([]));
}

#[tokio::test]
async fn a_query_that_makes_no_url_is_judged_by_its_parameters() {
    for (query, name, value) in
        [("limit=5", "limit", "5"), ("limit=\"5\"", "limit", "\"5\""), ("<é>#=a b", "<é>#", "a b")]
    {
        let event = json!({
            "version": "2.0", "rawPath": "/profiles", "rawQueryString": query, "headers": {},
            "requestContext": { "http": { "method": "GET", "path": "/profiles" }, "stage": "$default" },
        });
        let request = functions::http::event::parse(&event.to_string()).expect("a request");
        assert_eq!(request.query_string_parameters().first(name), Some(value), "{query}");
    }
}

/// Where the service is made of the real binaries, `tests/real-binaries` looks into their logs for it.
#[tokio::test]
async fn a_canary_is_posted_and_refused() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}/messages");
    api.say(&id, &author_id, "canary").await;
    for body in [r#"{"canary":1}"#, r#"{"canary"#] {
        let answer = api
            .send(
                "POST",
                &path,
                &[JSON, ("x-canary", "canary"), ("idempotency-key", "canary")],
                body,
            )
            .await;
        assert!(answer.status.is_client_error());
        assert!(api.send("POST", &path, &[JSON], body).await.status.is_client_error());
    }
    api.get("/profiles?canary=canary").await.problem(400);
}
