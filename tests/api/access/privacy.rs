//! The matrix of conversations: every route for every participant.
//!
//! Whoever may not see a private conversation gets exactly what an absent one gives, whatever else
//! is wrong with the request, and nothing is written.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::callers::authorizer;
use super::participants::{Ask, PARTS, Part, Transport, World};
use crate::stage::Stage;
use tests::service::json;
use tests::template::event_body;

/// The statuses of a request, for a stranger, a member, a moderator, the owner and an
/// administrator, if the conversation is public; and for all but the stranger if it is private.
type Expected = ([u16; 5], [u16; 4]);

/// Returns the same status for all who see the conversation.
fn all(status: u16) -> Expected {
    ([status; 5], [status; 4])
}

/// A request, and its statuses.
struct Case {
    ask: Ask,
    /// True if it is refused before the table is asked.
    early: bool,
    expected: Expected,
}

impl Case {
    fn expected(&self, part: Part, private: bool) -> u16 {
        let index = match part {
            Part::Stranger | Part::Removed => 0,
            Part::Member | Part::Backend => 1,
            Part::Moderator => 2,
            Part::Owner => 3,
            Part::Admin => 4,
        };
        match (private, index) {
            (false, index) => self.expected.0[index],
            (true, 0) if !self.early => 404,
            (true, 0) => self.expected.0[0],
            (true, index) => self.expected.1[index - 1],
        }
    }
}

/// A request of a function with a valid body, about the caller's own profile and message 1.
fn ask(world: &World, function: &'static str) -> Ask {
    let mut body = event_body(function);
    if body.get("author_id").is_some() {
        body["author_id"] = json!(world.own);
    }
    let query = if function == "list-changes" { "?after=0.0" } else { "" };
    Ask { query, profile: world.own.clone(), ..Ask::new(function, &body) }
}

fn case(ask: Ask, expected: Expected) -> Case {
    Case { ask, early: false, expected }
}

/// A case that is refused before the table is asked.
fn early(ask: Ask, status: u16) -> Case {
    Case { ask, early: true, expected: all(status) }
}

fn reads(world: &World) -> Vec<Case> {
    let ask = |function, query| Ask { query, ..ask(world, function) };
    let message = |seq| Ask { seq, ..ask("get-message", "") };
    vec![
        case(ask("get-conversation", ""), all(200)),
        case(ask("get-conversation", "?limit=0"), all(200)),
        early(ask("get-conversation", "?limit=101"), 400),
        case(ask("list-messages", ""), all(200)),
        case(ask("list-messages", "?after=99"), all(200)),
        case(ask("list-messages", "?before=99"), all(200)),
        case(ask("list-changes", "?after=0.0"), all(200)),
        case(ask("list-changes", "?after=9.9"), all(410)),
        case(message(1), all(200)),
        case(message(99), all(404)),
        case(ask("list-members", ""), all(200)),
        case(ask("list-members", "?limit=1"), all(200)),
    ]
}

