//! The OpenAPI document: what handlers and types say about themselves, and what holds for every
//! operation.
//!
//! What differs between operations is written at their handlers. What follows from an operation's
//! method, path and body, such as its errors, is added here. The result is committed as
//! `assets/openapi.json`; a test compares the two.

use functions::http::Error;
use functions::http::auth::{ADMIN_SCOPE, READ_SCOPE, WRITE_SCOPE};
use functions::operations::Described;
use serde_json::{Map, Value, json};
use shared::Limit;
use shared::error::{Conflict, FieldErrors};
use utoipa::OpenApi;

/// What holds for the whole document. A schema that only a parameter refers to must be named.
#[derive(OpenApi)]
#[openapi(
    info(title = "Chat API", description = DESCRIPTION, license(name = "MIT OR Apache-2.0")),
    servers((url = "/")),
    tags(
        (name = "profiles", description = "Authors of messages, and the points that they have earned."),
        (name = "conversations", description = "Numbered sequences of messages."),
        (name = "messages", description = "Each earns its author a point; every tenth point earns a congratulation."),
    ),
    components(schemas(Limit)),
)]
struct Api;

const DESCRIPTION: &str = "Profiles, conversations and messages. Posting a message earns its author a point; each time the total \
reaches a multiple of ten, a congratulation follows in the same conversation.

- Lists are cut into pages `{results, next}`; `next` is the path of the following page, or `null`.
- A PATCH is a JSON merge patch (RFC 7396), one level deep: `null` resets a field to its default.
- Every POST takes an `Idempotency-Key`: sent again with the same body it answers what the first one created, for 7 days.
- Errors are problem details (RFC 9457). What the gateway in front answers by itself is `{\"message\": …}`.";

/// The document as JSON.
#[must_use]
pub fn document() -> String {
    // As JSON from here on: utoipa's own types say the same at four times the length.
    let mut api = Api::openapi();
    api.merge(Described::openapi());
    let mut document = json!(api);
    let components = &mut document["components"];
    for (name, schema) in entries(&mut components["schemas"]) {
        // utoipa writes the type of a generic one out in full.
        if let Some(of) = name.strip_prefix("Page_") {
            schema["properties"]["results"]["items"] = reference("schemas", of);
        }
        if name.starts_with("New") || name.ends_with("Patch") {
            schema["additionalProperties"] = json!(false);
        }
    }
    components["schemas"]["Problem"] = problem_schema();
    components["schemas"]["GatewayMessage"] = json!({
        "type": "object",
        "description": "What the gateway in front answers by itself.",
        "required": ["message"],
        "properties": { "message": { "type": ["string", "null"] } },
    });
    components["responses"] =
        refusals().into_iter().map(|(status, response)| (status.to_owned(), response)).collect();
    components["parameters"] = json!({ "IdempotencyKey": idempotency_key() });
    components["securitySchemes"] = json!({ "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token with the scope chat/read or chat/write. The development server, unless started with --auth, needs none.",
    } });
    for (path, item) in entries(&mut document["paths"]) {
        for (method, operation) in entries(item) {
            complete(path, method, operation);
        }
    }
    in_json_words(&mut document);
    document.to_string()
}

/// Adds to an operation what holds for all of its kind.
fn complete(path: &str, method: &str, operation: &mut Value) {
    // Either scope will do.
    let scope = if method == "get" { READ_SCOPE } else { WRITE_SCOPE };
    operation["security"] = json!([{ "token": [scope] }, { "token": [ADMIN_SCOPE] }]);
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let mut refusals = vec!["400", "401", "403", "413", "429", "500", "503"];
    if path.contains('{') {
        refusals.push("404");
    }
    if method == "post" {
        refusals.push("410");
        match &mut operation["parameters"] {
            Value::Array(parameters) => parameters.push(reference("parameters", "IdempotencyKey")),
            none => *none = json!([reference("parameters", "IdempotencyKey")]),
        }
        operation["responses"]["201"]["headers"] = json!({
            "Location": { "required": true, "schema": { "type": "string" }, "description": "The path of what was created." },
            "Idempotency-Replayed": {
                "schema": { "type": "string", "const": "true" },
                "description": "There when an earlier request with this key created it.",
            },
        });
    }
    if let Some(content) =
        operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut)
    {
        refusals.extend(["415", "422"]);
        content["application/json"]["example"] = example_request(&id);
        if method == "patch" {
            let patch = content["application/json"].clone();
            content.insert("application/merge-patch+json".to_owned(), patch);
        }
    }
    for (status, response) in entries(&mut operation["responses"]) {
        let description = match status {
            "201" => "Created, now or by an earlier request with the same key.",
            "204" => "Done.",
            "409" => {
                *response = reference("responses", "409");
                continue;
            }
            _ => "As asked for.",
        };
        response["description"] = json!(description);
        if let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) {
            content["application/json"]["example"] = example_answer(&id);
        }
        if let Some(links) = links(&id) {
            response["links"] = links;
        }
    }
    for status in refusals {
        operation["responses"][status] = reference("responses", status);
    }
}

