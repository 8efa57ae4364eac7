//! Routes, scopes, query parameters, binaries and events agree wherever they are listed.

use std::collections::BTreeSet;
use std::fs;

use documentation::openapi;
use functions::http::Operation;
use functions::http::auth::ADMIN_SCOPE;
use functions::operations;
use lambda_http::RequestExt;
use shared::table::parse_record;

use tests::service::{Value, json, parse_template};
use tests::template::{
    LIVE, Route, SCHEDULED, assert_same, event, functions, properties, root, routes, state_yaml,
    words, yaml,
};

/// Returns the names of the files in a folder, without their extension.
fn file_names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(root().join(folder)).expect("a folder");
    let name = |file: std::io::Result<fs::DirEntry>| {
        file.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned()
    };
    files.map(name).collect()
}

#[test]
fn every_function_has_a_binary_an_event_and_a_handler_or_a_schedule() {
    let declared: BTreeSet<String> = functions().into_keys().collect();
    let mut binaries = file_names("functions/src/bin");
    // These two are crates of their own, because of what only they depend on.
    binaries.extend(["get-documentation", "smoke-test"].map(str::to_owned));
    assert_same("the binaries", &binaries, "template.yaml", &declared);
    assert_same("events/", &file_names("events"), "template.yaml", &declared);
    for (function, routes) in routes() {
        let other = SCHEDULED.contains(&&*function) || LIVE.contains(&&*function);
        assert_eq!(local::is_function(&function), !other, "{function}: an operation");
        assert_eq!(routes.is_empty(), other, "{function}: a route in template.yaml");
    }
}

#[test]
fn every_operation_has_one_route_which_requires_its_scope() {
    let declared = parse_template().routes;
    for operation in operations::ALL {
        let function = operation.function();
        let routes: Vec<_> = declared.iter().filter(|route| route.function == function).collect();
        let [route] = routes.as_slice() else { panic!("{function}: {routes:?}") };
        let scopes = [operation.scope, ADMIN_SCOPE].map(str::to_owned).to_vec();
        assert_eq!(route.scopes, Some(scopes), "{function}");
        // `ANY` and `$default` would take preflight requests from API Gateway.
        assert!(["GET", "POST", "PATCH", "PUT", "DELETE"].contains(&&*route.method), "{function}");
    }
    let operations = operations::ALL.iter().map(|operation| operation.function());
    let public: BTreeSet<String> = [documentation::FUNCTION.to_owned()].into();
    for route in declared.iter().filter(|route| route.scopes.is_none()) {
        assert!(public.contains(&route.function), "{} needs no token", route.function);
    }
    let routed = declared.iter().map(|route| route.function.clone()).collect();
    assert_same("the code", &operations.chain(public).collect(), "template.yaml", &routed);
}

