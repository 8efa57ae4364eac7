//! What `template.yaml` says: the routes, each with its function and scopes, and the table.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::Value;
use shared::table::schema::{IndexSchema, KeySchema, TableSchema};
use tower_http::cors::CorsLayer;

/// The template that this server was built with.
pub const TEMPLATE: &str = include_str!("../../template.yaml");

/// A template, as far as a development server needs it.
#[derive(Clone, Debug)]
pub struct Template {
    /// Every route of the HTTP API.
    pub routes: Vec<Route>,
    /// How the table is declared.
    pub table: TableSchema,
    /// What pages of other origins may do, where there are such origins.
    pub cors: Cors,
}

/// The `CorsConfiguration` of the HTTP API, but for the origins.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cors {
    allow_methods: Vec<String>,
    allow_headers: Vec<String>,
    expose_headers: Vec<String>,
    max_age: u64,
}

impl Cors {
    /// What answers preflight requests, and lets pages of these origins read answers.
    ///
    /// # Errors
    /// What cannot be a header, in one line.
    pub fn layer(&self, origins: &[String]) -> Result<CorsLayer, String> {
        let names = |names: &[String]| {
            names.iter().map(|name| parsed(name)).collect::<Result<Vec<HeaderName>, _>>()
        };
        let origins: Vec<HeaderValue> =
            origins.iter().map(|origin| parsed(origin)).collect::<Result<_, _>>()?;
        let methods: Vec<Method> =
            self.allow_methods.iter().map(|method| parsed(method)).collect::<Result<_, _>>()?;
        Ok(CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(methods)
            .allow_headers(names(&self.allow_headers)?)
            .expose_headers(names(&self.expose_headers)?)
            .max_age(Duration::from_secs(self.max_age)))
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// A route of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// Its path, with parameters in braces.
    pub path: String,
    /// The name of the function's binary.
    pub function: String,
    /// How long the function may take.
    pub timeout: Duration,
    /// The scopes of which an access token must have one; `None` where nobody needs a token.
    pub scopes: Option<Vec<String>>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is missing or cannot be read, in one line.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let template: Value =
            serde_saphyr::from_str(yaml).map_err(|error| format!("template.yaml: {error}"))?;
        let resources = template["Resources"].as_object().ok_or("template.yaml: no Resources")?;
        let api =
            resources.values().find(|resource| resource["Type"] == "AWS::Serverless::HttpApi");
        let api = &api.ok_or("template.yaml: no HTTP API")?["Properties"];
        let mut routes = Vec::new();
        for (name, resource) in resources {
            let Some(events) = resource["Properties"]["Events"].as_object() else { continue };
            let function = resource["Metadata"]["BuildProperties"]["Binary"].as_str();
            let function =
                function.ok_or_else(|| format!("template.yaml: {name} names no binary"))?;
            let timeout = &resource["Properties"]["Timeout"];
            let timeout = timeout
                .as_u64()
                .or(template["Globals"]["Function"]["Timeout"].as_u64())
                .unwrap_or(3);
            for event in events.values().filter(|event| event["Type"] == "HttpApi") {
                let property = |property: &str| {
                    let value = event["Properties"][property].as_str().map(str::to_owned);
                    value.ok_or_else(|| {
                        format!("template.yaml: a route of {name} has no {property}")
                    })
                };
                let auth = &event["Properties"]["Auth"];
                let authorizer =
                    auth["Authorizer"].as_str().or(api["Auth"]["DefaultAuthorizer"].as_str());
                let scopes = auth["AuthorizationScopes"].as_array().into_iter().flatten();
                let scopes = scopes.filter_map(|scope| scope.as_str().map(str::to_owned)).collect();
                routes.push(Route {
                    method: property("Method")?,
                    path: property("Path")?,
                    function: function.to_owned(),
                    timeout: Duration::from_secs(timeout),
                    scopes: authorizer
                        .is_some_and(|authorizer| authorizer != "NONE")
                        .then_some(scopes),
                });
            }
        }
        let table = resources.values().find(|resource| resource["Type"] == "AWS::DynamoDB::Table");
        let table = table.ok_or("template.yaml: no table")?["Properties"].clone();
        let table = serde_json::from_value::<TableProperties>(table);
        let table = table.map_err(|error| format!("template.yaml: the table: {error}"))?.into();
        // The second branch of `!If`: the condition is whether there are origins.
        let cors = serde_json::from_value(api["CorsConfiguration"][1].clone());
        let cors = cors.map_err(|error| format!("template.yaml: CorsConfiguration: {error}"))?;
        Ok(Self { routes, table, cors })
    }
}

/// The `Properties` of an `AWS::DynamoDB::Table`, as far as a development engine supports them.
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
