//! The smoke test passes on a working service and fails on a broken one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use axum::routing::post;
use local::authorizer::Authorizer;
use shared::Time;
use smoke_test::journey::{self, Limits};
use smoke_test::report::Report;
use smoke_test::sign_in::SignIn;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use tests::service::{Api, Value, engine_endpoint, json, new_table};

/// Runs the journey without a token.
async fn run_journey(url: &str, limits: Limits) -> Report {
    let url = url.to_owned();
    spawn_blocking(move || journey::run(&url, None, limits, |_| {})).await.expect("a report")
}

async fn run(api: &Api) -> Report {
    run_journey(api.url(), Limits::default()).await
}

/// Runs the journey as the Lambda function does. Returns its failure.
async fn sign_in_and_run(url: &str, sign_in: &SignIn) -> Option<String> {
    let deadline = Instant::now() + Duration::from_secs(58);
    smoke_test::run(url, Some(sign_in), deadline).await.failure
}

fn metrics_of(report: &Report) -> Value {
    serde_json::from_str(&report.to_metrics("chat")).expect("one line of JSON")
}

#[tokio::test]
async fn the_smoke_test_passes_on_a_working_service() {
    let api = Api::start().await;
    let report = run(&api).await;
    assert_eq!(report.failure, None);
    let mut names: Vec<&str> = report.steps.iter().map(|step| step.name).collect();
    names.dedup();
    let expected = [
        "create-profile",
        "create-conversation",
        "create-message",
        "congratulation",
        "replay",
        "list-messages",
        "mark-read",
        "list-memberships",
        "update-message",
        "get-profile",
        "delete-conversation",
        "delete-profile",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn the_metrics_list_each_step_once_with_the_duration_of_each_repetition() {
    let report = run(&Api::start().await).await;
    let metrics = metrics_of(&report);
    assert_eq!((&metrics["Passed"], &metrics["Stack"]), (&json!(1), &json!("chat")));
    // Lambda takes a line without a valid timestamp for INFO, and drops it at a higher log level.
    let timestamp = metrics["timestamp"].as_str().expect("a timestamp").to_owned();
    Time::try_from(timestamp).expect("RFC 3339");
    assert_eq!(metrics["level"], "FATAL");
    let declared = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("metrics");
    let mut names: Vec<&str> =
        declared.iter().map(|metric| metric["Name"].as_str().expect("a name")).collect();
    for name in names.iter().filter(|name| **name != "Passed") {
        let durations = metrics[name].as_array().unwrap_or_else(|| panic!("{name}: {metrics}"));
        assert_eq!(durations.len(), if *name == "create-message" { 9 } else { 1 }, "{name}");
        assert!(durations.iter().all(Value::is_number), "{name}: {metrics}");
    }
    assert_eq!(names.len(), 13, "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 13, "a name is declared once: {declared:?}");
}

#[tokio::test]
async fn the_smoke_test_reports_the_failed_step_and_deletes_what_it_created() {
    let (mut template, table) = new_table(&engine_endpoint().await).await;
    template.routes.retain(|route| route.function != "update-message");
    let api = Api::serve(&template, table).await;
    let report = run(&api).await;
    assert_eq!(report.failure.as_deref(), Some("update-message: status 404: Not Found"));
    assert_eq!(metrics_of(&report)["Passed"], 0);
    assert_nothing_is_left(&api).await;

    let unreachable = run(&Api::connect("http://127.0.0.1:1")).await;
    assert!(unreachable.failure.is_some_and(|failure| failure.starts_with("create-profile: ")));
}

#[tokio::test]
async fn a_step_that_times_out_leaves_nothing_behind() {
    tokio::join!(
        lose_one_response(Method::POST, "/profiles", "create-profile: timeout"),
        lose_one_response(Method::POST, "/conversations", "create-conversation: timeout"),
        lose_one_response(Method::PATCH, "/messages/1", "update-message: timeout"),
        lose_one_response(Method::DELETE, "/conversations/", ""),
    );
}

/// Runs the journey without the response to one request, and checks the failure and the cleanup.
async fn lose_one_response(method: Method, path: &'static str, expected: &str) {
    let limits = Limits { request: Duration::from_secs(2), ..Limits::default() };
    let api = Api::start_isolated().await;
    let url = proxy_that_loses_a_response(&api, method.clone(), path).await;
    let failure = run_journey(&url, limits).await.failure.unwrap_or_default();
    assert!(failure.starts_with(expected) && !failure.contains(';'), "{method}: {failure}");
    assert_eq!(failure.is_empty(), expected.is_empty(), "{method}: {failure}");
    assert_nothing_is_left(&api).await;
}

#[tokio::test]
async fn the_report_and_the_cleanup_are_in_time_for_the_end_of_the_invocation() {
    let api = Api::start_isolated().await;
    let url = proxy_that_loses_a_response(&api, Method::PATCH, "/messages/1").await;
    // Less than the limit of one request.
    let deadline = Instant::now() + Duration::from_secs(9);
    let report = timeout_at(deadline, smoke_test::run(&url, None, deadline)).await;
    let failure = report.expect("a report").failure.unwrap_or_default();
    assert!(failure.starts_with("update-message: timeout"), "{failure}");
    assert_nothing_is_left(&api).await;
}

#[tokio::test]
async fn a_run_deletes_what_an_interrupted_run_of_the_same_client_left_over() {
    let authorizer = Authorizer::generate().expect("a key");
    let [smoke, ada] = ["smoke", "ada"].map(|subject| {
        let lifetime = Duration::from_secs(3600);
        authorizer.token(subject, "chat/read chat/write", lifetime).expect("a token")
    });
    let (template, table) = new_table(&engine_endpoint().await).await;
    let api = Api::serve_authenticated(Arc::new(authorizer), &template, table).await;
    let run = async |token: &str, limits| {
        let (url, token) = (api.url().to_owned(), token.to_owned());
        let run = move || journey::run(&url, Some(&token), limits, |_| {});
        spawn_blocking(run).await.expect("a report").failure
    };
    // Returns how many profiles and conversations the clients have.
    let left = async || {
        let mut left = [0; 2];
        for token in [&smoke, &ada] {
            let list = async |path: &str| {
                let headers = [("authorization", format!("Bearer {token}"))];
                let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
                let page = api.send("GET", path, &headers, "").await.expect(200);
                page["results"].as_array().cloned().expect("results")
            };
            for profile in list("/profiles?owner=me").await {
                let id = profile["id"].as_str().expect("an id");
                left[0] += 1;
                left[1] += list(&format!("/profiles/{id}/conversations")).await.len();
            }
        }
        left
    };
    let limits = Limits::default();
    for token in [&smoke, &ada] {
        let failure = run(token, Limits { cleanup: Duration::ZERO, ..limits }).await;
        let expected = "delete-conversation: out of time; delete-profile: out of time";
        assert_eq!(failure.as_deref(), Some(expected));
    }
    assert_eq!(run(&smoke, limits).await, None);
    assert_eq!(left().await, [2; 2], "a run may be in progress");
    let limits = Limits { run: Duration::ZERO, ..limits };
    assert_eq!(run(&smoke, limits).await, None);
    assert_eq!(left().await, [1; 2], "another client's are left");
    assert_eq!(run(&ada, limits).await, None);
    assert_eq!(left().await, [0; 2]);
}

async fn assert_nothing_is_left(api: &Api) {
    assert_eq!(api.get("/profiles").await.expect(200)["results"], json!([]));
    assert_eq!(api.get("/conversations").await.expect(200)["results"], json!([]));
}

/// Starts a proxy in front of `api` that forwards every request and never returns the response to
/// the first one with this method whose path contains `path`. Returns its URL.
async fn proxy_that_loses_a_response(api: &Api, method: Method, path: &'static str) -> String {
    let (client, target) = (reqwest::Client::new(), api.url().to_owned());
    let lost = Arc::new(AtomicBool::new(false));
    let forward = move |request: Request| {
        let (client, target, method, lost) =
            (client.clone(), target.clone(), method.clone(), lost.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("a body");
            let loses = parts.method == method
                && parts.uri.path().contains(path)
                && !lost.swap(true, Ordering::Relaxed);
            let url = format!("{target}{}", parts.uri);
            let request = client.request(parts.method, url).headers(parts.headers).body(body);
            let response = request.send().await.expect("a response");
            if loses {
                std::future::pending::<()>().await;
            }
            let (status, headers) = (response.status(), response.headers().clone());
            let mut forwarded = Response::new(Body::from(response.bytes().await.expect("a body")));
            (*forwarded.status_mut(), *forwarded.headers_mut()) = (status, headers);
            forwarded
        }
    };
    listen(Router::new().fallback(forward)).await
}

/// Serves `app` on a port of its own. Returns the URL.
async fn listen(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Starts a Secrets Manager with this secret, and a token endpoint for the client `smoke` with the
/// password `s3cret/`. `issued` counts the tokens. Returns the URL of both.
async fn issuer(secret: Value, authorizer: Arc<Authorizer>, issued: Arc<AtomicU32>) -> String {
    let secrets = post(move |request: Request| async move {
        assert_eq!(request.headers()["x-amz-target"], "secretsmanager.GetSecretValue");
        json!({ "SecretString": secret.to_string() }).to_string()
    });
    let tokens = post(move |headers: HeaderMap, form: String| async move {
        assert_eq!(form, "grant_type=client_credentials&scope=chat%2Fread+chat%2Fwrite");
        // RFC 6749, section 2.3.1: each part is form-encoded, then both are base64-encoded:
        // `smoke:s3cret%2F`.
        if headers["authorization"] != "Basic c21va2U6czNjcmV0JTJG" {
            return (StatusCode::BAD_REQUEST, json!({ "error": "invalid_client" }).to_string());
        }
        issued.fetch_add(1, Ordering::Relaxed);
        let token = authorizer
            .token("smoke", "chat/read chat/write", Duration::from_secs(3600))
            .expect("a token");
        (
            StatusCode::OK,
            json!({ "access_token": token, "expires_in": 3600, "token_type": "Bearer" })
                .to_string(),
        )
    });
    listen(Router::new().route("/", secrets).route("/oauth2/token", tokens)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smoke_test_signs_in_once_and_reuses_its_token() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let (template, table) = new_table(&engine_endpoint().await).await;
    let api = Api::serve_authenticated(authorizer.clone(), &template, table).await;
    let failure = run(&api).await.failure.expect("a token is required");
    assert_eq!(failure, "create-profile: status 401: Unauthorized");

    let issued = Arc::new(AtomicU32::new(0));
    let secret = json!({ "client_id": "smoke", "client_secret": "s3cret/" });
    let url = issuer(secret, authorizer.clone(), issued.clone()).await;
    let sign_in = SignIn::with_endpoint(&url, "arn", &format!("{url}/oauth2/token"));
    for _ in 0..2 {
        assert_eq!(sign_in_and_run(api.url(), &sign_in).await, None);
        assert_eq!(issued.load(Ordering::Relaxed), 1, "the token is still valid");
    }
    // The token may be the cause of a failure.
    sign_in_and_run("http://127.0.0.1:1", &sign_in).await.expect("unreachable");
    assert_eq!(sign_in_and_run(api.url(), &sign_in).await, None);
    assert_eq!(issued.load(Ordering::Relaxed), 2);

    let wrong = json!({ "client_id": "smoke", "client_secret": "canary" });
    let url = issuer(wrong, authorizer, issued).await;
    for (sign_in, expected) in [
        (
            SignIn::with_endpoint(&url, "arn", &format!("{url}/oauth2/token")),
            "sign-in: token endpoint: status 400 invalid_client",
        ),
        (
            SignIn::with_endpoint(&url, "arn", &format!("{url}/nothing")),
            "sign-in: token endpoint: status 404, not JSON",
        ),
        (
            SignIn::with_endpoint(&format!("{url}/nothing"), "arn", &url),
            "sign-in: Secrets Manager: ",
        ),
    ] {
        let failure = sign_in_and_run(api.url(), &sign_in).await.expect("no token");
        assert!(failure.starts_with(expected) && !failure.contains("canary"), "{failure}");
    }
}
