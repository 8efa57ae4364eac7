//! Who may do what: every route, for every caller, as an event with claims and through the closed server with real tokens.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use functions::http::Auth;
use lambda_http::RequestExt;
use local::template::{Route, TEMPLATE, Template};
use shared::Table;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::callers::{BOTH, OWNER, Standing, authorizer, callers, known_callers, token};
use tests::service::{
    Api, Fault, Recorder, Value, embedded_engine, engine_endpoint, json, new_table,
};

/// Whom a function serves, among those whose token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Everyone, also without a token.
    Public,
    /// Everyone who may read.
    Read,
    /// Everyone who may write: what they create is their own.
    Create,
    /// The owner of the profile that it acts as, or of what it changes; and administrators.
    Owned,
}

/// The rule of each function, and what it answers when all is well. A new route needs a row here.
fn rule(function: &str) -> (Rule, u16) {
    match function {
        "get-documentation" => (Rule::Public, 200),
        "list-profiles" | "get-profile" => (Rule::Read, 200),
        "list-conversations" | "get-conversation" => (Rule::Read, 200),
        "list-messages" | "get-message" => (Rule::Read, 200),
        "create-profile" => (Rule::Create, 201),
        "create-conversation" | "create-message" => (Rule::Owned, 201),
        "update-profile" | "update-conversation" | "update-message" => (Rule::Owned, 200),
        "delete-profile" | "delete-conversation" | "delete-message" => (Rule::Owned, 204),
        _ => panic!("{function}: who may call it? Add a row."),
    }
}

impl Standing {
    fn expected(self, rule: Rule, well: u16) -> u16 {
        let reads = rule == Rule::Read;
        match (self, rule) {
            (_, Rule::Public) => well,
            (Self::Nobody, _) => 401,
            (Self::Scopeless, _) => 403,
            (Self::ReadOnly, _) if !reads => 403,
            (Self::WriteOnly, _) if reads => 403,
            (Self::Stranger | Self::WriteOnly, Rule::Owned) => 403,
            _ => well,
        }
    }
}

/// What there is to be changed: a profile of the owner's, and a conversation with a message.
struct Things {
    profile: String,
    conversation: String,
}

impl Things {
    async fn make(service: &Closed) -> Self {
        let profile = service.owner("POST", "/profiles", &json!({ "first_name": "Ada" })).await;
        let opening = json!({ "subject": "A subject", "author_id": profile });
        let conversation = service.owner("POST", "/conversations", &opening).await;
        let message = json!({ "author_id": profile, "text": "x" });
        service.owner("POST", &format!("/conversations/{conversation}/messages"), &message).await;
        Self { profile, conversation }
    }

    /// The path of a route, and the body to send there.
    fn request(&self, route: &Route) -> (String, Value) {
        let path = route
            .path
            .replace("{profile_id}", &self.profile)
            .replace("{conversation_id}", &self.conversation);
        let path = path
            .replace("{seq}", "1")
            .replace("/assets/{file}", "/assets/app.js")
            .replace("{file}", "swagger-ui.css");
        let body = match route.function.as_str() {
            "create-profile" | "update-profile" => json!({ "first_name": "Bob" }),
            "create-conversation" => json!({ "subject": "s", "author_id": self.profile }),
            "update-conversation" => json!({ "subject": "s" }),
            "create-message" => json!({ "author_id": self.profile, "text": "x" }),
            "update-message" => json!({ "text": "y" }),
            _ => Value::Null,
        };
        (path, body)
    }
}

/// The closed service, and its table.
struct Closed {
    api: Api,
    table: Table,
    template: Template,
}

impl Closed {
    async fn start(endpoint: &str) -> Self {
        let (template, table) = new_table(endpoint).await;
        Self { api: Api::behind(authorizer(), &template, table.clone()).await, table, template }
    }