/// Returns the names of the query parameters of an operation in the OpenAPI document.
fn documented_query(document: &Value, operation: &Operation) -> BTreeSet<String> {
    let items = document["paths"].as_object().expect("paths").values();
    let mut described = items.flat_map(|item| item.as_object().expect("operations").values());
    let described = described.find(|described| described["operationId"] == operation.id);
    let described = described.unwrap_or_else(|| panic!("{} is not documented", operation.id));
    let parameters = described["parameters"].as_array().into_iter().flatten();
    let queries = parameters.filter(|parameter| parameter["in"] == "query");
    queries.map(|query| query["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn every_operation_documents_the_query_parameters_that_it_accepts() {
    let document: Value = serde_json::from_str(&openapi::document()).expect("JSON");
    for operation in operations::ALL {
        let accepted = operation.query.iter().map(|&name| name.to_owned()).collect();
        let documented = documented_query(&document, operation);
        assert_same(operation.id, &accepted, "the OpenAPI document", &documented);
    }
}

#[test]
fn cargo_lambda_has_the_routes_of_the_template() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let router = &manifest["workspace"]["metadata"]["lambda"]["watch"]["router"];
    let text = |route: &toml::Value, field: &str| route[field].as_str().expect("text").to_owned();
    let mut routed: BTreeSet<(Route, String)> = BTreeSet::new();
    for (path, routes) in router.as_table().expect("a router") {
        for route in routes.as_array().expect("routes") {
            routed.insert(((text(route, "method"), path.clone()), text(route, "function")));
        }
    }
    let declared = routes().into_iter().flat_map(|(function, routes)| {
        routes.into_iter().map(move |route| (route, function.clone()))
    });
    assert_same("the router in Cargo.toml", &routed, "template.yaml", &declared.collect());
}

#[test]
fn every_event_has_a_route_of_its_function() {
    for (function, routes) in routes().into_iter().filter(|(_, routes)| !routes.is_empty()) {
        let event = event(&function);
        let request = lambda_http::request::from_str(&event.to_string())
            .unwrap_or_else(|error| panic!("{function}: {error}"));
        let route = routes.iter().find(|(method, path)| {
            event["routeKey"] == format!("{method} {path}") // as API Gateway writes it
        });
        let (method, path) = route
            .unwrap_or_else(|| panic!("{function}: {} is not in {routes:?}", event["routeKey"]));
        assert_eq!(request.method().as_str(), method, "{function}");
        let mut expected = path.clone();
        for (name, value) in request.path_parameters().iter() {
            expected = expected.replace(&format!("{{{name}}}"), value);
        }
        assert_eq!(request.raw_http_path(), expected, "{function}");
    }
}

#[test]
fn no_function_can_be_deployed_without_authentication() {
    assert_eq!(yaml()["Globals"]["Function"]["Environment"]["Variables"]["AUTH"], "jwt");
    let auth = &properties("AWS::Serverless::HttpApi")["Api"]["Auth"];
    assert_eq!(auth["DefaultAuthorizer"], "Jwt", "a route without Auth needs a token");
    assert_eq!(auth["Authorizers"]["Jwt"]["IdentitySource"], "$request.header.Authorization");
    for (name, function) in properties("AWS::Serverless::Function") {
        assert!(function["Environment"]["Variables"]["AUTH"].is_null(), "{name} overrides AUTH");
        assert!(function["FunctionUrlConfig"].is_null(), "{name} has a URL outside the API");
        for (_, event) in function["Events"].as_object().into_iter().flatten() {
            let kind = event["Type"].as_str().expect("a type");
            assert!(["HttpApi", "ScheduleV2"].contains(&kind), "{name}: {kind}");
        }
    }
}

#[test]
fn no_environment_variable_contains_a_secret() {
    let yaml = yaml();
    let functions = properties("AWS::Serverless::Function");
    let environments = functions.values().map(|function| &function["Environment"]);
    for environment in environments.chain([&yaml["Globals"]["Function"]["Environment"]]) {
        let environment = environment.to_string();
        let secret = environment.contains("ClientSecret") || environment.contains("resolve:");
        assert!(!secret, "{environment}");
    }
    for template in [yaml, state_yaml()] {
        let parameters = template["Parameters"].as_object().expect("parameters");
        let only_names = |name: &String| !name.contains("Secret") || name.ends_with("Arn");
        assert!(parameters.keys().all(only_names), "a parameter contains no secret");
    }
}

#[test]
fn a_web_page_may_send_and_read_every_header_that_the_api_uses() {
    let cors = &properties("AWS::Serverless::HttpApi")["Api"]["CorsConfiguration"][1];
    let sent = ["authorization", "content-type", "idempotency-key", "if-match"];
    assert_eq!(words(&cors["AllowHeaders"]), sent);
    assert_eq!(words(&cors["AllowMethods"]), ["GET", "POST", "PUT", "PATCH", "DELETE"]);
    let read = [
        "etag",
        "location",
        "idempotency-replayed",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "apigw-requestid",
    ];
    assert_eq!(words(&cors["ExposeHeaders"]), read);
}

#[test]
fn a_profile_may_post_five_times_a_second_unless_the_operator_decides_otherwise() {
    let parameter = &yaml()["Parameters"]["PostsPerSecond"];
    assert_eq!((&parameter["Default"], &parameter["MinValue"]), (&json!(5), &json!(0)));
    for (function, declared) in functions() {
        let rate = &declared["Properties"]["Environment"]["Variables"]["POSTS_PER_SECOND"];
        let expected = if function == "create-message" { "PostsPerSecond" } else { "" };
        assert_eq!(rate.as_str().unwrap_or_default(), expected, "{function}");
    }
}

#[test]
fn the_websocket_api_routes_each_frame_to_the_alias_of_its_function() {
    let api = &properties("AWS::Serverless::WebSocketApi")["LiveApi"];
    let routes = api["Routes"].as_object().expect("routes").iter();
    let routes: Vec<(&str, &str)> = routes
        .map(|(key, route)| (key.as_str(), route["FunctionArn"].as_str().expect("a function")))
        .collect();
    let expected = [
        ("$connect", "Connect.Alias"),
        ("$disconnect", "Disconnect.Alias"),
        ("subscribe", "Subscribe.Alias"),
        ("unsubscribe", "Unsubscribe.Alias"),
        ("watch", "Watch.Alias"),
    ];
    assert_eq!(routes, expected);
    assert_eq!(api["RouteSelectionExpression"], "$request.body.action");
    // A stage of a WebSocket API cannot be `$default`; its access log needs a role of the account.
    assert_eq!((&api["StageName"], &api["AccessLogSettings"]), (&json!("live"), &Value::Null));
}

#[test]
fn tickets_and_frames_use_the_address_of_the_websocket_api() {
    let api = "${LiveApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/live";
    let live = json!(["HasLiveDomain", "wss://${LiveDomainName}", format!("wss://{api}")]);
    assert_eq!(yaml()["Outputs"]["LiveUrl"]["Value"], live);
    for (name, function) in functions() {
        let variables = &function["Properties"]["Environment"]["Variables"];
        // The page's content security policy allows the address of the tickets.
        let opens = ["create-ticket", "get-documentation"].contains(&&*name);
        let opens = if opens { live.clone() } else { Value::Null };
        assert_eq!(variables["LIVE_URL"], opens, "{name}");
        let sends = ["subscribe", "unsubscribe", "watch", "deliver"].contains(&&*name);
        let sends = if sends { json!(format!("https://{api}")) } else { Value::Null };
        assert_eq!(variables["CONNECTIONS_URL"], sends, "{name}");
    }
}

#[test]
fn the_stream_is_read_as_live_delivery_needs_it() {
    let mapping = &properties("AWS::Lambda::EventSourceMapping")["DeliverStream"];
    let failures = json!({ "OnFailure": { "Destination": "FailedDeliveries.Arn" } });
    for (name, value) in [
        ("FunctionName", json!("Deliver.Alias")),
        ("EventSourceArn", json!("StreamArn")),
        ("StartingPosition", json!("LATEST")),
        ("BatchSize", json!(100)),
        ("ParallelizationFactor", json!(1)),
        ("MaximumRetryAttempts", json!(2)),
        ("MaximumRecordAgeInSeconds", json!(60)),
        ("BisectBatchOnFunctionError", json!(true)),
        ("FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
        ("DestinationConfig", failures),
    ] {
        assert_eq!(mapping[name], value, "{name}");
    }
    let table = &properties("AWS::DynamoDB::Table")["Table"];
    assert_eq!(table["StreamSpecification"]["StreamViewType"], "KEYS_ONLY");
}

#[test]
fn the_filters_pass_exactly_the_records_that_live_delivery_reads() {
    let mapping = &properties("AWS::Lambda::EventSourceMapping")["DeliverStream"];
    let filters = mapping["FilterCriteria"]["Filters"].as_array().expect("filters").iter();
    let pattern = |filter: &Value| filter["Pattern"].as_str().expect("a pattern").to_owned();
    let filters: Vec<Value> =
        filters.map(|filter| serde_json::from_str(&pattern(filter)).expect("JSON")).collect();
    let passes = |event: &str, sk: &str| {
        filters.iter().any(|filter| {
            let keys = filter["dynamodb"]["Keys"]["sk"]["S"].as_array().expect("a list");
            let matches = |key: &Value| match key["prefix"].as_str() {
                Some(prefix) => sk.starts_with(prefix),
                None => key == sk,
            };
            filter["eventName"] == json!([event]) && keys.iter().any(matches)
        })
    };
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let (pk, member) = (format!("CONVERSATION#{id}"), format!("MEMBER#{id}"));
    let sort_keys = [
        ["MESSAGE#000000000001", "CHANGE#000000000001", "CHANGES", "ENDED"],
        [member.as_str(), "ACCESS#x", "CONVERSATION", "x#y#changes"],
    ];
    for event in ["INSERT", "MODIFY", "REMOVE"] {
        for sk in sort_keys.concat() {
            let read = parse_record(event, &pk, sk).expect("a key");
            assert_eq!(passes(event, sk), read.is_some(), "{event} {sk}");
        }
    }
}
