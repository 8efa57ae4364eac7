//! What stands in more than one place is the same in all of them: routes, the router of `cargo lambda`, binaries, events.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lambda_http::RequestExt;
use local::template::{TEMPLATE, Template};

use tests::service::{Value, assert_same};

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
    let binaries = resources
        .values()
        .filter(|resource| resource["Type"] == "AWS::Serverless::Function")
        .map(|resource| {
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
    files
        .map(|file| {
            file.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect()
}

#[test]
fn every_function_has_a_binary_an_event_and_a_handler_or_a_schedule() {
    let declared: BTreeSet<String> = functions().into_keys().collect();
    let mut binaries = names("functions/src/bin");
    // These are crates of their own, for what they alone depend on.
    binaries.extend(["get-documentation", "smoke-test"].map(str::to_owned));
    assert_same("the binaries", &binaries, "template.yaml", &declared);
    assert_same("events", &names("events"), "template.yaml", &declared);
    for (function, routes) in functions() {
        let scheduled = SCHEDULED.contains(&function.as_str());
        assert_eq!(
            !local::is_function(&function),
            scheduled,
            "{function}: a handler in functions/src/lib.rs"
        );
        assert_eq!(routes.is_empty(), scheduled, "{function}: a route in template.yaml");
    }
}

#[test]
fn cargo_lambda_routes_as_the_template_does() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let router = manifest["workspace"]["metadata"]["lambda"]["watch"]["router"]
        .as_table()
        .expect("a router");
    let text = |route: &toml::Value, field: &str| route[field].as_str().expect("text").to_owned();
    let mut routed = BTreeSet::new();
    for (path, routes) in router {
        for route in routes.as_array().expect("routes") {
            routed.insert(((text(route, "method"), path.clone()), text(route, "function")));
        }
    }
    let declared = functions().into_iter();
    let declared = declared.flat_map(|(function, routes)| {
        routes.into_iter().map(move |route| (route, function.clone()))
    });
    assert_same("the router in Cargo.toml", &routed, "template.yaml", &declared.collect());
}

#[test]
fn every_event_is_one_that_its_function_would_be_sent() {
    for (function, routes) in functions().into_iter().filter(|(_, routes)| !routes.is_empty()) {
        let file = format!("events/{function}.json");
        let event = fs::read_to_string(root().join(&file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let request = lambda_http::request::from_str(&event)
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let event: Value = serde_json::from_str(&event).expect("JSON");
        let route =
            routes.iter().find(|(method, path)| event["routeKey"] == format!("{method} {path}"));
        let (method, path) =
            route.unwrap_or_else(|| panic!("{file}: {} is none of {routes:?}", event["routeKey"]));
        assert_eq!(request.method().as_str(), method, "{file}");
        let mut expected = path.clone();
        for (name, value) in request.path_parameters().iter() {
            expected = expected.replace(&format!("{{{name}}}"), value);
        }
        assert_eq!(request.raw_http_path(), expected, "{file}");
    }
}

/// The resources of the template that are of this type, with their properties.
fn resources(of: &str) -> BTreeMap<String, Value> {
    let yaml: Value = serde_saphyr::from_str(TEMPLATE).expect("YAML");
    let resources = yaml["Resources"]
        .as_object()
        .expect("resources")
        .iter()
        .filter(|(_, resource)| resource["Type"] == of);
    resources.map(|(name, resource)| (name.clone(), resource["Properties"].clone())).collect()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().expect("a word")).collect()
}

#[test]
fn no_function_can_be_deployed_open() {
    let yaml: Value = serde_saphyr::from_str(TEMPLATE).expect("YAML");
    assert_eq!(yaml["Globals"]["Function"]["Environment"]["Variables"]["AUTH"], "jwt");
    let auth = &resources("AWS::Serverless::HttpApi")["Api"]["Auth"];
    assert_eq!(auth["DefaultAuthorizer"], "Jwt", "a route that says nothing is closed");
    assert_eq!(auth["Authorizers"]["Jwt"]["IdentitySource"], "$request.header.Authorization");
    for (name, function) in resources("AWS::Serverless::Function") {
        assert!(function["Environment"]["Variables"]["AUTH"].is_null(), "{name} runs as all do");
        assert!(function["FunctionUrlConfig"].is_null(), "{name} has no URL beside the API");
        for event in function["Events"].as_object().expect("events").values() {
            assert!(
                ["HttpApi", "ScheduleV2"].contains(&event["Type"].as_str().expect("a type")),
                "{name}"
            );
        }
    }
    for route in Template::parse(TEMPLATE).expect("the template").routes {
        let read = ["chat/read", "chat/admin"].map(str::to_owned);
        let write = ["chat/write", "chat/admin"].map(str::to_owned);
        let expected = match (route.function.as_str(), route.method.as_str()) {
            ("get-documentation", "GET") => None,
            (_, "GET") => Some(read.to_vec()),
            // Each by its name: an `ANY` or `$default` would take preflight requests from API Gateway.
            (_, "POST" | "PATCH" | "DELETE") => Some(write.to_vec()),
            (function, method) => panic!("{function}: {method}"),
        };
        assert_eq!(route.scopes, expected, "{} {}", route.method, route.path);
    }
}

#[test]
fn no_client_may_ask_for_more_than_it_should() {
    let clients = resources("AWS::Cognito::UserPoolClient");
    assert_eq!(
        clients.keys().collect::<Vec<_>>(),
        ["BackendClient", "SmokeTestClient", "WebClient"]
    );
    for (name, client) in &clients {
        assert_eq!(
            client["AllowedOAuthFlowsUserPoolClient"], true,
            "{name}: or it may ask for nothing, and sign in otherwise"
        );
        assert_eq!(
            words(&client["ExplicitAuthFlows"]),
            ["ALLOW_REFRESH_TOKEN_AUTH"],
            "{name}: no passwords but on the sign-in page"
        );
        let (flows, scopes) =
            (words(&client["AllowedOAuthFlows"]), words(&client["AllowedOAuthScopes"]));
        // Whoever has the client may ask for every scope of it: chat/admin would make each of them an administrator.
        // aws.cognito.signin.user.admin lets them change their own attributes.
        let allowed = match flows.as_slice() {
            ["code"] => {
                assert_eq!(
                    client["GenerateSecret"], false,
                    "{name}: a page or an app cannot keep a secret"
                );
                vec!["openid", "chat/read", "chat/write"]
            }
            ["client_credentials"] => {
                assert_eq!(
                    client["GenerateSecret"], true,
                    "{name}: it has nothing else to prove who it is"
                );
                vec!["chat/read", "chat/write"]
            }
            flows => panic!("{name}: {flows:?}"),
        };
        assert_eq!(scopes, allowed, "{name}");
    }
    let scopes = &resources("AWS::Cognito::UserPoolResourceServer")["Scopes"];
    assert_eq!(scopes["Identifier"], "chat");
    let names: Vec<&Value> = scopes["Scopes"]
        .as_array()
        .expect("scopes")
        .iter()
        .map(|scope| &scope["ScopeName"])
        .collect();
    assert_eq!(names, ["read", "write", "admin"]);
    let yaml: Value = serde_saphyr::from_str(TEMPLATE).expect("YAML");
    assert_eq!(
        yaml["Parameters"]["SelfSignUp"]["Default"], "false",
        "nobody signs up by themselves unless it is opened"
    );
    let audience = &resources("AWS::Serverless::HttpApi")["Api"]["Auth"]["Authorizers"]["Jwt"]["JwtConfiguration"]
        ["audience"];
    for name in clients.keys() {
        assert!(audience.to_string().contains(name.as_str()), "tokens of {name} are let in");
    }
}

#[test]
fn no_secret_stands_in_an_environment() {
    let yaml: Value = serde_saphyr::from_str(TEMPLATE).expect("YAML");
    let functions = resources("AWS::Serverless::Function");
    let environments = functions
        .values()
        .map(|function| &function["Environment"])
        .chain([&yaml["Globals"]["Function"]["Environment"]]);
    for environment in environments {
        let environment = environment.to_string();
        assert!(
            !environment.contains("ClientSecret") && !environment.contains("resolve:"),
            "{environment}"
        );
    }
    let parameters = yaml["Parameters"].as_object().expect("parameters");
    assert!(
        parameters.keys().all(|name| !name.contains("Secret") || name.ends_with("Arn")),
        "a secret is named, never given"
    );
}
