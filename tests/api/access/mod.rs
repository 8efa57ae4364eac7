//! The caller decides what a request may do.
//!
//! - [`callers`]: the callers and their tokens
//! - [`matrix`]: every route for every caller, with real tokens and with the claims of an event
//! - [`privacy`]: every route of a conversation for every one of its [`participants`]

pub(crate) mod callers;
mod matrix;
mod participants;
mod privacy;

use std::time::Duration;

use functions::http::Auth;
use functions::operations;
use lambda_http::RequestExt;
use local::template::Route;
use uuid::Uuid;

use callers::{OWNER, READ_WRITE, Role, authenticated_callers, authorizer, token};
use matrix::{Rule, rule};
use tests::service::{Api, Response, Service, Setup, Value, json};
use tests::template::{event, event_body};

/// The owner's resources: a profile, and a conversation with one message.
struct Resources {
    profile: String,
    conversation: String,
}

impl Resources {
    async fn create(service: &Authenticated) -> Self {
        let profile = service.create("/profiles", &json!({ "first_name": "Ada" })).await;
        let opening = json!({ "subject": "A subject", "author_id": profile });
        let conversation = service.create("/conversations", &opening).await;
        let message = json!({ "author_id": profile, "text": "x" });
        service.create(&format!("/conversations/{conversation}/messages"), &message).await;
        Self { profile, conversation }
    }

    fn absent() -> Self {
        let [profile, conversation] = [(); 2].map(|()| Uuid::now_v7().to_string());
        Self { profile, conversation }
    }

    /// Returns the path of a route, and the body of the function's event, for these resources.
    fn request(&self, route: &Route) -> (String, Value) {
        let file = if route.path.starts_with("/assets") { "app.js" } else { "swagger-ui.css" };
        let mut path = route.path.clone();
        for (name, value) in [
            ("{profile_id}", self.profile.as_str()),
            ("{conversation_id}", &self.conversation),
            ("{seq}", "1"),
            ("{file}", file),
        ] {
            path = path.replace(name, value);
        }
        if route.function == "list-changes" {
            path.push_str("?after=0.0");
        }
        let mut body = event_body(&route.function);
        if body.get("author_id").is_some() {
            body["author_id"] = json!(self.profile);
        }
        (path, body)
    }
}

/// A service that requires tokens.
struct Authenticated(Service);

impl Authenticated {
    async fn start() -> Self {
        Self(Setup::new().authorizer(authorizer()).start().await)
    }

