//! What `template.yaml` says: the routes, each with its function, and the table.

use std::time::Duration;

use serde_json::Value;
use shared::table::create::Declaration;

/// The template that this server was built with.
pub const TEMPLATE: &str = include_str!("../../template.yaml");

/// A template, as far as a development server needs it.
#[derive(Clone, Debug)]
pub struct Template {
    /// Every route of the HTTP API.
    pub routes: Vec<Route>,
    /// How the table is declared.
    pub table: Declaration,
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
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is missing or cannot be read, in one line.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let template: Value = serde_saphyr::from_str(yaml).map_err(|error| format!("template.yaml: {error}"))?;
        let resources = template["Resources"].as_object().ok_or("template.yaml: no Resources")?;
        let mut routes = Vec::new();
        for (name, resource) in resources {
            let Some(events) = resource["Properties"]["Events"].as_object() else { continue };
            let function = resource["Metadata"]["BuildProperties"]["Binary"].as_str();
            let function = function.ok_or_else(|| format!("template.yaml: {name} names no binary"))?;
            let timeout = &resource["Properties"]["Timeout"];
            let timeout = timeout.as_u64().or(template["Globals"]["Function"]["Timeout"].as_u64()).unwrap_or(3);
            for event in events.values().filter(|event| event["Type"] == "HttpApi") {
                let property = |property: &str| {
                    let value = event["Properties"][property].as_str().map(str::to_owned);
                    value.ok_or_else(|| format!("template.yaml: a route of {name} has no {property}"))
                };
                routes.push(Route {
                    method: property("Method")?,
                    path: property("Path")?,
                    function: function.to_owned(),
                    timeout: Duration::from_secs(timeout),
                });
            }
        }
        let table = resources.values().find(|resource| resource["Type"] == "AWS::DynamoDB::Table");
        let table = table.ok_or("template.yaml: no table")?["Properties"].clone();
        let table = serde_json::from_value(table).map_err(|error| format!("template.yaml: the table: {error}"))?;
        Ok(Self { routes, table })
    }
}
