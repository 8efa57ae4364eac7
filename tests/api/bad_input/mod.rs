//! Generated events and requests: none causes a panic or a 5xx, a refused one stores nothing, and
//! no header is echoed.
//!
//! `PROPTEST_CASES` sets how many are generated. A failure shows the smallest failing case and the
//! seed.

mod generate;

use std::env;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use dynoxide::Database;
use functions::http::Auth;
use lambda_http::{Context, RequestExt};
use local::template::Template;
use local::{Gateway, engine};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use shared::Table;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use tests::service::{Api, Value, json, parse_template};

/// A part of every generated header, and of no response.
const MARK: &str = "zq9zq9";

/// A service with some resources, and its database.
struct Service {
    template: Template,
    table: Table,
    database: Database,
    profile_id: String,
    conversation_id: String,
}

/// A response, from the gateway or from a function.
struct Response<'r> {
    status: StatusCode,
    headers: &'r HeaderMap,
    body: &'r [u8],
}

impl Service {
    async fn start() -> Self {
        let template = parse_template();
        let database = engine::open(None).expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = engine::serve(listener, database.clone()).expect("an engine");
        let table = Table::connect(&endpoint, "chat");
        table.create(&template.table).await.expect("a table");
        let api = Api::serve(&template, table.clone()).await;
        let (profile_id, conversation_id) = api.profile_and_conversation().await;
        for _ in 0..10 {
            api.say(&conversation_id, &profile_id, "x").await;
        }
        Self { template, table, database, profile_id, conversation_id }
    }

    /// Returns every stored item.
    fn stored(&self) -> Vec<String> {
        let mut items = Vec::new();
        let mut request = json!({ "TableName": "chat" });
        loop {
            let scan = serde_json::from_value(request.clone()).expect("a request");
            let page = json!(self.database.scan(scan).expect("a page"));
            items.extend(page["Items"].as_array().expect("items").iter().map(Value::to_string));
            match page.get("LastEvaluatedKey") {
                Some(key) if !key.is_null() => request["ExclusiveStartKey"] = key.clone(),
                _ => return items,
            }
        }
    }

    /// Checks what holds for every response; `stored` was in the table before the request.
    fn check(
        &self,
        method: &str,
        stored: &[String],
        response: &Response<'_>,
    ) -> Result<(), TestCaseError> {
        let Response { status, headers, body } = response;
        let text = String::from_utf8_lossy(body);
        prop_assert!(!status.is_server_error(), "{status} {text}");
        if status.is_client_error() || method == "GET" {
            prop_assert!(self.stored() == stored, "{status}, but something was stored");
        }
        let echoed = text.contains(MARK) || format!("{headers:?}").contains(MARK);
        prop_assert!(!echoed, "a header is echoed: {headers:?} {text}");
        if status.is_client_error() {
            let problem: Value = serde_json::from_slice(body).unwrap_or_default();
            let media_type = HeaderValue::from_static("application/problem+json");
            prop_assert_eq!(headers.get("content-type"), Some(&media_type), "{}", text);
            prop_assert_eq!(&problem["status"], status.as_u16());
            prop_assert_eq!(&problem["type"], "about:blank");
            for member in ["title", "detail", "code", "request_id"] {
                prop_assert!(problem[member].is_string(), "{}: {}", member, text);
            }
            let listed = problem["errors"].as_object().is_some_and(|errors| !errors.is_empty());
            prop_assert_eq!(listed, problem["code"] == "invalid", "{}", text);
        }
        Ok(())
    }
}

/// Checks a property of `PROPTEST_CASES` generated values. Every 200 cases it starts a new service,
/// so that the table stays small.
fn check_all<S: Strategy>(
    strategy: impl Fn(&Service) -> S,
    property: impl Fn(&Runtime, &Service, S::Value) -> Result<(), TestCaseError>,
) {
    const CASES_PER_SERVICE: u32 = 200;
    let runtime = Runtime::new().expect("a runtime");
    let seed = env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut left = Config::default().cases;
    for seed in seed.unwrap_or_else(|| fastrand::u64(..)).. {
        let cases = left.min(CASES_PER_SERVICE);
        let rng_seed = RngSeed::Fixed(seed);
        let config = Config { cases, failure_persistence: None, rng_seed, ..Config::default() };
        left -= cases;
        let service = runtime.block_on(Service::start());
        let checked = TestRunner::new(config)
            .run(&strategy(&service), |case| property(&runtime, &service, case));
        if let Err(error) = checked {
            panic!("{error}\nRepeat with: PROPTEST_RNG_SEED={seed} cargo test -p tests bad_input");
        }
        if left == 0 {
            return;
        }
    }
}

#[test]
fn no_event_causes_a_5xx_and_a_refused_event_stores_nothing() {
    check_all(Service::event, |runtime, service, (route, event, open)| {
        runtime.block_on(async {
            let stored = service.stored();
            let request = functions::http::event::parse(&event.to_string());
            let request = request.map_err(|error| TestCaseError::fail(error.to_string()))?;
            let request = request.with_lambda_context(Context::default());
            let auth = if open { Auth::Open } else { Auth::Jwt };
            let response = local::invoke(&route.function, &service.table, auth, request).await;
            let (parts, body) = response.expect("a function").into_parts();
            let (status, headers) = (parts.status, &parts.headers);
            service.check(&route.method, &stored, &Response { status, headers, body: &body })
        })
    });
}

#[test]
fn no_request_causes_a_5xx_and_a_refused_request_stores_nothing() {
    check_all(Service::request, |runtime, service, (method, path, headers, body)| {
        let table = service.table.clone();
        let gateway = Gateway::new(&service.template, table, Auth::Open).expect("a gateway");
        let mut request = Request::builder().method(&*method).uri(path);
        for (name, value) in &headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            // No HTTP server accepts the others.
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
                request = request.header(name, value);
            }
        }
        let Ok(request) = request.body(Body::from(body)) else {
            return Err(TestCaseError::reject("not HTTP"));
        };
        runtime.block_on(async {
            let stored = service.stored();
            let (parts, body) = gateway.answer(request).await.into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("a body");
            // The gateway answers a path with an empty parameter, which has no route.
            if parts.status == 404 && body == r#"{"message":"Not Found"}"# {
                return Ok(());
            }
            let (status, headers) = (parts.status, &parts.headers);
            service.check(&method, &stored, &Response { status, headers, body: &body })
        })
    });
}
