//! What `template.yaml` and `state.yaml` declare, as far as tests compare it with something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use local::template::{STATE, TEMPLATE, binary};
use serde_json::Value;

use crate::service::parse_template;

/// Functions that run on a schedule and have no route.
pub const SCHEDULED: [&str; 2] = ["purge-deleted", "smoke-test"];

/// The functions of the WebSocket API and of the table's stream, which have no route of the HTTP API.
pub const LIVE: [&str; 6] =
    ["connect", "disconnect", "subscribe", "unsubscribe", "watch", "deliver"];

/// A method and a path.
pub type Route = (String, String);

/// Returns the repository's folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the template of the service. CloudFormation's tags, such as `!Ref`, are left out.
///
/// # Panics
/// If it is not YAML.
#[must_use]
pub fn yaml() -> Value {
    serde_saphyr::from_str(TEMPLATE).expect("YAML")
}

/// Returns the template of what outlives the service, like [`yaml`].
///
/// # Panics
/// If it is not YAML.
#[must_use]
pub fn state_yaml() -> Value {
    serde_saphyr::from_str(STATE).expect("YAML")
}

/// Returns all resources of both templates, by name.
///
/// # Panics
/// If a template has no resources.
#[must_use]
pub fn all_resources() -> BTreeMap<String, Value> {
    let templates = [yaml(), state_yaml()].into_iter();
    let resources = templates.flat_map(|template| {
        template["Resources"].as_object().expect("resources").clone().into_iter()
    });
    resources.collect()
}

/// Returns the resources of this type in both templates, by name.
#[must_use]
pub fn resources(kind: &str) -> BTreeMap<String, Value> {
    let resources = all_resources().into_iter();
    resources.filter(|(_, resource)| resource["Type"] == kind).collect()
}

/// Returns the properties of the resources of this type in both templates, by name.
#[must_use]
pub fn properties(kind: &str) -> BTreeMap<String, Value> {
    let resources = resources(kind).into_iter();
    resources.map(|(name, resource)| (name, resource["Properties"].clone())).collect()
}

/// Returns the members of a list of words; nothing for `null`.
///
/// # Panics
/// If a member is not a string.
#[must_use]
pub fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().expect("a word")).collect()
}

/// Returns the Lambda functions with their declarations, by the name of their binary.
///
/// # Panics
/// If a function names no binary.
#[must_use]
pub fn functions() -> BTreeMap<String, Value> {
    let functions = resources("AWS::Serverless::Function").into_values();
    let functions = functions
        .map(|function| (binary(&function["Properties"]).expect("a binary").to_owned(), function));
    functions.collect()
}

/// Returns the routes of each function; a scheduled function has none.
#[must_use]
pub fn routes() -> BTreeMap<String, BTreeSet<Route>> {
    let mut routes: BTreeMap<String, BTreeSet<Route>> =
        functions().into_keys().map(|function| (function, BTreeSet::new())).collect();
    for route in parse_template().routes {
        routes.entry(route.function).or_default().insert((route.method, route.path));
    }
    routes
}

/// Returns the event in `events/` for a function.
///
/// # Panics
/// If it is absent or not JSON.
#[must_use]
pub fn event(function: &str) -> Value {
    let file = root().join(format!("events/{function}.json"));
    let event =
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&event).expect("JSON")
}

/// Returns the JSON body of the event of a function, `null` if it has none.
///
/// # Panics
/// If the body is not JSON.
#[must_use]
pub fn event_body(function: &str) -> Value {
    let event = event(function);
    let Some(body) = event["body"].as_str() else { return Value::Null };
    let body = match event["isBase64Encoded"].as_bool() {
        Some(true) => BASE64_STANDARD.decode(body).expect("base64"),
        _ => body.as_bytes().to_vec(),
    };
    serde_json::from_slice(&body).expect("JSON")
}

/// Checks that two sets are equal, and lists the members of only one of them.
///
/// # Panics
/// If they differ.
#[track_caller]
pub fn assert_same<T: Ord + Debug>(
    one_name: &str,
    one: &BTreeSet<T>,
    other_name: &str,
    other: &BTreeSet<T>,
) {
    let only_one: Vec<&T> = one.difference(other).collect();
    let only_other: Vec<&T> = other.difference(one).collect();
    assert!(
        only_one.is_empty() && only_other.is_empty(),
        "only in {one_name}: {only_one:?}; only in {other_name}: {only_other:?}"
    );
}
