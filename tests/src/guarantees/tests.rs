use super::*;

fn message(seq: u64, points: u64) -> Value {
    json!({
        "seq": seq, "type": "text", "author_id": "ada", "points": points, "text": "x",
        "metadata": { "name": format!("{points}") }, "edited_at": null, "deleted_at": null,
    })
}

/// A history of ten posts, the last with its congratulation.
fn history() -> History {
    let mut messages: Vec<Value> = (1..=10).map(|number| message(number, number)).collect();
    let post = |message: &Value| {
        let mut response = message.clone();
        response["reward"] =
            if message["points"] == 10 { json!({ "seq": 11 }) } else { Value::Null };
        let responses = vec![Response::Stored(response)];
        let name = message["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Post { name, keyed: true, responses, ..Post::default() }
    };
    let posts = messages.iter().map(post).collect();
    messages.push(json!({
        "seq": 11, "type": "action", "author_id": null, "points": 10,
        "metadata": { "profile_id": "ada", "points": 10 },
    }));
    let polled = Some(messages.clone());
    let conversation = Conversation {
        last_seq: 11,
        messages: Some(messages),
        polled,
        deleted: false,
        private: false,
    };
    let author = Author { id: "ada".into(), points: Some(10), deleted: false };
    let (authors, conversations) = (vec![author], vec![conversation]);
    History { authors, conversations, posts, ..History::default() }
}

#[test]
fn a_correct_history_has_no_violations() {
    assert_eq!(history().violations(), Vec::<String>::new());
}

#[test]
fn each_violation_is_found() {
    type Break = fn(&mut History);
    fn messages(history: &mut History) -> &mut Vec<Value> {
        history.conversations[0].messages.as_mut().expect("messages")
    }
    let change = |seq| Change { conversation: 0, seq, confirmed: true };
    let breaks: [(&str, Break); 14] = [
        ("seq 4 in place of 3", |h| drop(messages(h).remove(2))),
        ("last_seq 12", |h| h.conversations[0].last_seq = 12),
        ("no congratulation", |h| drop(messages(h).pop())),
        ("not due", |h| messages(h)[10]["metadata"]["points"] = json!(20)),
        ("total 11, messages", |h| h.authors[0].points = Some(11)),
        ("author 0 is missing", |h| h.authors[0].points = None),
        ("201, but not stored", |h| messages(h)[4]["metadata"]["name"] = json!("other")),
        ("no client posted", |h| drop(h.posts.remove(0))),
        ("stored 1 times instead of 0 to 0", |h| {
            h.posts[0].responses = vec![Response::Refused(503)];
        }),
        ("unexpected response Refused(429)", |h| h.posts[0].responses.push(Response::Refused(429))),
        ("unexpected response Gone", |h| h.posts[0].responses.push(Response::Gone)),
        ("one key, several messages", |h| {
            let other = h.posts[1].responses[0].clone();
            h.posts[0].responses.push(other);
        }),
        ("a response has congratulation None", |h| {
            if let Response::Stored(message) = &mut h.posts[9].responses[0] {
                message["reward"] = Value::Null;
            }
        }),
        ("a poller saw", |h| {
            h.conversations[0].polled.as_mut().expect("polled").swap(0, 1);
        }),
    ];
    for (expected, broken) in breaks {
        let mut history = history();
        broken(&mut history);
        let found = history.violations();
        assert!(found.iter().any(|what| what.contains(expected)), "{expected}: {found:?}");
    }
    let edits = History { edits: vec![change(1)], ..history() };
    assert!(edits.violations()[0].starts_with("200, but not edited"));
    let deletions = History { deletions: vec![change(1)], ..history() };
    assert!(deletions.violations()[0].starts_with("204, but not deleted"));
}
