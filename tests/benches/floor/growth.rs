//! Growth: the latency in a large table and a long conversation, compared with a small table and a
//! short conversation.

use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use functions::http::Auth;
use local::Gateway;
use local::template::Template;
use serde_json::json;

use crate::chat::Chat;
use crate::report::{Bar, Report, ms, number, percentile, table};

/// A table, and the whole service in front of it, without sockets.
struct Side {
    chat: Chat,
    gateway: Gateway,
    messages: usize,
}

impl Side {
    fn new(chat: Chat, messages: usize) -> Self {
        let template = Template::parse().expect("the template");
        let gateway = Gateway::new(&template, chat.table.clone(), Auth::Open).expect("a gateway");
        Self { chat, gateway, messages }
    }

    fn request(&self, what: &str) -> Request<Body> {
        let path = format!("/conversations/{}/messages", self.chat.conversation.id);
        let uri = match what {
            POST => {
                let body = json!({ "author_id": self.chat.author.id, "text": "Hello" }).to_string();
                let request = Request::post(path).header("content-type", "application/json");
                return request.body(body.into()).expect("a request");
            }
            FIRST => path,
            MIDDLE => format!("{path}?before={}", self.messages / 2),
            _ => format!("{path}?after={}", self.messages - 10),
        };
        Request::get(uri).body(Body::empty()).expect("a request")
    }

    async fn took(&self, what: &str) -> f64 {
        let request = self.request(what);
        let started = Instant::now();
        let answer = self.gateway.answer(request).await;
        let took = ms(started.elapsed());
        let success = answer.status().is_success();
        let body = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
        assert!(success, "{what}: {}", String::from_utf8_lossy(&body));
        took
    }
}

const POST: &str = "post";
const FIRST: &str = "first page";
const MIDDLE: &str = "a page in the middle";
const POLL: &str = "poll";

/// Sends `samples` requests of each kind to a table with `large` messages and to a table with a
/// thousand.
pub(crate) async fn run(
    large: Chat,
    messages: usize,
    conversations: usize,
    samples: usize,
    report: &mut Report,
) {
    let mut small = Chat::new().await;
    small.fill(1_000, 1_000, 1_000).await;
    let sides = [Side::new(small, 1_000), Side::new(large, messages)];
    let mut rows = Vec::new();
    // Posts are last, because they make both conversations longer.
    for what in [FIRST, MIDDLE, POLL, POST] {
        let mut took: [Vec<f64>; 2] = Default::default();
        for sample in 0..samples + samples / 10 {
            // In turns, with alternating order, so that other load on the machine affects both
            // equally.
            for side in [sample % 2, (sample + 1) % 2] {
                let one = sides[side].took(what).await;
                if sample >= samples / 10 {
                    took[side].push(one);
                }
            }
        }
        let mut row = vec![what.to_owned()];
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            let [small, large] = [0, 1].map(|side: usize| percentile(&mut took[side], share));
            row.extend([number(small), number(large), number(large / small)]);
            report.bar(
                &format!("{what}, {name}, by that of 1,000"),
                large / small,
                "×",
                Bar::AtMost(1.2),
            );
        }
        rows.push(row);
    }
    let title = format!(
        "Growth: {} messages in one conversation and {} conversations, compared with 1,000 of \
         each; ms, {samples} of each",
        number(messages as f64),
        number(conversations as f64),
    );
    table(
        &title,
        &["", "p50, 1,000", "p50, large", "ratio", "p99, 1,000", "p99, large", "ratio"],
        &rows,
    );
}
