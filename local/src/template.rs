//! The parts of `template.yaml` and `state.yaml` that the development server uses: routes, CORS, table.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::table::schema::{IndexSchema, KeySchema, TableSchema};
use tower_http::cors::CorsLayer;

use crate::hosts::parse_origin;

/// The template of the service at the time of the build.
pub const TEMPLATE: &str = include_str!("../../template.yaml");
/// The template of what outlives the service, the table among it.
pub const STATE: &str = include_str!("../../state.yaml");

/// The parts of the templates that the development server uses.
#[derive(Clone, Debug)]
pub struct Template {
    /// The routes of the HTTP API.
    pub routes: Vec<Route>,
    /// The declaration of the table.
    pub table: TableSchema,
    /// The requests that pages of other origins may send.
    pub cors: Cors,
}

/// The `CorsConfiguration` of the HTTP API, without the origins.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cors {
    allow_methods: Vec<String>,
    allow_headers: Vec<String>,
    expose_headers: Vec<String>,
    max_age: u64,
}

impl Cors {
    /// Returns the layer that answers preflight requests and lets pages of these origins read
    /// responses.
    ///
    /// # Errors
    /// An invalid origin, method or header, in one line.
    pub fn layer(&self, origins: &[String]) -> Result<CorsLayer, String> {
        let names = |names: &[String]| {
            names.iter().map(|name| parse(name)).collect::<Result<Vec<HeaderName>, _>>()
        };
        let origins: Vec<HeaderValue> =
            origins.iter().map(|origin| parse_origin(origin)).collect::<Result<_, _>>()?;
        let methods: Vec<Method> =
            self.allow_methods.iter().map(|method| parse(method)).collect::<Result<_, _>>()?;
        Ok(CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(methods)
            .allow_headers(names(&self.allow_headers)?)
            .expose_headers(names(&self.expose_headers)?)
            .max_age(Duration::from_secs(self.max_age)))
    }
}

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("template.yaml: {text}: {error}"))
}

/// A route of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path, with parameters in braces.
    pub path: String,
    /// The name of the function's binary.
    pub function: String,
    /// The time limit of the function.
    pub timeout: Duration,
    /// An access token needs one of these scopes; `None` if the route needs no token.
    pub scopes: Option<Vec<String>>,
}

impl Template {
    /// Parses [`TEMPLATE`] and [`STATE`].
    ///
    /// # Errors
    /// The missing or invalid part, in one line.
    pub fn parse() -> Result<Self, String> {
        let (routes, cors) =
            Self::read_service(TEMPLATE).map_err(|error| format!("template.yaml: {error}"))?;
        let table = read_table(STATE).map_err(|error| format!("state.yaml: {error}"))?;
        Ok(Self { routes, table, cors })
    }

    fn read_service(yaml: &str) -> Result<(Vec<Route>, Cors), String> {
        let template = read_yaml(yaml)?;
        let resources = template["Resources"].as_object().ok_or("there are no Resources")?;
        let api = find(resources, "AWS::Serverless::HttpApi")?;
        // The second branch of `!If`: the configuration if there are origins.
        let cors = Cors::deserialize(&api["CorsConfiguration"][1]);
        let defaults = Defaults {
            timeout: template["Globals"]["Function"]["Timeout"].as_u64().unwrap_or(3),
            authorizer: api["Auth"]["DefaultAuthorizer"].as_str(),
        };
        let mut routes = Vec::new();
        for (name, resource) in resources {
            let read = defaults.routes(resource).map_err(|error| format!("{name}: {error}"))?;
            routes.extend(read);
        }
        Ok((routes, cors.map_err(|error| format!("CorsConfiguration: {error}"))?))
    }
}

fn read_yaml(yaml: &str) -> Result<Value, String> {
    serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
}

/// Returns the properties of the first resource of this type.
fn find<'t>(resources: &'t Map<String, Value>, kind: &str) -> Result<&'t Value, String> {
    let resource = resources.values().find(|resource| resource["Type"] == kind);
    let properties = resource.map(|resource| &resource["Properties"]);
    properties.ok_or_else(|| format!("there is no {kind}"))
}

fn read_table(yaml: &str) -> Result<TableSchema, String> {
    let template = read_yaml(yaml)?;
    let resources = template["Resources"].as_object().ok_or("there are no Resources")?;
    let table = TableProperties::deserialize(find(resources, "AWS::DynamoDB::Table")?);
    table.map(TableSchema::from).map_err(|error| format!("the table: {error}"))
}

/// Returns the name of a function's binary: `cargo lambda build` creates a folder with that name.
#[must_use]
pub fn binary(properties: &Value) -> Option<&str> {
    properties["CodeUri"].as_str()?.strip_prefix("target/lambda/")
}

/// The properties of routes that do not declare them.
struct Defaults<'t> {
    /// In seconds.
    timeout: u64,
    authorizer: Option<&'t str>,
}

impl Defaults<'_> {
    /// Returns the routes to a resource. Only functions have routes.
    fn routes(&self, resource: &Value) -> Result<Vec<Route>, String> {
        let properties = &resource["Properties"];
        let Some(events) = properties["Events"].as_object() else { return Ok(Vec::new()) };
        let function = binary(properties).ok_or("names no binary")?;
        let timeout = Duration::from_secs(properties["Timeout"].as_u64().unwrap_or(self.timeout));
        let events = events.values().filter(|event| event["Type"] == "HttpApi");
        events
            .map(|event| {
                let property = |name: &str| {
                    let value = event["Properties"][name].as_str().map(str::to_owned);
                    value.ok_or_else(|| format!("a route has no {name}"))
                };
                Ok(Route {
                    method: property("Method")?,
                    path: property("Path")?,
                    function: function.to_owned(),
                    timeout,
                    scopes: self.scopes(&event["Properties"]["Auth"]),
                })
            })
            .collect()
    }

    fn scopes(&self, auth: &Value) -> Option<Vec<String>> {
        let authorizer = auth["Authorizer"].as_str().or(self.authorizer);
        let scopes = auth["AuthorizationScopes"].as_array().into_iter().flatten();
        let scopes = scopes.filter_map(|scope| scope.as_str().map(str::to_owned)).collect();
        authorizer.is_some_and(|authorizer| authorizer != "NONE").then_some(scopes)
    }
}

/// The `Properties` of an `AWS::DynamoDB::Table` that a development engine supports.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableProperties {
    attribute_definitions: Vec<Attribute>,
    key_schema: Vec<KeyElement>,
    global_secondary_indexes: Vec<Index>,
    time_to_live_specification: TimeToLive,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyElement {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    index_name: String,
    key_schema: Vec<KeyElement>,
    projection: Projection,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Projection {
    projection_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: String,
}

impl From<TableProperties> for TableSchema {
    fn from(table: TableProperties) -> Self {
        let attributes = table.attribute_definitions.into_iter();
        let indexes = table.global_secondary_indexes.into_iter().map(|index| IndexSchema {
            name: index.index_name,
            key: key_schema(index.key_schema),
            projection: index.projection.projection_type,
        });
        Self {
            attributes: attributes.map(|a| (a.attribute_name, a.attribute_type)).collect(),
            key: key_schema(table.key_schema),
            indexes: indexes.collect(),
            time_to_live: table.time_to_live_specification.attribute_name,
        }
    }
}

fn key_schema(elements: Vec<KeyElement>) -> KeySchema {
    elements.into_iter().map(|element| (element.attribute_name, element.key_type)).collect()
}
