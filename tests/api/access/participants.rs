//! A conversation and its participants: the callers of the matrix of [`super::privacy`].

use std::env;

use functions::http::Auth;
use lambda_http::RequestExt;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use local::template::{Route, Template};
use shared::Table;
use uuid::Uuid;

use super::callers::{READ_WRITE, token};
use super::event_of;
use crate::stage::Stage;
use tests::service::{Api, Value, json};

/// What a caller is in the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Stranger,
    /// A member once, who has posted and was removed.
    Removed,
    Member,
    /// A backend that acts as several profiles, all of them members.
    Backend,
    Moderator,
    /// The owner of the conversation. Its author is a moderator.
    Owner,
    /// An administrator, whose own profile is no member.
    Admin,
}

pub(super) const PARTS: [Part; 7] = [
    Part::Stranger,
    Part::Removed,
    Part::Member,
    Part::Backend,
    Part::Moderator,
    Part::Owner,
    Part::Admin,
];

impl Part {
    /// The `sub` of the caller. Each is hostile in its own way to keys that are built from it.
    fn subject(self) -> String {
        match self {
            Self::Stranger => "ada#ACCESS".into(),
            Self::Removed => "ada%23".into(),
            Self::Member => "ada#".into(),
            Self::Backend => "x".repeat(255),
            Self::Moderator => "Ада#👩‍🚀".into(),
            Self::Owner => "ada".into(),
            Self::Admin => "ada#MEMBER".into(),
        }
    }

    fn claims(self) -> Value {
        let scope = if self == Self::Admin { "chat/admin" } else { READ_WRITE };
        json!({ "sub": self.subject(), "scope": scope })
    }

    /// Returns whether the caller may see the conversation if it is private.
    pub(super) fn sees_private(self) -> bool {
        !matches!(self, Self::Stranger | Self::Removed)
    }
}

/// How a request reaches its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Through the gateway, with a token.
    Token,
    /// As an event with claims, as API Gateway sends it: to the function in this process, or to its
    /// binary at `CHAT_INVOKE_URL` (see `tests/real-binaries`).
    Event,
}

/// A request to a conversation.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) function: &'static str,
    /// The query, with its `?`.
    pub(super) query: &'static str,
    pub(super) if_match: Option<&'static str>,
    pub(super) key: Option<String>,
    pub(super) profile: String,
    pub(super) seq: u64,
    /// The text of the body.
    pub(super) body: String,
}

impl Ask {
    /// A request with this body, about message 1.
    pub(super) fn new(function: &'static str, body: &Value) -> Self {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (query, if_match, key, profile) = ("", None, None, String::new());
        Self { function, query, if_match, key, profile, seq: 1, body }
    }
}

/// A response, without what differs between any two of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Value,
}

impl Answer {
    fn new(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let differs = ["date", "apigw-requestid"];
        let headers = headers.iter().filter(|(name, _)| !differs.contains(&name.as_str()));
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().expect("ASCII").to_owned())
        };
        let mut headers: Vec<(String, String)> = headers.map(text).collect();
        headers.sort();
        let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(id) = body.get_mut("request_id") {
            *id = Value::Null;
        }
        Self { status, headers, body }
    }
}

/// A conversation with everything around it.
pub(super) struct World {
    pub(super) stage: Stage,
    transport: Transport,
    part: Part,
    pub(super) conversation: String,
    /// A profile of the caller: a member if the caller is.
    pub(super) own: String,
    /// Another profile of the caller, which is no member.
    pub(super) spare: String,
    /// A profile of another caller, which is a member. It posted message 1.
    pub(super) other: String,
    /// A profile of another caller, which is no member.
    pub(super) outsider: String,
}

impl World {
    /// Creates a conversation, in which the caller has this part.
    pub(super) async fn create(stage: Stage, transport: Transport, part: Part, kind: &str) -> Self {
        let mut world = Self {
            stage,
            transport,
            part,
            conversation: String::new(),
            own: String::new(),
            spare: String::new(),
            other: String::new(),
            outsider: String::new(),
        };
        let (owner, caller) = (Part::Owner.claims(), part.claims());
        let author = world.profile(&owner).await;
        world.own = if part == Part::Owner { author.clone() } else { world.profile(&caller).await };
        world.spare = world.profile(&caller).await;
        world.other = world.profile(&user("zoe")).await;
        world.outsider = world.profile(&user("nobody")).await;
        let opening = json!({ "subject": "s", "author_id": author, "visibility": kind });
        let created = world.must(&owner, Ask::new("create-conversation", &opening)).await;
        world.conversation = created["id"].as_str().expect("an id").to_owned();
        world.fill(&owner, &user("zoe")).await;
        world
    }

