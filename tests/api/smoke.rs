//! The smoke test passes on a working service and fails on a broken one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use local::authorizer::Authorizer;
use smoke_test::sign_in::SignIn;
use smoke_test::{Report, run};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use tests::service::{Api, Value, engine_endpoint, json, new_table};

async fn walk(api: &Api) -> Report {
    let url = api.url().to_owned();
    spawn_blocking(move || run(&url, None, |_| {})).await.expect("a report")
}

#[tokio::test]
async fn the_smoke_test_passes_on_a_working_service() {
    let api = Api::start().await;
    let report = walk(&api).await;
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
        "update-message",
        "get-profile",
        "delete-conversation",
        "delete-profile",
    ];
    assert_eq!(names, expected);
    let metrics: Value =
        serde_json::from_str(&report.to_metrics("chat")).expect("one line of JSON");
    assert_eq!((&metrics["Passed"], &metrics["Stack"]), (&json!(1), &json!("chat")));
    let declared = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("metrics");
    assert!(
        declared.iter().all(|metric| metrics[metric["Name"].as_str().expect("a name")].is_number()),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_smoke_test_reports_the_failed_step_and_deletes_what_it_created() {
    let (mut template, table) = new_table(&engine_endpoint().await).await;
    template.routes.retain(|route| route.function != "update-message");
    let api = Api::serve(&template, table).await;
    let report = walk(&api).await;
    assert_eq!(report.failure.as_deref(), Some("update-message: answered 404 Not Found"));
    assert_eq!(api.get("/profiles").await.expect(200)["results"], json!([]));
    assert_eq!(api.get("/conversations").await.expect(200)["results"], json!([]));
    let metrics: Value =
        serde_json::from_str(&report.to_metrics("chat")).expect("one line of JSON");
    assert_eq!(metrics["Passed"], 0);

    let unreachable = walk(&Api::connect("http://127.0.0.1:1")).await;
    assert!(unreachable.failure.is_some_and(|failure| failure.starts_with("create-profile: ")));
}

/// Starts a Secrets Manager with this secret, and a token endpoint for the client `smoke` with the
/// password `s3cret/`, which counts the tokens in `issued`. Returns the address of both.
async fn issuer(secret: Value, authorizer: Arc<Authorizer>, issued: Arc<AtomicU32>) -> String {
    let secrets = post(move |request: Request| async move {
        assert_eq!(request.headers()["x-amz-target"], "secretsmanager.GetSecretValue");
        json!({ "SecretString": secret.to_string() }).to_string()
    });
    let tokens = post(move |headers: HeaderMap, form: String| async move {
        assert_eq!(form, "grant_type=client_credentials&scope=chat%2Fread+chat%2Fwrite");
        // RFC 6749, section 2.3.1: form-encoded `smoke:s3cret%2F`, in base64.
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
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = Router::new().route("/", secrets).route("/oauth2/token", tokens);
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smoke_test_signs_in_once_and_reuses_its_token() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let (template, table) = new_table(&engine_endpoint().await).await;
    let api = Api::serve_authenticated(authorizer.clone(), &template, table).await;
    let failure = walk(&api).await.failure.expect("it has no token");
    assert_eq!(failure, "create-profile: answered 401 Unauthorized");

    let issued = Arc::new(AtomicU32::new(0));
    let secret = json!({ "client_id": "smoke", "client_secret": "s3cret/" });
    let url = issuer(secret, authorizer.clone(), issued.clone()).await;
    let sign_in = SignIn::at(&url, "arn", &format!("{url}/oauth2/token"));
    for _ in 0..2 {
        assert_eq!(smoke_test::walk(api.url(), Some(&sign_in)).await.failure, None);
        assert_eq!(issued.load(Ordering::Relaxed), 1, "the token is reused");
    }
    // A failed run may have failed because of its token, so the next run requests a new one.
    smoke_test::walk("http://127.0.0.1:1", Some(&sign_in)).await.failure.expect("unreachable");
    assert_eq!(smoke_test::walk(api.url(), Some(&sign_in)).await.failure, None);
    assert_eq!(issued.load(Ordering::Relaxed), 2);

    let wrong = json!({ "client_id": "smoke", "client_secret": "canary" });
    let url = issuer(wrong, authorizer, issued).await;
    for (sign_in, expected) in [
        (
            SignIn::at(&url, "arn", &format!("{url}/oauth2/token")),
            "sign-in: the token: answered 400 invalid_client",
        ),
        (
            SignIn::at(&url, "arn", &format!("{url}/nothing")),
            "sign-in: the token: answered 404, not in JSON",
        ),
        (SignIn::at(&format!("{url}/nothing"), "arn", &url), "sign-in: the secret: "),
    ] {
        let failure = smoke_test::walk(api.url(), Some(&sign_in)).await.failure.expect("no token");
        assert!(failure.starts_with(expected) && !failure.contains("canary"), "{failure}");
    }
}
