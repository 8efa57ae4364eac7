//! Tests of the OpenAPI document: it matches the service.

use std::collections::{BTreeMap, BTreeSet};

use documentation::openapi;
use functions::operations;
use local::template::Template;

use tests::service::{Api, Value, json};

/// Returns the served document.
pub(super) async fn document(api: &Api) -> Value {
    api.get("/openapi.json").await.expect(200)
}

/// Returns path, method (in lower case) and description of every operation.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").iter();
            methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

/// Returns the value that a reference within the document points at, or the value itself.
pub(super) fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(value, |pointer| {
        document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} does not exist"))
    })
}

/// Returns the names of an operation's parameters in one place: "query" or "header".
fn parameters<'d>(document: &'d Value, operation: &'d Value, place: &str) -> BTreeSet<&'d str> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters = parameters.map(|parameter| resolve(document, parameter));
    let parameters = parameters.filter(|parameter| parameter["in"] == place);
    parameters.map(|parameter| parameter["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn the_committed_document_is_the_generated_one() {
    let served = Api::start_isolated().await.get("/openapi.json").await;
    assert!(
        served.text == openapi::document(),
        "assets/openapi.json is out of date. Run:\n\
         cargo run -p documentation --example openapi > openapi.json && \
         mv openapi.json functions/documentation/assets"
    );
}

#[tokio::test]
async fn the_document_describes_exactly_the_routes_of_the_template() {
    let document = document(&Api::start_isolated().await).await;
    let described = operations(&document).into_iter().map(|(path, method, operation)| {
        let id = operation["operationId"].as_str().expect("an id");
        (id.replace('_', "-"), method.to_uppercase(), path.to_owned())
    });
    let routes = Template::parse().expect("the template").routes.into_iter();
    // The documentation does not describe itself.
    let routes = routes.filter(|route| route.function != documentation::FUNCTION);
    let routes = routes.map(|route| (route.function, route.method, route.path));
    assert_eq!(
        described.collect::<BTreeSet<_>>(),
        routes.collect(),
        "openapi.json (left) and template.yaml (right)"
    );
}

#[tokio::test]
async fn every_operation_documents_the_query_parameters_and_the_scope_that_it_checks() {
    let document = document(&Api::start_isolated().await).await;
    let described: BTreeMap<_, _> = operations(&document)
        .into_iter()
        .map(|(_, _, operation)| (operation["operationId"].as_str().expect("an id"), operation))
        .collect();
    for checked in operations::ALL {
        let operation = described[checked.id];
        let query: BTreeSet<&str> = checked.query.iter().copied().collect();
        assert_eq!(parameters(&document, operation, "query"), query, "{}", checked.id);
        let security = json!([{ "token": [checked.scope] }, { "token": ["chat/admin"] }]);
        assert_eq!(operation["security"], security, "{}", checked.id);
    }
    assert_eq!(described.len(), operations::ALL.len());
}

#[tokio::test]
async fn every_reference_and_link_of_the_document_has_a_target() {
    fn check(document: &Value, value: &Value, ids: &BTreeSet<&str>) {
        resolve(document, value);
        if let Some(links) = value.get("links").and_then(Value::as_object) {
            for link in links.values() {
                assert!(ids.contains(link["operationId"].as_str().expect("an id")), "{link}");
            }
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|value| check(document, value, ids)),
            Value::Array(values) => values.iter().for_each(|value| check(document, value, ids)),
            _ => {}
        }
    }
    let document = document(&Api::start_isolated().await).await;
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document).into_iter();
    let ids = operations.map(|(_, _, operation)| operation["operationId"].as_str().expect("an id"));
    check(&document, &document, &ids.collect());
}

/// Client generators support one media type per body, and dates without a pattern.
#[tokio::test]
async fn every_body_has_one_media_type_and_no_date_has_a_pattern() {
    fn check(value: &Value) {
        if let Some(content) = value.get("content").and_then(Value::as_object) {
            assert_eq!(content.len(), 1, "{value}");
        }
        assert!(value.get("format") != Some(&json!("date-time")) || value.get("pattern").is_none());
        match value {
            Value::Object(fields) => fields.values().for_each(check),
            Value::Array(values) => values.iter().for_each(check),
            _ => {}
        }
    }
    check(&document(&Api::start_isolated().await).await);
}

#[tokio::test]
async fn every_operation_documents_its_errors_bodies_and_headers() {
    let document = document(&Api::start_isolated().await).await;
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let has_body = ["post", "patch", "put"].contains(&method) && path != "/tickets";
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{name}");
        assert_eq!(operation.get("requestBody").is_some(), has_body, "{name}");

        let responses = operation["responses"].as_object().expect("responses");
        let mut expected = BTreeSet::from(["400", "401", "403", "413", "500", "503"]);
        let id = operation["operationId"].as_str().expect("an id");
        expected.extend(path.contains('{').then_some("404"));
        expected.extend((path.ends_with("{seq}") && method != "get").then_some("409"));
        let has_key = method == "post" && has_body;
        expected.extend((has_key || id == "list_changes").then_some("410"));
        let has_version = ["patch", "delete"].contains(&method) && id != "delete_member";
        expected.extend(has_version.then_some("412"));
        expected.extend((id == "create_message").then_some("429"));
        expected.extend(has_body.then_some(["415", "422"]).into_iter().flatten());
        let errors = responses.keys().map(String::as_str).filter(|status| *status >= "400");
        assert_eq!(errors.collect::<BTreeSet<_>>(), expected, "{name}");

        for (status, response) in responses {
            let response = resolve(&document, response);
            let description = response["description"].as_str().expect("a description");
            assert!(!description.is_empty(), "{name} {status}");
            let content = response["content"].as_object().into_iter().flatten();
            let media_types: Vec<_> = content.map(|(media_type, _)| media_type.as_str()).collect();
            let expected: &[&str] = match status.as_str() {
                "204" => &[],
                status if status < "400" => &["application/json"],
                _ => &["application/problem+json"],
            };
            assert_eq!(media_types, expected, "{name} {status}");
        }
        let expected: &[&str] = match method {
            _ if has_key => &["Idempotency-Key"],
            _ if has_version => &["If-Match"],
            _ => &[],
        };
        let headers = parameters(&document, operation, "header");
        assert!(headers.iter().eq(expected), "{name}: {headers:?}");
    }
}

#[tokio::test]
async fn the_description_shows_the_body_of_the_gateways_own_errors() {
    let api = Api::start_isolated().await;
    let description = document(&api).await["info"]["description"].to_string();
    let body = api.get("/nothing").await.expect(404);
    assert!(body.as_object().expect("an object").keys().eq(["message"]), "{body}");
    assert!(description.contains(r#"{\"message\": "#), "{description}");
}
