//! Whatever API Gateway sends: never a panic, never a 5xx, nothing stored by a request that was refused, nothing echoed.
//!
//! `PROPTEST_CASES` says how many events and requests are tried; a failure shows the smallest that fails, and the seed.

use std::collections::BTreeMap;
use std::env;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dynoxide::Database;
use functions::http::Auth;
use lambda_http::{Context, RequestExt};
use local::template::{Route, TEMPLATE, Template};
use local::{Gateway, engine};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use proptest::{collection, option};
use shared::Table;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use tests::service::{Api, Value, json};

/// Stands in headers, and in no answer.
const MARK: &str = "zq9zq9";
/// The headers and the line of a request that API Gateway passes on, in bytes.
const MAX_HEAD: usize = 10_240;

/// A service with something in it, and its table.
struct Service {
    template: Template,
    table: Table,
    database: Database,
    profile_id: String,
    conversation_id: String,
}

impl Service {
    async fn start() -> Self {
        let template = Template::parse(TEMPLATE).expect("the template");
        let database = engine::open(None).expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let table =
            Table::connect(&engine::serve(listener, database.clone()).expect("an engine"), "chat");
        table.create(&template.table).await.expect("a table");
        let api = Api::serve(&template, table.clone()).await;
        let (profile_id, conversation_id) = api.profile_and_conversation().await;
        for _ in 0..10 {
            api.say(&conversation_id, &profile_id, "x").await;
        }
        Self { template, table, database, profile_id, conversation_id }
    }

    /// All that is stored.
    fn stored(&self) -> Vec<String> {
        let mut items = Vec::new();
        let mut request = json!({ "TableName": "chat" });
        loop {
            let page = self
                .database
                .scan(serde_json::from_value(request.clone()).expect("a request"))
                .expect("a page");
            let page = serde_json::to_value(page).expect("JSON");
            items.extend(page["Items"].as_array().expect("items").iter().map(Value::to_string));
            match page.get("LastEvaluatedKey") {
                Some(key) if !key.is_null() => request["ExclusiveStartKey"] = key.clone(),
                _ => return items,
            }
        }
    }

    /// What is true of every answer, to a request that began when this was `stored`.
    fn judge(
        &self,
        method: &str,
        stored: &[String],
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), TestCaseError> {
        let text = String::from_utf8_lossy(body);
        prop_assert!(!status.is_server_error(), "{status} {text}");
        if status.is_client_error() || method == "GET" {
            prop_assert!(self.stored() == stored, "{status}, but something was stored");
        }
        prop_assert!(
            !text.contains(MARK) && !format!("{headers:?}").contains(MARK),
            "a header is echoed: {headers:?} {text}"
        );
        if status.is_client_error() {
            let problem: Value = serde_json::from_slice(body).unwrap_or_default();
            prop_assert_eq!(
                headers.get("content-type"),
                Some(&HeaderValue::from_static("application/problem+json")),
                "{}",
                text
            );
            prop_assert_eq!(&problem["status"], status.as_u16());
            prop_assert_eq!(&problem["type"], "about:blank");
            prop_assert!(problem["title"].is_string() && problem["detail"].is_string(), "{}", text);
            let errors = problem
                .get("errors")
                .map(|errors| errors.as_object().is_some_and(|errors| !errors.is_empty()));
            prop_assert!(errors != Some(false), "{}", text);
        }
        Ok(())
    }

    fn route(&self) -> impl Strategy<Value = Route> + use<> {
        select(self.template.routes.clone())
    }

    /// What a parameter of the path may be, decoded.
    fn parameter(&self) -> impl Strategy<Value = String> + use<> {
        prop_oneof![
            4 => select(vec![self.profile_id.clone(), self.conversation_id.clone()]),
            2 => (0..15_u64).prop_map(|seq| seq.to_string()),
            1 => select(vec!["", "-1", "+1", "01", "18446744073709551616", "999999999999", "1000000000000", "index.html", "../x", "%2F", "a?b#c"]).prop_map(str::to_owned),
            1 => odd(),
        ]
    }