    /// Sends a request over HTTP, with this `Authorization`.
    async fn send(
        &self,
        authorization: Option<&str>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> tests::service::Answer {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.api.send(method, path, &headers, body).await
    }

    /// What the owner creates: its id, where it has one.
    async fn owner(&self, method: &str, path: &str, body: &Value) -> String {
        let created = self
            .send(Some(&token(&json!({ "sub": OWNER, "scope": BOTH }))), method, path, body)
            .await
            .with(201);
        created["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Hands the function of a route an event with these claims: its status.
    async fn invoke(&self, route: &Route, path: &str, body: &Value, claims: Option<&Value>) -> u16 {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../events/{}.json", route.function));
        let mut event: Value =
            serde_json::from_str(&fs::read_to_string(file).expect("an event")).expect("JSON");
        event["rawPath"] = json!(path);
        event["requestContext"]["http"]["path"] = json!(path);
        (event["body"], event["isBase64Encoded"]) = (json!(body.to_string()), json!(false));
        let parameters =
            route.path.split('/').zip(path.split('/')).filter(|(name, _)| name.starts_with('{'));
        let parameters = parameters
            .map(|(name, value)| (name.trim_matches(['{', '}']).to_owned(), json!(value)));
        event["pathParameters"] = parameters.collect::<serde_json::Map<String, Value>>().into();
        event["requestContext"].as_object_mut().expect("a context").remove("authorizer");
        event["headers"].as_object_mut().expect("headers").remove("idempotency-key");
        if let Some(claims) = claims {
            event["requestContext"]["authorizer"] =
                json!({ "jwt": { "claims": claims, "scopes": null } });
        }
        let request = lambda_http::request::from_str(&event.to_string()).expect("a request");
        let request = request.with_lambda_context(lambda_http::Context::default());
        let (function, missing) = (&route.function, "a handler");
        local::invoke(function, &self.table, Auth::Jwt, request)
            .await
            .expect(missing)
            .status()
            .as_u16()
    }
}

/// A claim as an event has it.
fn as_in_event(claims: &Value) -> Value {
    let text = |value: &Value| match value {
        Value::Array(members) => {
            json!(format!(
                "[{}]",
                members
                    .iter()
                    .map(|member| member.as_str().expect("text"))
                    .collect::<Vec<_>>()
                    .join(" ")
            ))
        }
        value => value.clone(),
    };
    claims
        .as_object()
        .expect("claims")
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_serves_whom_it_should_by_their_tokens() {
    let service = Closed::start(&engine_endpoint().await).await;
    let mut wrong = Vec::new();
    for (name, standing, authorization) in callers() {
        let mut things = Things::make(&service).await;
        for route in &service.template.routes {
            let (rule, well) = rule(&route.function);
            let (path, body) = things.request(route);
            let expected = standing.expected(rule, well);
            let answer = service.send(authorization.as_deref(), &route.method, &path, &body).await;
            if answer.status != expected {
                wrong.push(format!(
                    "{name}: {} {}: {} instead of {expected}",
                    route.method, route.path, answer.status
                ));
            }
            if expected == 401 {
                assert_eq!(answer.header("www-authenticate"), "Bearer");
                assert_eq!(answer.json(), json!({ "message": "Unauthorized" }));
            }
            if answer.status == 204 {
                things = Things::make(&service).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_serves_whom_it_should_by_their_claims() {
    let service = Closed::start(&engine_endpoint().await).await;
    let mut callers: Vec<(&str, Standing, Option<Value>)> = known_callers()
        .into_iter()
        .map(|(name, standing, claims)| (name, standing, Some(as_in_event(&claims))))
        .collect();
    callers.push(("nobody", Standing::Nobody, None));
    for (name, claims) in [
        ("no claims", json!({})),
        ("no sub", json!({ "scope": BOTH })),
        ("an empty sub", json!({ "sub": "", "scope": "chat/admin" })),
        ("a sub without an end", json!({ "sub": "x".repeat(256), "scope": BOTH })),
    ] {
        callers.push((name, Standing::Nobody, Some(claims)));
    }
    // No brackets but the two that API Gateway writes make a list.
    callers.push((
        "a group in brackets",
        Standing::Stranger,
        Some(json!({ "sub": "eve", "scope": BOTH, "cognito:groups": "[[admin]]" })),
    ));
    let mut wrong = Vec::new();
    for (name, standing, claims) in callers {
        let mut things = Things::make(&service).await;
        for route in &service.template.routes {
            let (rule, well) = rule(&route.function);
            let (path, body) = things.request(route);
            let expected = standing.expected(rule, well);
            let status = service.invoke(route, &path, &body, claims.as_ref()).await;
            if status != expected {
                wrong.push(format!(
                    "{name}: {} {}: {status} instead of {expected}",
                    route.method, route.path
                ));
            }
            if status == 204 {
                things = Things::make(&service).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn an_absent_thing_is_absent_for_everyone() {
    let service = Closed::start(&engine_endpoint().await).await;
    let things = Things::make(&service).await;
    let absent =
        Things { profile: Uuid::now_v7().to_string(), conversation: Uuid::now_v7().to_string() };
    for route in
        service.template.routes.iter().filter(|route| rule(&route.function).0 == Rule::Owned)
    {
        let mut answers = Vec::new();
        for (_, standing, claims) in known_callers() {
            if !matches!(standing, Standing::Owner | Standing::Stranger | Standing::Admin) {
                continue;
            }
            let (path, mut body) = absent.request(route);
            // Who posts is there; where to, is not.
            if route.function == "create-message" {
                body["author_id"] = json!(things.profile);
            }
            let answer = service.send(Some(&token(&claims)), &route.method, &path, &body).await;
            let mut problem = answer.json();
            problem.as_object_mut().expect("an object").remove("request_id");
            answers.push((answer.status.as_u16(), problem));
        }
        let expected = if route.function == "create-conversation" { 422 } else { 404 };
        assert!(
            answers.iter().all(|answer| *answer == answers[0] && answer.0 == expected),
            "{}: {answers:?}",
            route.function
        );
    }
}

#[tokio::test]
async fn what_an_admin_posts_for_someone_belongs_to_them() {
    let service = Closed::start(&engine_endpoint().await).await;
    let (admin, owner) = (
        token(&json!({ "sub": "operator", "scope": "chat/admin" })),
        token(&json!({ "sub": OWNER, "scope": BOTH })),
    );
    let things = Things::make(&service).await;
    let messages = format!("/conversations/{}/messages", things.conversation);
    let message = json!({ "author_id": things.profile, "text": "x" });
    let posted = service.send(Some(&admin), "POST", &messages, &message).await;
    posted.with_status(201);
    service
        .send(Some(&owner), "PATCH", posted.header("location"), &json!({ "text": "y" }))
        .await
        .with_status(200);

    let named = json!({ "first_name": "Grace" });
    assert_eq!(
        service.send(Some(&admin), "POST", "/profiles", &named).await.with(201)["is_admin"],
        true
    );
    assert_eq!(
        service.send(Some(&owner), "POST", "/profiles", &named).await.with(201)["is_admin"],
        false
    );
}

#[tokio::test]
async fn two_callers_may_use_the_same_key() {
    let service = Closed::start(&engine_endpoint().await).await;
    let key = Uuid::new_v4().to_string();
    let mut ids = Vec::new();
    for (subject, replayed) in [("ada", ""), ("eve", ""), ("ada", "true")] {
        let authorization = token(&json!({ "sub": subject, "scope": BOTH }));
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &authorization),
            ("idempotency-key", &key),
        ];
        let created =
            service.api.send("POST", "/profiles", &headers, r#"{"first_name":"Ada"}"#).await;
        assert_eq!(created.header("idempotency-replayed"), replayed, "{subject}");
        ids.push(created.with(201)["id"].clone());
    }
    assert!(ids[0] != ids[1] && ids[0] == ids[2], "{ids:?}");
}

#[tokio::test]
async fn a_post_that_a_deletion_of_its_profile_overtakes_writes_nothing() {
    let (arrived, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reached, until) = (arrived.clone(), released.clone());
    let posts = Arc::new(std::sync::atomic::AtomicU32::new(0));
    // The fourth transaction is held, after profile, conversation and a first message.
    let recorder = Recorder::with_faults(embedded_engine().await, move |operation| {
        if operation == "TransactWriteItems"
            && posts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 3
        {
            reached.notify_one();
            return Fault::Held(until.clone());
        }
        Fault::None
    })
    .await;
    let service = Arc::new(Closed::start(&recorder.endpoint).await);
    let owner = token(&json!({ "sub": OWNER, "scope": BOTH }));
    let things = Things::make(&service).await;
    let (messages, message) = (
        format!("/conversations/{}/messages", things.conversation),
        json!({ "author_id": things.profile, "text": "x" }),
    );
    let post = tokio::spawn({
        let (service, owner, messages) = (service.clone(), owner.clone(), messages.clone());
        async move { service.send(Some(&owner), "POST", &messages, &message).await }
    });
    arrived.notified().await;
    service
        .send(Some(&owner), "DELETE", &format!("/profiles/{}", things.profile), &Value::Null)
        .await
        .with_status(204);
    released.notify_one();
    assert_eq!(post.await.expect("an answer").invalid_fields(), ["author_id"]);
    let page = service.send(Some(&owner), "GET", &messages, &Value::Null).await.with(200);
    assert_eq!(page["results"].as_array().expect("results").len(), 1);
}

#[tokio::test]
async fn preflight_requests_need_no_token_and_only_the_named_origins_are_let_in() {
    let template = Template::parse(TEMPLATE).expect("the template");
    let origin = "http://localhost:5173";
    let api = Api::behind_for(
        authorizer(),
        &template,
        Table::connect("http://127.0.0.1:1", "none"),
        &[origin.to_owned()],
    )
    .await;
    let asking = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization,content-type,idempotency-key"),
        ]
    };
    let allowed = api.send("OPTIONS", "/profiles", &asking(origin), "").await;
    assert!(allowed.status.is_success());
    assert_eq!(allowed.header("access-control-allow-origin"), origin);
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"));
    let headers = allowed.header("access-control-allow-headers");
    assert!(
        ["authorization", "content-type", "idempotency-key"]
            .iter()
            .all(|name| headers.contains(name)),
        "{headers}"
    );
    let refused = api.send("OPTIONS", "/profiles", &asking("http://evil.example"), "").await;
    assert_eq!(refused.header("access-control-allow-origin"), "");
    // A page may read why it was refused.
    let unauthorized = api.send("GET", "/profiles", &[("origin", origin)], "").await;
    assert_eq!(
        (unauthorized.status.as_u16(), unauthorized.header("access-control-allow-origin")),
        (401, origin)
    );
}

#[tokio::test]
async fn more_than_api_gateway_reads_is_refused_before_it_is_looked_at() {
    let api = Api::own().await;
    for (path, value) in [
        ("/profiles".to_owned(), "x".repeat(10_300)),
        (format!("/profiles?limit={}", "1".repeat(10_300)), String::new()),
    ] {
        api.send("GET", &path, &[("x-large", &value)], "").await.with_status(431);
    }
}

#[test]
fn a_token_of_the_development_server_lets_its_holder_in() {
    let token = authorizer().token("ada", BOTH, Duration::from_secs(60)).expect("a token");
    let scopes = ["chat/read".to_owned()];
    let context =
        authorizer().authorize(Some(&format!("Bearer {token}")), &scopes).expect("let in");
    assert_eq!(
        (&context["jwt"]["claims"]["sub"], &context["jwt"]["scopes"]),
        (&json!("ada"), &json!(scopes))
    );
    assert!(context["jwt"]["claims"]["exp"].is_string(), "every claim is a text: {context}");
}
