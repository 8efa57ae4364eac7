//! The OpenAPI document, generated from the handlers and types, and committed as
//! `assets/openapi.json`.
//!
//! Handlers describe what differs between operations. This module adds what follows from an
//! operation's method, path, scope and body: security, headers, errors and links. The parts that no
//! Rust type describes are in `components.json`, the examples of bodies in `examples.json`.

use functions::http::Error;
use functions::http::auth::ADMIN_SCOPE;
use functions::http::profiles::Owner;
use functions::operations::{self, Described};
use lambda_http::Body;
use serde_json::{Map, Value, json};
use shared::Error as Domain;
use shared::error::{Conflict, FieldErrors};
use shared::{Limit, MessageLimit, Quota};
use utoipa::OpenApi;

/// The description of the whole document. Schemas that only parameters refer to are named here.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chat API",
        description = DESCRIPTION,
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    tags(
        (name = "profiles", description = "Authors of messages, with the points they have earned."),
        (name = "conversations", description = "Numbered sequences of messages."),
        (name = "members", description = "Profiles that take part in a conversation, and what they \
                                          have read."),
        (name = "messages", description = "Each message earns its author one point; every tenth \
                                           point earns a congratulation."),
        (name = "live", description = "Messages, edits and deletions through a WebSocket, as they \
                                       happen."),
    ),
    components(schemas(Limit, MessageLimit, Owner)),
)]
struct Api;

const DESCRIPTION: &str = "Profiles, conversations and messages. Posting a message earns its \
author one point. When the author's total reaches a multiple of ten, a congratulation follows in \
the same conversation.

- **Privacy.** A private conversation exists only for the owners of its members, its own owner and \
administrators. For everyone else each request to it is answered as for an absent id. So a client \
that follows a conversation and gets 404 has been removed, or the conversation has been deleted.
- **Roles.** The author of a conversation is its first member, a moderator. Its owner, the caller \
who created it, has the rights of a moderator for good, also as no member, and alone may delete it. \
So a conversation whose last moderator leaves still has its owner.
- **Following.** Poll `changes` every two seconds while the conversation is visible, and less often \
while nothing happens.
- **Pages.** Lists are split into pages `{results, next}`. `next` is the path and query of the \
following page, or `null` on the last page.
- **Changes.** The body of a PATCH is a JSON merge patch (RFC 7396), sent as `application/json` or \
`application/merge-patch+json`: an absent field keeps its value, and `null` resets a field to its \
default.
- **Idempotency.** Every POST except `/tickets` takes the header `Idempotency-Key`. A repeat of a \
request with the same key creates nothing and returns the resource that the first request created.
- **Versions.** A response with one profile, conversation or message has an `ETag`. A PATCH or DELETE of it \
with `If-Match` succeeds only if the resource still has that version.
- **Errors.** The service returns problem details (RFC 9457) as `application/problem+json`. Each \
has a stable `code` that names the cause. An error of the gateway in front of the service (401, \
403, 404, 413, 429, 500 or 503) is `application/json` with the body `{\"message\": \"…\"}`.";

const COMPONENTS: &str = include_str!("components.json");

/// Bodies of requests and successful responses, by operation. They tell one story: Ada creates a
/// conversation, posts ten messages and is congratulated. A test runs the story and compares.
const EXAMPLES: &str = include_str!("examples.json");

/// The operation that creates something which has neither a version nor a path.
const TICKET: &str = "create_ticket";

/// The request id in the examples of errors.
const REQUEST_ID: &str = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef";

/// Generates the document as JSON, with sorted keys.
#[must_use]
pub fn document() -> String {
    let mut api = Api::openapi();
    api.merge(Described::openapi());
    // From here on the document is a JSON value: changing utoipa's types takes four times the code.
    let mut document = json!(api);
    complete_components(&mut document["components"]);
    let examples = parse(EXAMPLES);
    for (path, item) in entries(&mut document["paths"]) {
        for (method, operation) in entries(item) {
            complete_operation(path, method, operation, &examples);
        }
    }
    // The name of `None` in JSON.
    format!("{document:#}\n").replace("`None`", "`null`")
}