    async fn fill(&self, owner: &Value, zoe: &Value) {
        let put = async |profile: &str, role: &str| {
            let ask = Ask::new("put-member", &json!({ "role": role }));
            self.must(owner, Ask { profile: profile.to_owned(), ..ask }).await;
        };
        put(&self.other, "member").await;
        let say = async |claims: &Value, author: &str| {
            let message = json!({ "author_id": author, "text": "x" });
            self.must(claims, Ask::new("create-message", &message)).await;
        };
        say(zoe, &self.other).await;
        // A change that no reader has recorded as seen.
        self.must(zoe, Ask::new("update-message", &json!({ "text": "y" }))).await;
        match self.part {
            Part::Member => put(&self.own, "member").await,
            Part::Moderator => put(&self.own, "moderator").await,
            Part::Backend => {
                put(&self.own, "member").await;
                for _ in 0..3 {
                    put(&self.profile(&self.part.claims()).await, "member").await;
                }
            }
            Part::Removed => {
                put(&self.own, "moderator").await;
                say(&self.part.claims(), &self.own).await;
                let ask = Ask::new("delete-member", &Value::Null);
                self.must(owner, Ask { profile: self.own.clone(), ..ask }).await;
            }
            Part::Stranger | Part::Owner | Part::Admin => {}
        }
    }

    async fn profile(&self, claims: &Value) -> String {
        let body = json!({ "first_name": "P" });
        let profile = self.must(claims, Ask::new("create-profile", &body)).await;
        profile["id"].as_str().expect("an id").to_owned()
    }

    /// Sends a request that succeeds. Returns the body.
    async fn must(&self, claims: &Value, ask: Ask) -> Value {
        let answer = self.call(claims, &ask, &self.conversation).await;
        assert!((200..300).contains(&answer.status), "{ask:?}: {answer:?}");
        answer.body
    }

    /// Sends a request of the caller to this conversation.
    pub(super) async fn ask(&self, ask: &Ask) -> Answer {
        self.call(&self.part.claims(), ask, &self.conversation).await
    }

    /// Sends the request to a conversation that does not exist.
    pub(super) async fn ask_about_nothing(&self, ask: &Ask) -> Answer {
        self.call(&self.part.claims(), ask, &Uuid::now_v7().to_string()).await
    }

    async fn call(&self, claims: &Value, ask: &Ask, conversation: &str) -> Answer {
        let Template { routes, .. } = &self.stage.service.template;
        let route = routes.iter().find(|route| route.function == ask.function).expect("a route");
        let path = route.path.replace("{conversation_id}", conversation);
        let path = path.replace("{profile_id}", &ask.profile);
        let path = path.replace("{seq}", &ask.seq.to_string());
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(ask.if_match.map(|tags| ("if-match", tags)));
        headers.extend(ask.key.as_deref().map(|key| ("idempotency-key", key)));
        match self.transport {
            Transport::Token => {
                let token = token(claims);
                headers.push(("authorization", &token));
                let path = format!("{path}{}", ask.query);
                let api = self.stage.api();
                let response = api.send(&route.method, &path, &headers, ask.body.clone()).await;
                Answer::new(response.status.as_u16(), &response.headers, &response.bytes)
            }
            Transport::Event => {
                let event = event_with(route, &path, &headers, ask, claims);
                match env::var("CHAT_INVOKE_URL") {
                    Ok(url) => invoke_binary(&url, ask.function, &event).await,
                    Err(_) => invoke(&self.stage.service.table, ask.function, &event).await,
                }
            }
        }
    }

    /// Returns every item of the table; nothing if the binaries have another table.
    pub(super) fn dump(&self) -> Vec<String> {
        self.stage.dump()
    }
}

fn user(subject: &str) -> Value {
    json!({ "sub": subject, "scope": READ_WRITE })
}

/// Returns the event of a request with claims.
fn event_with(
    route: &Route,
    path: &str,
    headers: &[(&str, &str)],
    ask: &Ask,
    claims: &Value,
) -> Value {
    let mut event = event_of(route, path, &Value::Null);
    event["body"] = json!(ask.body);
    event["headers"] = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let query = ask.query.trim_start_matches('?');
    event["rawQueryString"] = json!(query);
    let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    let parameters = parameters.map(|(name, value)| (name.to_owned(), json!(value)));
    event["queryStringParameters"] = parameters.collect::<serde_json::Map<_, _>>().into();
    event["requestContext"]["authorizer"] = json!({ "jwt": { "claims": claims, "scopes": null } });
    event
}

/// Passes an event to a function of this process.
async fn invoke(table: &Table, function: &str, event: &Value) -> Answer {
    let request = lambda_http::request::from_str(&event.to_string()).expect("a request");
    let request = request.with_lambda_context(lambda_http::Context::default());
    let response = local::invoke(function, table, Auth::Jwt, request).await.expect("a function");
    Answer::new(response.status().as_u16(), response.headers(), response.body())
}

/// Passes an event to the binary of a function, which waits at this address for events.
async fn invoke_binary(url: &str, function: &str, event: &Value) -> Answer {
    let path = format!("/2015-03-31/functions/{function}/invocations");
    let response = Api::connect(url).send("POST", &path, &[], event.to_string()).await;
    let returned = response.expect(200);
    let status = returned["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    let mut headers = HeaderMap::new();
    for (name, value) in returned["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header");
        headers.insert(name, value.as_str().expect("text").parse().expect("a value"));
    }
    let body = returned["body"].as_str().unwrap_or_default();
    Answer::new(status.expect("a status"), &headers, body.as_bytes())
}