    /// A query, as it stands in the URL.
    fn query(&self) -> impl Strategy<Value = String> + use<> {
        let value = prop_oneof![
            self.parameter(),
            select(vec!["0", "1", "100", "101", "1e3", "%31", "%", "%ff", "+", " 1"])
                .prop_map(str::to_owned)
        ];
        let name = prop_oneof![4 => select(vec!["limit", "before", "after"]).prop_map(str::to_owned), 1 => odd()];
        let pairs = collection::vec((name, value), 0..3);
        let pairs = pairs.prop_map(|pairs| {
            pairs
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join("&")
        });
        prop_oneof![4 => pairs, 1 => odd()]
    }

    fn headers(&self) -> impl Strategy<Value = BTreeMap<String, String>> + use<> {
        let marked = (odd(), odd()).prop_map(|(before, after)| format!("{before}{MARK}{after}"));
        let name = prop_oneof![
            4 => select(vec![
                "accept", "accept-encoding", "authorization", "content-length", "content-type", "cookie", "expect", "host",
                "idempotency-key", "if-none-match", "origin", "range", "transfer-encoding", "user-agent", "x-amzn-trace-id",
                "x-forwarded-for", "x-forwarded-proto", "x-http-method-override",
            ]).prop_map(str::to_owned),
            1 => "[a-z!#$%&'*+.^_`|~0-9-]{1,30}",
        ];
        let value = prop_oneof![
            3 => marked,
            // What may be a host, or none.
            1 => "(xn--)?[a-z0-9]{0,3}(\\.(xn--)?[0-9a-fx]{0,3}){0,4}\\.?(:[0-9]{0,5})?",
            1 => collection::vec(odd(), 2..4).prop_map(|values| values.join(",")),
            1 => (1..9_000_usize).prop_map(|length| "a".repeat(length)),
        ];
        let content_type = prop_oneof![
            8 => Just("application/json".to_owned()),
            1 => Just("application/merge-patch+json;charset=utf-8".to_owned()),
            1 => odd(),
        ];
        let key = prop_oneof![
            2 => Just("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()),
            1 => Just("\"01890a5d-ac96-774b-bcce-b302099a8057\"".to_owned()),
            1 => odd(),
        ];
        let odd_ones = collection::btree_map(name, value, 0..8);
        (odd_ones, option::weighted(0.9, content_type), option::weighted(0.2, key)).prop_map(
            |(mut headers, content_type, key)| {
                headers.extend(content_type.map(|value| ("content-type".to_owned(), value)));
                headers.extend(key.map(|value| ("idempotency-key".to_owned(), value)));
                let mut left = MAX_HEAD - 2_000;
                headers.retain(|name, value| {
                    let fits = name.len() + value.len() <= left;
                    left -= if fits { name.len() + value.len() } else { 0 };
                    fits
                });
                headers
            },
        )
    }

    fn body(&self) -> impl Strategy<Value = Vec<u8>> + use<> {
        let texts = prop_oneof![
            2 => select(vec![self.profile_id.clone(), "Ada".into(), "1".into(), "\u{0}".into(), " ".into(), "x".repeat(101), "é".repeat(5001)]),
            1 => odd(),
        ];
        let leaf = prop_oneof![
            4 => texts.prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<bool>().prop_map(Value::from),
            1 => Just(Value::Null),
        ];
        let names = prop_oneof![
            8 => select(vec!["first_name", "last_name", "job_title", "subject", "author_id", "text", "metadata"]).prop_map(str::to_owned),
            1 => select(vec!["id", "points", "is_admin", "seq", "type", "listing", "pk", ""]).prop_map(str::to_owned),
            1 => odd(),
        ];
        let object = {
            let names = names.clone();
            move |value| {
                collection::btree_map(names.clone(), value, 0..5).prop_map(|object| json!(object))
            }
        };
        let value = leaf.prop_recursive(4, 24, 5, {
            let object = object.clone();
            move |value| {
                prop_oneof![
                    collection::vec(value.clone(), 0..5).prop_map(Value::from),
                    object(value)
                ]
            }
        });
        let raw = |texts: Vec<&str>| {
            select(texts.into_iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>())
        };
        let author = self.profile_id.clone();
        prop_oneof![
            6 => object(value.boxed()).prop_map(|value| value.to_string().into_bytes()),
            2 => select(vec![
                json!({ "first_name": "Ada" }),
                json!({ "subject": "x", "author_id": author }),
                json!({ "author_id": author, "text": "x", "metadata": { "": [1] } }),
                json!({ "text": "y" }),
            ]).prop_map(|value| value.to_string().into_bytes()),
            1 => raw(vec![
                "", "{", "{}{}", "nul", "\u{feff}{}", "{\"text\":\"\\ud800\"}", "{\"metadata\":{\"\\udfff\":1}}", "{\"text\":1e999}",
                "{\"metadata\":{\"n\":-0.1e-999999999999}}", "{\"first_name\":\"a\",\"first_name\":\"b\"}",
            ]),
            1 => select(vec![b"{\"text\":\"\xff\"}".to_vec(), vec![0xc3, 0x28], vec![0]]),
            1 => select(vec![("[", 200), ("[", 20_000), ("{\"metadata\":", 127), ("{\"a\":", 9_000), ("9", 30_000), (" ", 96 * 1024 + 1)])
                .prop_map(|(text, times)| text.repeat(times).into_bytes()),
            1 => collection::vec(any::<u8>(), 0..200),
        ]
    }

    /// An event that API Gateway could send to a function of the template, and whether the function is open to all.
    ///
    /// The body is always good base64 where it says so, and the path begins with `/`: API Gateway writes both by itself.
    fn event(&self) -> impl Strategy<Value = (Route, Value, bool)> + use<> {
        let parts = (
            self.route(),
            collection::vec(option::weighted(0.95, self.parameter()), 2),
            self.query(),
            self.headers(),
        );
        let optional = collection::vec(prop::bool::weighted(0.9), 8);
        let claim = prop_oneof![2 => odd(), 1 => select(vec!["", "[admin]", "chat/admin", "[", "[admin other]"]).prop_map(str::to_owned)];
        let claims = collection::btree_map(
            select(vec!["sub", "scope", "cognito:groups", "aud", ""]),
            claim,
            0..4,
        );
        let rest = (
            self.body(),
            any::<bool>(),
            collection::vec(odd(), 0..3),
            optional,
            option::of(claims),
            any::<bool>(),
        );
        (parts, rest).prop_map(|((route, parameters, query, headers), (body, base64, cookies, present, claims, open))| {
            let (mut raw_path, mut path) = (String::new(), BTreeMap::new());
            for (part, value) in route.path.split('/').skip(1).zip([&None].into_iter().chain(&parameters).chain([&None; 3])) {
                let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
                raw_path += "/";
                raw_path += match (name, value) {
                    (None, _) => part,
                    (Some(_), None) => "",
                    (Some(name), Some(value)) => {
                        path.insert(name.to_owned(), value.clone());
                        value
                    }
                };
            }
            let text = String::from_utf8(body.clone()).ok().filter(|_| !base64);
            let mut event = json!({
                "version": "2.0",
                "routeKey": format!("{} {}", route.method, route.path),
                "rawPath": raw_path,
                "rawQueryString": query,
                "cookies": cookies,
                "headers": headers,
                "queryStringParameters": { "x": query },
                "pathParameters": path,
                "body": text.clone().unwrap_or_else(|| BASE64_STANDARD.encode(&body)),
                "isBase64Encoded": text.is_none(),
                "stageVariables": null,
                "requestContext": {
                    "accountId": "123456789012", "apiId": "api", "domainName": headers.get("host"), "domainPrefix": "api",
                    "http": { "method": route.method, "path": raw_path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                        "userAgent": headers.get("user-agent") },
                    "requestId": "id", "routeKey": format!("{} {}", route.method, route.path), "stage": "$default",
                    "time": "12/Mar/2020:19:03:58 +0000", "timeEpoch": 1_583_348_638_390_i64,
                },
            });
            if let Some(claims) = claims {
                event["requestContext"]["authorizer"] = json!({ "jwt": { "claims": claims, "scopes": null } });
            }
            let names = ["cookies", "headers", "queryStringParameters", "pathParameters", "stageVariables", "rawQueryString"];
            for (name, _) in names.iter().zip(&present).filter(|(_, present)| !**present) {
                event.as_object_mut().expect("an object").remove(*name);
            }
            if !present[6] {
                event["body"] = Value::Null;
                event["isBase64Encoded"] = json!(false);
            }
            (route, event, open)
        })
    }

    /// A request that a client could send, for the development server.
    fn request(
        &self,
    ) -> impl Strategy<Value = (String, String, BTreeMap<String, String>, Vec<u8>)> + use<> {
        let parts = (
            self.route(),
            collection::vec(self.parameter(), 2),
            option::of(self.query()),
            self.headers(),
            self.body(),
        );
        parts.prop_map(|(route, parameters, query, headers, body)| {
            let mut parameters = parameters.iter().map(|text| form_urlencoded(text));
            let path: Vec<String> = route
                .path
                .split('/')
                .map(|part| {
                    if part.starts_with('{') {
                        parameters.next().unwrap_or_default()
                    } else {
                        part.to_owned()
                    }
                })
                .collect();
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            (route.method, path.join("/") + &query, headers, body)
        })
    }
}

/// Each byte that is not a letter or a digit percent-encoded.
fn form_urlencoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Texts that programs stumble over.
fn odd() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        2 => "[ -~]{0,12}",
        1 => "\\PC{0,8}",
        1 => any::<String>(),
        1 => select(vec!["", " ", "\"", "é", "\u{feff}", "a b", ":99999", "[::1", "a\tb", "\u{202e}", "💥", "<>#", "%00", "\r\n", "null"])
            .prop_map(str::to_owned),
    ]
}