/// Every error's answer, by its status: the service's own body, made as it is when it happens, and the gateway's.
fn refusals() -> Vec<(&'static str, Value)> {
    let errors = FieldErrors::from([(
        "first_name".into(),
        vec!["must have 1 to 100 characters, has 0".into()],
    )]);
    let refusal = |status, description: &str, error: Option<Error>, gateway: Option<&str>| {
        let mut content = Map::new();
        if let Some(error) = error {
            let answer = error.to_response("c6af9ac6-7b61-11e6-9a41-93e8deadbeef");
            let example: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let body = json!({ "schema": reference("schemas", "Problem"), "example": example });
            content.insert("application/problem+json".into(), body);
        }
        if let Some(message) = gateway {
            let body = json!({ "schema": reference("schemas", "GatewayMessage"), "example": { "message": message } });
            content.insert("application/json".into(), body);
        }
        let mut response = json!({ "description": description, "content": content });
        if status == "503" {
            let header = json!({ "schema": { "type": "integer" }, "description": "Seconds to wait before sending it again." });
            response["headers"] = json!({ "Retry-After": header });
        }
        (status, response)
    };
    let malformed = Error::Malformed("limit must be a whole number from 1 to 100".into());
    let conflict = shared::Error::Conflict(Conflict::DeletedMessage).into();
    let media_type = Error::MediaType(&["application/json"]);
    vec![
        refusal(
            "400",
            "The body is not JSON, or an id or a query parameter is malformed or unknown.",
            Some(malformed),
            None,
        ),
        refusal(
            "401",
            "No valid access token came with it.",
            Some(Error::Unauthenticated),
            Some("Unauthorized"),
        ),
        refusal(
            "403",
            "It belongs to someone else, or the token does not allow it.",
            Some(shared::Error::Forbidden.into()),
            Some("Forbidden"),
        ),
        refusal(
            "404",
            "There is no such thing.",
            Some(shared::Error::NotFound("profile").into()),
            Some("Not Found"),
        ),
        refusal("409", "The message is in a state that does not allow this.", Some(conflict), None),
        refusal(
            "410",
            "What this Idempotency-Key created has been deleted.",
            Some(shared::Error::Gone.into()),
            None,
        ),
        refusal(
            "413",
            "The body is larger than 96 KiB.",
            Some(Error::TooLarge),
            Some("Request Entity Too Large"),
        ),
        refusal("415", "The body is of another media type.", Some(media_type), None),
        refusal(
            "422",
            "Fields are not valid, or the key was used with another body.",
            Some(shared::Error::Invalid(errors).into()),
            None,
        ),
        refusal("429", "Too many requests.", None, Some("Too Many Requests")),
        refusal(
            "500",
            "A bug, or an outcome that is still unknown: look before sending it again, or repeat it with its key.",
            Some(shared::Error::OutcomeUnknown("no answer".into()).into()),
            Some("Internal Server Error"),
        ),
        refusal(
            "503",
            "Nothing was changed: send it again.",
            Some(shared::Error::Unavailable("throttled".into()).into()),
            Some("Service Unavailable"),
        ),
    ]
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string", "description": "The status in words." },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "What is wrong with this request, for people." },
            "errors": {
                "type": "object",
                "description": "What is wrong with each field; all of them at once.",
                "additionalProperties": { "type": "array", "minItems": 1, "items": { "type": "string" } },
            },
        },
    })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A UUID, new for each thing to create: a request that is repeated with it has one effect. It may stand in quotes.",
        "schema": {
            "type": "string",
            "format": "uuid",
            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        },
    })
}

