//! The matrix: every route for every caller.

use functions::operations;
use local::template::Route;

use super::callers::{Role, authenticated_callers, callers, callers_by_event};
use super::{Authenticated, Resources, event_of};
use tests::service::{Value, json};

/// Which callers a function serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Every caller, also without a token.
    Public,
    /// Callers that may read.
    Read,
    /// Callers that may write; they own what they create.
    Create,
    /// The owner of the resource, or of the profile it acts as; and administrators.
    Owned,
    /// Callers that may read: the owner of the profile, and administrators.
    OwnedRead,
    /// The owner of the profile, but no administrator.
    Own,
}

/// The operations that act on no resource of an owner.
const CREATE: [&str; 1] = ["create-profile"];

/// Returns the rule of a route's function.
pub(super) fn rule(route: &Route) -> Rule {
    match operations::find(&route.function) {
        None => Rule::Public,
        Some(_) if route.function == "list-memberships" => Rule::OwnedRead,
        Some(_) if route.function == "mark-read" => Rule::Own,
        Some(operation) if operation.scope == "chat/read" => Rule::Read,
        Some(_) if CREATE.contains(&route.function.as_str()) => Rule::Create,
        Some(_) => Rule::Owned,
    }
}

/// Returns the status of a request that the rule allows.
fn success(route: &Route) -> u16 {
    match route.method.as_str() {
        "POST" => 201,
        "DELETE" => 204,
        _ => 200,
    }
}

/// Returns the status of a valid request by a caller.
fn expected(role: Role, route: &Route) -> u16 {
    match (role, rule(route)) {
        (_, Rule::Public) => success(route),
        (Role::Unauthenticated, _) => 401,
        (Role::Scopeless, _) => 403,
        (Role::Reader, Rule::Create | Rule::Owned | Rule::Own) => 403,
        (Role::Writer, Rule::Read | Rule::Owned | Rule::OwnedRead | Rule::Own) => 403,
        (Role::Stranger, Rule::Owned | Rule::OwnedRead | Rule::Own) => 403,
        (Role::Admin, Rule::Own) => 403,
        _ => success(route),
    }
}

/// Returns claims as API Gateway puts them into an event: every claim is a string.
fn claims_in_event(claims: &Value) -> Value {
    let text = |value: &Value| match value {
        Value::Array(members) => {
            let members = members.iter().map(|member| member.as_str().expect("text"));
            json!(format!("[{}]", members.collect::<Vec<_>>().join(" ")))
        }
        value => value.clone(),
    };
    let claims = claims.as_object().expect("claims").iter();
    let claims = claims.map(|(name, value)| (name.clone(), text(value)));
    claims.collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_serves_exactly_the_callers_whose_token_allows_it() {
    let service = Authenticated::start().await;
    let mut wrong = Vec::new();
    for (name, role, authorization) in callers() {
        let mut resources = Resources::create(&service).await;
        for route in &service.0.template.routes {
            let (path, body) = resources.request(route);
            let expected = expected(role, route);
            let response =
                service.send(authorization.as_deref(), &route.method, &path, &body).await;
            let (method, path, status) = (&route.method, &route.path, response.status.as_u16());
            if status != expected {
                wrong.push(format!("{name}: {method} {path}: {status} instead of {expected}"));
            }
            if expected == 401 {
                assert_eq!(response.header("www-authenticate"), "Bearer");
                assert_eq!(response.json(), json!({ "message": "Unauthorized" }));
            }
            if status == 204 {
                resources = Resources::create(&service).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_serves_exactly_the_callers_whose_claims_allow_it() {
    let service = Authenticated::start().await;
    let mut callers = callers_by_event();
    for (name, role, claims) in authenticated_callers() {
        callers.push((name, role, Some(claims_in_event(&claims))));
    }
    let mut wrong = Vec::new();
    for (name, role, claims) in callers {
        let mut resources = Resources::create(&service).await;
        for route in &service.0.template.routes {
            let (path, body) = resources.request(route);
            let expected = expected(role, route);
            let event = event_of(route, &path, &body);
            let response = service.invoke(&route.function, &event, claims.as_ref()).await;
            let (method, path, status) = (&route.method, &route.path, response.status().as_u16());
            if status != expected {
                wrong.push(format!("{name}: {method} {path}: {status} instead of {expected}"));
            }
            if status == 204 {
                resources = Resources::create(&service).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