/// Runs a property over as many cases as `PROPTEST_CASES` says, on a new service now and then, so that its table stays small.
fn holds<S: Strategy>(
    strategy: impl Fn(&Service) -> S,
    property: impl Fn(&Runtime, &Service, S::Value) -> Result<(), TestCaseError>,
) {
    const ON_ONE: u32 = 200;
    let runtime = Runtime::new().expect("a runtime");
    let first = env::var("PROPTEST_RNG_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    let mut left = Config::default().cases;
    for seed in first.. {
        let config = Config {
            cases: left.min(ON_ONE),
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        };
        left -= config.cases;
        let service = runtime.block_on(Service::start());
        if let Err(error) = TestRunner::new(config)
            .run(&strategy(&service), |case| property(&runtime, &service, case))
        {
            panic!("{error}\nAgain: PROPTEST_RNG_SEED={seed} cargo test -p tests bad_input");
        }
        if left == 0 {
            return;
        }
    }
}

#[test]
fn no_event_is_answered_with_a_5xx_and_none_that_is_refused_stores_anything() {
    holds(Service::event, |runtime, service, (route, event, open)| {
        runtime.block_on(async {
            let stored = service.stored();
            let request = functions::http::event::parse(&event.to_string());
            let request = request
                .map_err(|error| TestCaseError::fail(error.to_string()))?
                .with_lambda_context(Context::default());
            let auth = if open { Auth::Open } else { Auth::Jwt };
            let (function, missing) = (&route.function, "a handler");
            let (parts, body) = local::invoke(function, &service.table, auth, request)
                .await
                .expect(missing)
                .into_parts();
            service.judge(&route.method, &stored, parts.status, &parts.headers, &body)
        })
    });
}

#[test]
fn no_request_is_answered_with_a_5xx_and_none_that_is_refused_stores_anything() {
    holds(Service::request, |runtime, service, (method, path, headers, body)| {
        let gateway =
            Gateway::new(&service.template, service.table.clone(), Auth::Open).expect("a gateway");
        // What no HTTP server takes never gets so far.
        let mut request = Request::builder().method(&*method).uri(path);
        for (name, value) in &headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
            {
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
            // A parameter may be empty, which no route matches: the gateway's own answer.
            if parts.status == 404 && body == r#"{"message":"Not Found"}"# {
                return Ok(());
            }
            service.judge(&method, &stored, parts.status, &parts.headers, &body)
        })
    });
}