/// Adds the components that no Rust type describes, and what utoipa cannot say about schemas.
fn complete_components(components: &mut Value) {
    for (name, schema) in entries(&mut components["schemas"]) {
        // utoipa repeats the schema of a page's results instead of a reference to it.
        if let Some(item) = name.strip_prefix("Page_") {
            schema["properties"]["results"]["items"] = reference("schemas", item);
        }
        // Bodies of requests: unknown fields are invalid.
        if name.starts_with("New") || name.ends_with("Patch") {
            schema["additionalProperties"] = json!(false);
        }
        if name == "Metadata" {
            schema["additionalProperties"] = json!(true);
        }
    }
    for (kind, mut parts) in parse(COMPONENTS) {
        for (name, part) in entries(&mut parts) {
            components[&kind][name] = part.take();
        }
    }
    let errors: Vec<Value> = errors().iter().map(problem).collect();
    let codes: Vec<String> =
        errors.iter().map(|problem| format!("`{}`", text(problem, "code"))).collect();
    components["schemas"]["Problem"]["properties"]["code"]["description"] = json!(format!(
        "The cause, one of {}. Treat an unknown code like any other error of its status.",
        codes.join(", ")
    ));
    components["responses"] = Value::Object(error_responses(&errors));
}

/// Returns one error per code. The documented example of each is its real response.
fn errors() -> Vec<Error> {
    let length = "must have 1 to 100 characters, has 0".to_owned();
    let quota = Quota { limit: 50, window: 10, remaining: 0, reset: 10 };
    let invalid = FieldErrors::from([("first_name".to_owned(), vec![length])]);
    vec![
        Error::Malformed("The query parameter limit must be a whole number from 1 to 100.".into()),
        Error::Unauthenticated,
        Error::MissingScope("chat/write"),
        Domain::Forbidden.into(),
        Domain::NotModerator.into(),
        Domain::NotAMember.into(),
        Domain::NotFound("profile").into(),
        Domain::Conflict(Conflict::DeletedMessage).into(),
        Domain::Conflict(Conflict::Congratulation).into(),
        Domain::Conflict(Conflict::Void).into(),
        Domain::Gone.into(),
        Domain::CursorUnknown.into(),
        Domain::ConnectionEnded.into(),
        Domain::PreconditionFailed.into(),
        Error::TooLarge,
        Error::MediaType(&["application/json"]),
        Domain::Invalid(invalid).into(),
        Domain::KeyReused.into(),
        Domain::RateLimited { retry_after: 1, quota }.into(),
        Domain::ConversationBusy.into(),
        Domain::TooManySubscriptions.into(),
        Domain::OutcomeUnknown("no response".into()).into(),
        Domain::Internal("a bug".into()).into(),
        Domain::Unavailable("throttled".into()).into(),
    ]
}

/// Returns the body of an error's response.
fn problem(error: &Error) -> Value {
    match error.to_response(REQUEST_ID).body() {
        Body::Text(text) => Value::Object(parse(text)),
        _ => Value::Null,
    }
}

/// Returns the response of each error status, with one example per code.
fn error_responses(problems: &[Value]) -> Map<String, Value> {
    let descriptions = [
        (400_u16, "The body is not JSON, or an id, a query parameter or the key is malformed."),
        (401, "The request has no valid access token."),
        (403, "The token lacks the scope, or the caller may not do this."),
        (404, "The resource does not exist, or the caller may not see it."),
        (409, "The state of the message does not allow this."),
        (410, "What this refers to is gone, or the cursor is unknown."),
        (412, "The resource has none of the versions in `If-Match`."),
        (413, "The body is larger than 96 KiB."),
        (415, "The media type of the body is not accepted."),
        (422, "Fields are invalid, or the key was used for another request."),
        (429, "The profile posts too fast, or the conversation is busy. Nothing was stored."),
        (500, "The outcome of the request is unknown, or the service has failed."),
        (503, "Nothing was stored. Send the request again."),
    ];
    let response = |(status, description): (u16, &str)| {
        let mut examples = Map::new();
        for problem in problems.iter().filter(|problem| problem["status"] == status) {
            examples.insert(text(problem, "code").to_owned(), json!({ "value": problem }));
        }
        let body = json!({ "schema": reference("schemas", "Problem"), "examples": examples });
        let content = json!({ "application/problem+json": body });
        let mut response = json!({ "description": description, "content": content });
        match status {
            429 => add_headers(&mut response, &["Retry-After", "RateLimit", "RateLimit-Policy"]),
            503 => add_headers(&mut response, &["Retry-After"]),
            _ => {}
        }
        (status.to_string(), response)
    };
    descriptions.into_iter().map(response).collect()
}

