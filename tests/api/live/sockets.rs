//! Connections: their tickets, and the limits that API Gateway enforces.

use std::sync::Arc;
use std::time::Duration;

use local::authorizer::Authorizer;
use local::live::Limits;
use shared::Time;
use tests::clock::Clock;
use tests::service::{Api, Setup, json};
use tests::socket::{Socket, ticket};

async fn start(limits: Limits) -> Api {
    Setup::new().start_live(limits).await.api
}

#[tokio::test]
async fn a_ticket_opens_one_connection_within_a_minute() {
    let clock = Clock::stopped();
    let api = Setup::new().clock(&clock).start_live(Limits::default()).await.api;
    let url = ticket(&api, None).await;
    Socket::connect(&url).await.expect("a connection");
    let refused = |url: String| async move { Socket::connect(&url).await.expect_err("refused") };
    assert_eq!(refused(url.clone()).await, 403, "a ticket is used once");
    assert_eq!(refused(format!("{url}0")).await, 403, "an unknown ticket");
    let (without, _) = url.split_once('?').expect("a query");
    assert_eq!(refused(without.to_owned()).await, 403, "no ticket");
    let (in_time, late) = (ticket(&api, None).await, ticket(&api, None).await);
    clock.advance(Duration::from_secs(59));
    Socket::connect(&in_time).await.expect("a connection");
    clock.advance(Duration::from_secs(1));
    assert_eq!(refused(late).await, 403, "an expired ticket");
}

#[tokio::test]
async fn a_connection_ends_with_its_token_or_after_two_hours() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let setup = Setup::new().authorizer(authorizer.clone());
    let api = setup.start_live(Limits::default()).await.api;
    for (lifetime, expected) in [(600, 600), (43_200, 7_200)] {
        let lifetime = Duration::from_secs(lifetime);
        let token = authorizer.token("ada", "chat/read", lifetime).expect("a token");
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let ticket = api.send("POST", "/tickets", &headers, "").await.expect(201);
        let end: Time =
            serde_json::from_value(ticket["connection_expires_at"].clone()).expect("a time");
        let left = end.since(Time::now()).as_secs();
        assert!((expected - 60..=expected).contains(&left), "{left} of {expected}");
    }
    api.send("POST", "/tickets", &[], "").await.expect_status(401);
}

#[tokio::test]
async fn frames_that_are_wrong_are_answered_and_change_nothing() {
    let api = start(Limits::default()).await;
    let (ada, conversation) = api.profile_and_conversation().await;
    let mut socket = Socket::open(&api).await;
    for text in ["", "x", "{}", r#"{"action":"dance"}"#, r#"["subscribe"]"#] {
        socket.send_text(text.into()).await;
        assert_eq!(socket.next().await["message"], "Forbidden", "{text}");
    }
    for (frame, code) in [
        (json!({ "action": "subscribe" }), "invalid"),
        (json!({ "action": "subscribe", "conversation_id": conversation }), "invalid"),
        (
            json!({ "action": "subscribe", "conversation_id": conversation, "after": "1" }),
            "invalid",
        ),
        (json!({ "action": "unsubscribe", "conversation_id": "x" }), "invalid"),
        (json!({ "action": "unsubscribe", "conversation_id": conversation, "x": 1 }), "invalid"),
        (
            json!({
                "action": "watch", "profile_id": ada,
                "conversation_ids": vec![conversation.as_str(); 51],
            }),
            "invalid",
        ),
        (
            json!({ "action": "watch", "profile_id": conversation, "conversation_ids": [] }),
            "not_found",
        ),
    ] {
        socket.send(&frame).await;
        let answer = socket.next().await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{frame}");
    }
    assert_eq!(socket.watch(&ada, &[&conversation]).await["type"], "watching");
    let answer = socket.subscribe(&conversation, "0.0").await;
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_frame_above_32_kb_closes_the_connection() {
    let api = start(Limits::default()).await;
    let mut socket = Socket::open(&api).await;
    let frame = |size: usize| {
        let empty = r#"{"action":"dance","x":""}"#;
        format!(r#"{{"action":"dance","x":"{}"}}"#, "x".repeat(size - empty.len()))
    };
    socket.send_text(frame(32 * 1024)).await;
    assert_eq!(socket.next().await["message"], "Forbidden");
    socket.send_text(frame(32 * 1024 + 1)).await;
    assert_eq!(socket.closed().await, Some(1009));
}

#[tokio::test]
async fn a_connection_is_closed_when_it_is_idle_or_old() {
    let short = Duration::from_millis(20);
    for limits in [
        Limits { idle: short, ..Limits::default() },
        Limits { lifetime: short, ..Limits::default() },
    ] {
        let api = start(limits).await;
        let mut socket = Socket::open(&api).await;
        assert_eq!(socket.closed().await, Some(1001), "{limits:?}");
    }
}

#[tokio::test]
async fn a_request_that_names_a_foreign_host_opens_no_connection() {
    let api = start(Limits::default()).await;
    let url = ticket(&api, None).await;
    let path = url.split_once("/live").map(|(_, query)| format!("/live{query}")).expect("a path");
    let response = api.send("GET", &path, &[("host", "evil.example")], "").await;
    response.expect_status(421);
    Socket::connect(&url).await.expect("the ticket is not used");
}