fn changes(world: &World) -> Vec<Case> {
    let ask = |function| ask(world, function);
    let stale = |function| Ask { if_match: Some("\"99\""), ..ask(function) };
    let body = |function, body: &str| Ask { body: body.into(), ..ask(function) };
    let rename = ([403, 403, 200, 200, 200], [403, 200, 200, 200]);
    let mut cases = vec![
        case(ask("update-conversation"), rename),
        case(body("update-conversation", "{}"), rename),
        case(stale("update-conversation"), ([403, 403, 412, 412, 412], [403, 412, 412, 412])),
        early(body("update-conversation", r#"{"subject":""}"#), 422),
        early(body("update-conversation", "{"), 400),
        early(Ask { if_match: Some("W/\"1\""), ..ask("update-conversation") }, 400),
        case(stale("delete-conversation"), ([403, 403, 403, 412, 412], [403, 403, 412, 412])),
        // Message 1 is of another caller.
        case(ask("update-message"), ([403, 403, 403, 403, 200], [403, 403, 403, 200])),
        case(stale("update-message"), ([403, 403, 403, 403, 412], [403, 403, 403, 412])),
        case(body("update-message", "{}"), ([403, 403, 403, 403, 200], [403, 403, 403, 200])),
        early(body("update-message", r#"{"text":""}"#), 422),
        case(stale("delete-message"), ([403, 403, 412, 412, 412], [403, 412, 412, 412])),
    ];
    for function in ["update-message", "delete-message"] {
        cases.push(case(Ask { seq: 99, ..ask(function) }, all(404)));
    }
    cases
}

fn posts(world: &World) -> Vec<Case> {
    let post = |author_id: &str| {
        let body = json!({ "author_id": author_id, "text": "x" }).to_string();
        Ask { body, ..ask(world, "create-message") }
    };
    let absent = Uuid::now_v7().to_string();
    let body = |body: &str| Ask { body: body.into(), ..ask(world, "create-message") };
    let key = Some(Uuid::new_v4().to_string());
    vec![
        case(post(&world.own), ([201; 5], [201, 201, 201, 403])),
        case(Ask { key, ..post(&world.own) }, ([201; 5], [201, 201, 201, 403])),
        case(post(&world.spare), ([201; 5], [403; 4])),
        case(post(&world.other), ([403, 403, 403, 403, 201], [403, 403, 403, 201])),
        case(post(&absent), all(422)),
        early(body(r#"{"text":"x"}"#), 422),
        early(body("["), 400),
        early(body("[]"), 422),
    ]
}

fn members(world: &World) -> Vec<Case> {
    let ask = |function, profile: &str, body: &str| Ask {
        profile: profile.into(),
        body: body.into(),
        ..ask(world, function)
    };
    let absent = Uuid::now_v7().to_string();
    let moderator = r#"{"role":"moderator"}"#;
    let (seq, beyond) = (r#"{"seq":1}"#, r#"{"seq":99}"#);
    vec![
        case(ask("mark-read", &world.own, seq), ([404, 200, 200, 200, 404], [200, 200, 200, 404])),
        case(
            ask("mark-read", &world.own, beyond),
            ([404, 422, 422, 422, 404], [422, 422, 422, 404]),
        ),
        case(ask("mark-read", &world.other, seq), all(403)),
        case(ask("mark-read", &world.other, beyond), all(403)),
        case(ask("mark-read", &world.outsider, seq), all(404)),
        case(ask("mark-read", &absent, seq), all(404)),
        early(ask("mark-read", &world.own, r#"{"seq":-1}"#), 422),
        early(ask("put-member", &world.own, r#"{"role":"king"}"#), 422),
        early(ask("put-member", "x", ""), 400),
        case(ask("put-member", &absent, ""), all(422)),
        case(
            ask("put-member", &world.own, moderator),
            ([403, 403, 200, 200, 201], [403, 200, 200, 201]),
        ),
        case(
            ask("put-member", &world.other, ""),
            ([403, 403, 200, 200, 200], [403, 200, 200, 200]),
        ),
        case(
            ask("put-member", &world.outsider, ""),
            ([403, 403, 201, 201, 201], [403, 201, 201, 201]),
        ),
        case(ask("put-member", &world.spare, ""), ([201; 5], [403, 201, 201, 201])),
        case(ask("put-member", &world.own, ""), ([201, 200, 200, 200, 200], [200; 4])),
        case(ask("delete-member", &absent, ""), all(204)),
    ]
}

/// Requests after which the caller may do less.
fn ends(world: &World, part: Part) -> Vec<Case> {
    let ask = |function, profile: &str| Ask {
        profile: profile.into(),
        body: String::new(),
        ..ask(world, function)
    };
    let removal = ([403, 403, 204, 204, 204], [403, 204, 204, 204]);
    let own = |function| ask(function, &world.own);
    // Other profiles of the backend and of the moderator are still members.
    let (delete, get) = if part == Part::Backend { (403, 200) } else { (404, 404) };
    vec![
        case(own("delete-message"), removal),
        case(ask("delete-member", &world.other), removal),
        case(own("delete-member"), all(204)),
        case(own("delete-conversation"), ([403, 403, 403, 204, 204], [delete, 403, 204, 204])),
        case(own("get-conversation"), ([200, 200, 200, 404, 404], [get, 200, 404, 404])),
    ]
}

/// Returns all cases, in an order in which none spoils the next.
fn cases(world: &World) -> Vec<Case> {
    let mut cases = reads(world);
    cases.extend(changes(world));
    cases.extend(posts(world));
    cases.extend(members(world));
    cases.extend(reads(world));
    cases
}

/// Runs all cases for all participants. Returns what is wrong.
async fn run(transport: Transport, visibility: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let private = visibility == "private";
    for part in PARTS {
        let stage = Stage::start_closed(authorizer()).await;
        let world = World::create(stage, transport, part, visibility).await;
        let mut functions = BTreeSet::new();
        for case in cases(&world).into_iter().chain(ends(&world, part)) {
            functions.insert(case.ask.function);
            let hidden = private && !part.sees_private();
            let before = hidden.then(|| world.dump());
            let answer = world.ask(&case.ask).await;
            let expected = case.expected(part, private);
            if answer.status != expected {
                let (ask, status) = (&case.ask, answer.status);
                wrong.push(format!("{part:?}: {status} instead of {expected}: {ask:?}"));
            }
            if let Some(before) = before {
                let absent = world.ask_about_nothing(&case.ask).await;
                assert_eq!(
                    answer, absent,
                    "{part:?}: hidden (left), absent (right): {:?}",
                    case.ask
                );
                assert_eq!(world.dump(), before, "{part:?} wrote something: {:?}", case.ask);
            }
        }
        let routes = world.stage.service.template.routes.iter();
        let routes = routes.filter(|route| route.path.contains("{conversation_id}"));
        for route in routes {
            assert!(functions.contains(&*route.function), "no case of {}", route.function);
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_a_private_conversation_serves_exactly_its_participants() {
    let wrong = run(Transport::Token, "private").await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_of_a_private_conversation_serves_exactly_its_participants() {
    let wrong = run(Transport::Event, "private").await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_a_public_conversation_serves_participants_by_their_part() {
    let wrong = run(Transport::Token, "public").await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}