    /// Sends a request with this `Authorization`.
    async fn send(
        &self,
        authorization: Option<&str>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Response {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.0.api.send(method, path, &headers, body).await
    }

    /// Creates a resource of the owner. Returns its id; a message has none.
    async fn create(&self, path: &str, body: &Value) -> String {
        let created = self.send(Some(&owner()), "POST", path, body).await.expect(201);
        created["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Passes an event with these claims to a function. Returns the response.
    async fn invoke(
        &self,
        function: &str,
        event: &Value,
        claims: Option<&Value>,
    ) -> lambda_http::Response<lambda_http::Body> {
        let mut event = event.clone();
        event["requestContext"].as_object_mut().expect("a context").remove("authorizer");
        if let Some(claims) = claims {
            event["requestContext"]["authorizer"] =
                json!({ "jwt": { "claims": claims, "scopes": null } });
        }
        let request = lambda_http::request::from_str(&event.to_string()).expect("a request");
        let request = request.with_lambda_context(lambda_http::Context::default());
        local::invoke(function, &self.0.table, Auth::Jwt, request).await.expect("a function")
    }
}

fn owner() -> String {
    token(&json!({ "sub": OWNER, "scope": READ_WRITE }))
}

/// Returns the event of a request to a route.
fn event_of(route: &Route, path: &str, body: &Value) -> Value {
    let mut event = event(&route.function);
    let path = path.split('?').next().unwrap_or_default();
    event["rawPath"] = json!(path);
    event["requestContext"]["http"]["path"] = json!(path);
    (event["body"], event["isBase64Encoded"]) = (json!(body.to_string()), json!(false));
    let parts = route.path.split('/').zip(path.split('/'));
    let parameters = parts.filter(|(name, _)| name.starts_with('{'));
    let parameters =
        parameters.map(|(name, value)| (name.trim_matches(['{', '}']).to_owned(), json!(value)));
    event["pathParameters"] = parameters.collect::<serde_json::Map<String, Value>>().into();
    event["headers"].as_object_mut().expect("headers").remove("idempotency-key");
    event
}

/// A route may point at the wrong function, or lose its authorizer. No token may then allow more.
#[tokio::test]
async fn a_misrouted_event_is_rejected() {
    let service = Authenticated::start().await;
    let resources = Resources::create(&service).await;
    for target in operations::ALL {
        let other_scope = if target.scope == "chat/read" { "chat/write" } else { "chat/read" };
        let claims = json!({ "sub": OWNER, "scope": other_scope });
        for route in &service.0.template.routes {
            let allowed = operations::find(&route.function);
            if allowed.is_none_or(|operation| operation.scope != other_scope) {
                continue;
            }
            let (path, _) = resources.request(route);
            let mut event = event_of(route, &path, &json!({ "first_name": "Eve" }));
            event["headers"]["content-type"] = json!("application/json");
            let response = service.invoke(&target.function(), &event, Some(&claims)).await;
            let problem: Value = serde_json::from_slice(response.body()).expect("JSON");
            let context = format!("{} {} at {target:?}", route.method, route.path);
            assert_eq!(response.status(), 403, "{context}: {problem}");
            assert_eq!(problem["code"], "missing_scope", "{context}");
        }
    }
}

#[tokio::test]
async fn an_absent_resource_is_absent_for_every_caller() {
    let service = Authenticated::start().await;
    let (resources, absent) = (Resources::create(&service).await, Resources::absent());
    for route in service.0.template.routes.iter().filter(|route| rule(route) == Rule::Owned) {
        let mut problems = Vec::new();
        for (_, role, claims) in authenticated_callers() {
            if !matches!(role, Role::Owner | Role::Stranger | Role::Admin) {
                continue;
            }
            let (path, mut body) = absent.request(route);
            // The author exists, the conversation does not.
            if route.function == "create-message" {
                body["author_id"] = json!(resources.profile);
            }
            let response = service.send(Some(&token(&claims)), &route.method, &path, &body).await;
            let expected = if route.function == "create-conversation" { 422 } else { 404 };
            let mut problem = response.problem(expected);
            problem["request_id"] = Value::Null;
            problems.push(problem);
        }
        let same = problems.iter().all(|problem| *problem == problems[0]);
        assert!(same, "{}: {problems:?}", route.function);
    }
}

#[tokio::test]
async fn the_owner_of_a_profile_owns_what_an_admin_posts_as_it() {
    let service = Authenticated::start().await;
    let admin = token(&json!({ "sub": "operator", "scope": "chat/admin" }));
    let resources = Resources::create(&service).await;
    let messages = format!("/conversations/{}/messages", resources.conversation);
    let message = json!({ "author_id": resources.profile, "text": "x" });
    let posted = service.send(Some(&admin), "POST", &messages, &message).await;
    posted.expect_status(201);
    let edit = json!({ "text": "y" });
    let edited = service.send(Some(&owner()), "PATCH", posted.header("location"), &edit).await;
    edited.expect_status(200);
}

#[tokio::test]
async fn a_profile_shows_whether_an_admin_created_it() {
    let service = Authenticated::start().await;
    let admin = token(&json!({ "sub": "operator", "scope": "chat/admin" }));
    let grace = json!({ "first_name": "Grace" });
    for (token, is_admin) in [(admin, true), (owner(), false)] {
        let created = service.send(Some(&token), "POST", "/profiles", &grace).await.expect(201);
        assert_eq!(created["is_admin"], is_admin);
    }
}

#[tokio::test]
async fn two_callers_may_use_the_same_idempotency_key() {
    let service = Authenticated::start().await;
    let key = Uuid::new_v4().to_string();
    let mut ids = Vec::new();
    for (subject, replayed) in [("ada", ""), ("eve", ""), ("ada", "true")] {
        let authorization = token(&json!({ "sub": subject, "scope": READ_WRITE }));
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &authorization),
            ("idempotency-key", &key),
        ];
        let body = r#"{"first_name":"Ada"}"#;
        let created = service.0.api.send("POST", "/profiles", &headers, body).await;
        assert_eq!(created.header("idempotency-replayed"), replayed, "{subject}");
        ids.push(created.expect(201)["id"].clone());
    }
    assert!(ids[0] != ids[1] && ids[0] == ids[2], "{ids:?}");
}

#[tokio::test]
async fn a_stranger_cannot_tell_that_a_conversation_was_deleted() {
    let service = Authenticated::start().await;
    let stranger = token(&json!({ "sub": "eve", "scope": READ_WRITE }));
    let resources = Resources::create(&service).await;
    let path = format!("/conversations/{}", resources.conversation);
    service.send(Some(&stranger), "DELETE", &path, &Value::Null).await.problem(403);
    service.send(Some(&owner()), "DELETE", &path, &Value::Null).await.expect_status(204);
    let subject = json!({ "subject": "x" });
    for (method, body) in [("DELETE", &Value::Null), ("GET", &Value::Null), ("PATCH", &subject)] {
        service.send(Some(&stranger), method, &path, body).await.problem(404);
    }
}

#[tokio::test]
async fn preflight_requests_need_no_token_and_only_configured_origins_may_read() {
    let origin = "http://localhost:5173";
    let setup = Setup::new().authorizer(authorizer()).origin(origin);
    let api = setup.start().await.api;
    let preflight = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization,content-type,if-match"),
        ]
    };
    let allowed = api.send("OPTIONS", "/profiles", &preflight(origin), "").await;
    assert!(allowed.status.is_success());
    assert_eq!(allowed.header("access-control-allow-origin"), origin);
    let methods = allowed.header("access-control-allow-methods");
    assert!(["PUT", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
    let headers = allowed.header("access-control-allow-headers");
    for name in ["authorization", "content-type", "idempotency-key", "if-match"] {
        assert!(headers.contains(name), "{headers}");
    }
    let refused = api.send("OPTIONS", "/profiles", &preflight("http://evil.example"), "").await;
    assert_eq!(refused.header("access-control-allow-origin"), "");
    // A page may read why it was refused.
    let unauthorized = api.send("GET", "/profiles", &[("origin", origin)], "").await;
    unauthorized.expect_status(401);
    assert_eq!(unauthorized.header("access-control-allow-origin"), origin);
    let exposed = unauthorized.header("access-control-expose-headers");
    for name in ["etag", "location", "retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{exposed}");
    }
}

#[tokio::test]
async fn headers_larger_than_api_gateway_accepts_are_refused() {
    let api = Api::start_isolated().await;
    for (path, value) in [
        ("/profiles".to_owned(), "x".repeat(10_300)),
        (format!("/profiles?limit={}", "1".repeat(10_300)), String::new()),
    ] {
        api.send("GET", &path, &[("x-large", &value)], "").await.expect_status(431);
    }
}

#[test]
fn a_token_of_the_development_server_is_accepted() {
    let token = authorizer().token("ada", READ_WRITE, Duration::from_secs(60)).expect("a token");
    let scopes = ["chat/read".to_owned()];
    let context =
        authorizer().authorize(Some(&format!("Bearer {token}")), &scopes).expect("accepted");
    assert_eq!(context["jwt"]["claims"]["sub"], "ada");
    assert_eq!(context["jwt"]["scopes"], json!(scopes));
    assert!(context["jwt"]["claims"]["exp"].is_string(), "every claim is a string: {context}");
}