/// Where to go on from what an operation created.
fn links(operation: &str) -> Option<Value> {
    let (created, parameters) = match operation {
        "create_profile" => ("profile", json!({ "profile_id": "$response.body#/id" })),
        "create_conversation" => {
            ("conversation", json!({ "conversation_id": "$response.body#/id" }))
        }
        "create_message" => (
            "message",
            json!({ "conversation_id": "$response.body#/conversation_id", "seq": "$response.body#/seq" }),
        ),
        _ => return None,
    };
    let mut links = Map::new();
    for verb in ["get", "update", "delete"] {
        let to = format!("{verb}_{created}");
        links.insert(to.clone(), json!({ "operationId": to, "parameters": parameters }));
    }
    let (to, onwards) = match created {
        "profile" => {
            let body = json!({ "author_id": "$response.body#/id", "subject": "Engines" });
            (
                "create_conversation",
                json!({ "operationId": "create_conversation", "requestBody": body }),
            )
        }
        "conversation" => {
            let body = json!({ "author_id": "$response.body#/author_id", "text": "Good morning" });
            (
                "create_message",
                json!({ "operationId": "create_message", "parameters": parameters, "requestBody": body }),
            )
        }
        _ => {
            let newer = json!({ "conversation_id": parameters["conversation_id"], "after": parameters["seq"] });
            ("list_messages", json!({ "operationId": "list_messages", "parameters": newer }))
        }
    };
    links.insert(to.into(), onwards);
    Some(Value::Object(links))
}

// The examples are one story: Ada opens a conversation, says something ten times, and is congratulated. A test lives through
// it and compares.

const ADA: &str = "01a20660-dce1-7163-bb79-0f9acfcc8303";
const ENGINES: &str = "01a20660-dd54-759e-a197-4019471e4dfb";

fn example_request(operation: &str) -> Value {
    match operation {
        "create_profile" => json!({ "first_name": "Ada", "last_name": "Lovelace" }),
        "update_profile" => json!({ "job_title": "Analyst" }),
        "create_conversation" => json!({ "subject": "Engines", "author_id": ADA }),
        "update_conversation" => json!({ "subject": "Analytical engines" }),
        "create_message" => {
            json!({ "author_id": ADA, "text": "Good morning", "metadata": { "client": "web" } })
        }
        _ => json!({ "text": "Good evening" }),
    }
}

fn example_answer(operation: &str) -> Value {
    match operation {
        "create_profile" => profile(0, ""),
        "list_profiles" => page([profile(10, "")], Value::Null),
        "get_profile" => profile(10, ""),
        "update_profile" => profile(10, "Analyst"),
        "create_conversation" => conversation("Engines", 0, 0),
        "list_conversations" => page([conversation("Engines", 1, 1)], Value::Null),
        "get_conversation" => {
            let mut conversation = conversation("Engines", 1, 1);
            conversation["messages"] = page([message(1, 1)], Value::Null);
            conversation
        }
        "update_conversation" => conversation("Analytical engines", 1, 1),
        "create_message" => {
            let mut posted = message(10, 10);
            posted["reward"] = congratulation();
            posted
        }
        "list_messages" => {
            let next = format!("/conversations/{ENGINES}/messages?limit=2&before=10");
            page([congratulation(), message(10, 10)], json!(next))
        }
        "get_message" => message(10, 10),
        _ => {
            let mut message = message(10, 10);
            message["text"] = json!("Good evening");
            message["edited_at"] = json!("2026-11-23T03:10:12.860Z");
            message
        }
    }
}

fn profile(points: u64, job_title: &str) -> Value {
    json!({
        "id": ADA,
        "first_name": "Ada",
        "last_name": "Lovelace",
        "full_name": "Ada Lovelace",
        "job_title": job_title,
        "points": points,
        "is_admin": false,
        "created_at": "2026-11-23T03:09:01.026Z",
    })
}

fn conversation(subject: &str, last_seq: u64, points: u64) -> Value {
    json!({
        "id": ENGINES,
        "subject": subject,
        "author_id": ADA,
        "author": profile(points, ""),
        "last_seq": last_seq,
        "created_at": "2026-11-23T03:09:01.140Z",
    })
}

fn message(seq: u64, points: u64) -> Value {
    json!({
        "conversation_id": ENGINES,
        "seq": seq,
        "type": "text",
        "author_id": ADA,
        "author": profile(points, ""),
        "text": "Good morning",
        "metadata": { "client": "web" },
        "points": points,
        "created_at": "2026-11-23T03:09:01.494Z",
        "edited_at": null,
        "deleted_at": null,
    })
}

fn congratulation() -> Value {
    let mut message = message(11, 10);
    message["type"] = json!("action");
    message["author_id"] = Value::Null;
    message["author"] = Value::Null;
    message["text"] = json!("Congratulations Ada, you have reached 10 points!");
    message["metadata"] = json!({ "profile_id": ADA, "points": 10 });
    message
}

fn page<const N: usize>(results: [Value; N], next: Value) -> Value {
    json!({ "results": results.to_vec(), "next": next })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn entries(object: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    object.as_object_mut().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// What Rust's documentation calls `None` is `null` to those who read this.
fn in_json_words(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => {
                        *text = text.replace("`None`", "`null`")
                    }
                    value => in_json_words(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(in_json_words),
        _ => {}
    }
}