/// Adds to an operation what follows from its id, method, path and body. The handler names the errors
/// that only some operations have.
fn complete_operation(
    path: &str,
    method: &str,
    operation: &mut Value,
    examples: &Map<String, Value>,
) {
    let id = text(operation, "operationId").to_owned();
    if let Some(known) = operations::ALL.iter().find(|known| known.id == id) {
        // Either scope is enough.
        operation["security"] = json!([{ "token": [known.scope] }, { "token": [ADMIN_SCOPE] }]);
    }
    let has_body = operation.get("requestBody").is_some();
    if has_body {
        let content = &mut operation["requestBody"]["content"]["application/json"];
        content["example"] = examples[&id]["request"].clone();
    }
    if id == "put_member" {
        operation["requestBody"]["required"] = json!(false);
    }
    if method == "patch" {
        operation["requestBody"]["description"] = json!(
            "A JSON merge patch (RFC 7396). The media type `application/merge-patch+json` is \
             accepted too."
        );
    }
    let mut errors = Vec::from(["400", "401", "403", "413", "500", "503"].map(str::to_owned));
    for (status, response) in entries(&mut operation["responses"]) {
        if status < "400" {
            complete_success(&id, status, response, examples.get(&id));
        } else {
            errors.push(status.to_owned());
        }
    }
    let header = match method {
        "post" if id != TICKET => Some(("IdempotencyKey", "410")),
        "patch" | "delete" if id != "delete_member" => Some(("IfMatch", "412")),
        _ => None,
    };
    if let Some((header, error)) = header {
        let mut parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        parameters.push(reference("parameters", header));
        operation["parameters"] = json!(parameters);
        errors.push(error.to_owned());
    }
    errors.extend(path.contains('{').then(|| "404".to_owned()));
    errors.extend(has_body.then(|| ["415", "422"].map(str::to_owned)).into_iter().flatten());
    for status in errors {
        operation["responses"][&status] = reference("responses", &status);
    }
}

/// Describes a successful response.
fn complete_success(id: &str, status: &str, response: &mut Value, examples: Option<&Value>) {
    let is_created = id.starts_with("create_") && id != TICKET;
    response["description"] = json!(match status {
        "201" if id == TICKET => "The ticket.",
        "201" if !is_created => "Added.",
        "201" => "The resource, created by this request or by an earlier one with the same key.",
        "204" => "Deleted.",
        _ if id.starts_with("list_") => "A page of the list.",
        _ if id.starts_with("update_") => "The resource as it is now.",
        _ => "The resource.",
    });
    if let Some(body) = response.pointer_mut("/content/application~1json") {
        // The example of an operation with two responses is the first.
        if id != "put_member" || status == "200" {
            body["example"] = examples.map(|examples| examples["response"].clone()).into();
        }
        // Pages, members and tickets have no version.
        if !id.starts_with("list_") && !["put_member", "mark_read", TICKET].contains(&id) {
            add_headers(response, &["ETag"]);
        }
    }
    if is_created {
        add_headers(response, &["Location", "Idempotency-Replayed"]);
    }
    if id == "create_message" {
        add_headers(response, &["RateLimit", "RateLimit-Policy"]);
    }
    if let Some(links) = links(id) {
        response["links"] = links;
    }
}

fn add_headers(response: &mut Value, names: &[&str]) {
    for name in names {
        response["headers"][name] = reference("headers", name);
    }
}

/// Returns links from a created resource to the operations on it.
fn links(operation: &str) -> Option<Value> {
    let created = operation.strip_prefix("create_")?;
    let (id, conversation_id, seq) =
        ("$response.body#/id", "$response.body#/conversation_id", "$response.body#/seq");
    let parameters = match created {
        "profile" => json!({ "profile_id": id }),
        "conversation" => json!({ "conversation_id": id }),
        "message" => json!({ "conversation_id": conversation_id, "seq": seq }),
        _ => return None,
    };
    let mut targets = ["get", "update", "delete"]
        .map(|verb| (format!("{verb}_{created}"), parameters.clone()))
        .to_vec();
    match created {
        "conversation" => targets.push(("create_message".into(), parameters)),
        "message" => {
            let newer = json!({ "conversation_id": conversation_id, "after": seq });
            targets.push(("list_messages".into(), newer));
        }
        _ => {}
    }
    let link = |(to, parameters): (String, Value)| {
        (to.clone(), json!({ "operationId": to, "parameters": parameters }))
    };
    Some(Value::Object(targets.into_iter().map(link).collect()))
}

fn parse(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).expect("a JSON object")
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object[field].as_str().unwrap_or_default()
}

fn entries(object: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    object.as_object_mut().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}
