//! What stands in more than one place is the same in all of them: routes, the router of `cargo lambda`, binaries, events.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lambda_http::RequestExt;
use local::template::{TEMPLATE, Template};

use crate::support::{Value, assert_same};

/// Functions that run on a schedule and have no route.
const SCHEDULED: [&str; 2] = ["purge-deleted", "smoke-test"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A method and a path.
type Route = (String, String);

/// The functions of the template, and the routes of each; a scheduled one has none.
fn functions() -> BTreeMap<String, BTreeSet<Route>> {
    let yaml: Value = serde_saphyr::from_str(TEMPLATE).expect("YAML");
    let resources = yaml["Resources"].as_object().expect("resources");
    let binaries = resources.values().filter(|resource| resource["Type"] == "AWS::Serverless::Function").map(|resource| {
        let binary = &resource["Metadata"]["BuildProperties"]["Binary"];
        (binary.as_str().expect("a binary").to_owned(), BTreeSet::new())
    });
    let mut functions: BTreeMap<String, BTreeSet<Route>> = binaries.collect();
    for route in Template::parse(TEMPLATE).expect("the template").routes {
        functions.entry(route.function).or_default().insert((route.method, route.path));
    }
    functions
}

/// The names of the files in a folder, without their extension.
fn names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(root().join(folder)).expect("a folder");
    files.map(|file| file.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn every_function_has_a_binary_an_event_and_a_handler_or_a_schedule() {
    let declared: BTreeSet<String> = functions().into_keys().collect();
    assert_same("functions/src/bin", &names("functions/src/bin"), "template.yaml", &declared);
    assert_same("events", &names("events"), "template.yaml", &declared);
    for (function, routes) in functions() {
        let scheduled = SCHEDULED.contains(&function.as_str());
        assert_eq!(functions::handler(&function).is_none(), scheduled, "{function}: a handler in functions/src/lib.rs");
        assert_eq!(routes.is_empty(), scheduled, "{function}: a route in template.yaml");
    }
}

#[test]
fn cargo_lambda_routes_as_the_template_does() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let router = manifest["workspace"]["metadata"]["lambda"]["watch"]["router"].as_table().expect("a router");
    let text = |route: &toml::Value, field: &str| route[field].as_str().expect("text").to_owned();
    let mut routed = BTreeSet::new();
    for (path, routes) in router {
        for route in routes.as_array().expect("routes") {
            routed.insert(((text(route, "method"), path.clone()), text(route, "function")));
        }
    }
    let declared = functions().into_iter();
    let declared = declared.flat_map(|(function, routes)| routes.into_iter().map(move |route| (route, function.clone())));
    assert_same("the router in Cargo.toml", &routed, "template.yaml", &declared.collect());
}

#[test]
fn every_event_is_one_that_its_function_would_be_sent() {
    for (function, routes) in functions().into_iter().filter(|(_, routes)| !routes.is_empty()) {
        let file = format!("events/{function}.json");
        let event = fs::read_to_string(root().join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let request = lambda_http::request::from_str(&event).unwrap_or_else(|error| panic!("{file}: {error}"));
        let event: Value = serde_json::from_str(&event).expect("JSON");
        let route = routes.iter().find(|(method, path)| event["routeKey"] == format!("{method} {path}"));
        let (method, path) = route.unwrap_or_else(|| panic!("{file}: {} is none of {routes:?}", event["routeKey"]));
        assert_eq!(request.method().as_str(), method, "{file}");
        let mut expected = path.clone();
        for (name, value) in request.path_parameters().iter() {
            expected = expected.replace(&format!("{{{name}}}"), value);
        }
        assert_eq!(request.raw_http_path(), expected, "{file}");
    }
}
