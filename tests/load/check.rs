//! Checks the guarantees after a run: through the API, and in the table.

use std::collections::BTreeMap;
use std::path::Path;

use dynoxide::Database;
use serde_json::{Value, json};
use tests::dynamodb::transactions::{Delays, Transactions};
use tests::guarantees::{Author, Conversation, History, Post, Response};

use crate::clients::{Crowd, Sent};

/// Checks everything that clients can see.
pub(crate) async fn api(url: &str, crowd: &Crowd, sent: &[Sent]) {
    let client = reqwest::Client::new();
    let get = async |path: &str| -> Value {
        let response = client.get(format!("{url}{path}")).send().await.expect("a response");
        response.error_for_status().expect("200").json().await.expect("JSON")
    };
    let mut history = History::default();
    for id in &crowd.authors {
        let points = get(&format!("/profiles/{id}")).await["points"].as_u64();
        history.authors.push(Author { id: id.clone(), points, deleted: false });
    }
    for id in &crowd.conversations {
        let mut messages: Vec<Value> = Vec::new();
        let mut next = Some(format!("/conversations/{id}/messages?limit=100&after=0"));
        while let Some(path) = next {
            let page = get(&path).await;
            messages.extend(page["results"].as_array().expect("results").iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
        }
        let last_seq = get(&format!("/conversations/{id}")).await["last_seq"].as_u64();
        history.conversations.push(Conversation {
            last_seq: last_seq.expect("a number"),
            messages: Some(messages),
            ..Conversation::default()
        });
    }
    history.posts = sent.iter().map(post).collect();
    let violations = history.violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

fn post(sent: &Sent) -> Post {
    let stored = sent.stored.iter().cloned().map(Response::Stored);
    let undecided = (0..sent.interrupted).map(|_| Response::Undecided);
    Post {
        name: sent.name.clone(),
        author: sent.author,
        conversation: sent.conversation,
        keyed: sent.key.is_some(),
        responses: stored.chain(undecided).collect(),
    }
}

/// Returns all items of the table in a database file.
pub(crate) fn items_of_file(file: &Path) -> Vec<Value> {
    let database = Database::new(file.to_str().expect("a path")).expect("a database");
    Transactions::new(database, Delays::None).all_items("chat")
}

/// Returns all items of the table of an engine, which must not check signatures.
pub(crate) async fn items_of_engine(url: &str) -> Vec<Value> {
    let client = reqwest::Client::new();
    let credential = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request";
    let (mut items, mut request) = (Vec::new(), json!({ "TableName": "chat" }));
    loop {
        let page = client
            .post(url)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", "DynamoDB_20120810.Scan")
            .header("authorization", format!("{credential}, SignedHeaders=host, Signature=none"))
            .body(request.to_string());
        let page = page.send().await.expect("a response").error_for_status().expect("200");
        let page: Value = page.json().await.expect("JSON");
        items.extend(page["Items"].as_array().expect("items").iter().cloned());
        match page.get("LastEvaluatedKey") {
            Some(key) => request["ExclusiveStartKey"] = key.clone(),
            None => return items,
        }
    }
}

/// Checks that the table has only the items that the API shows, and the idempotency keys.
pub(crate) fn items(items: &[Value], crowd: &Crowd, sent: &[Sent]) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut points = 0;
    for item in items {
        let sort_key = item["sk"]["S"].as_str().expect("a sort key");
        // `MEMBER#` for each member, and `PROFILE#` for each entry of its owner's list.
        let end = sort_key.find('#').map_or(sort_key.len(), |end| end + 1);
        let kind = item["type"]["S"].as_str().unwrap_or(&sort_key[..end]);
        *kinds.entry(kind.to_owned()).or_default() += 1;
        if kind == "PROFILE" {
            let total = item["points"]["N"].as_str().expect("a number");
            points += total.parse::<usize>().expect("a number");
        }
    }
    let texts = kinds["text"];
    let certain = sent.iter().filter(|post| !post.stored.is_empty()).count();
    let keys = sent.iter().filter(|post| post.key.is_some()).count();
    assert!(
        (certain..=sent.len()).contains(&texts),
        "{texts} messages of {} posts, {certain} of them with a 201",
        sent.len()
    );
    assert_eq!(points, texts, "points are the number of messages posted");
    let count = |kind| kinds.get(kind).copied().unwrap_or_default();
    let (authors, conversations) = (crowd.authors.len(), crowd.conversations.len());
    let expected = [
        ("PROFILE", authors),
        ("PROFILE#", authors),
        ("CONVERSATION", conversations),
        // The author of each conversation.
        ("MEMBER#", conversations),
        ("ACCESS#", conversations),
        ("KEY", keys),
    ];
    for (kind, expected) in expected {
        assert_eq!(count(kind), expected, "{kind}: {kinds:?}");
    }
    let known: Vec<&str> = expected.iter().map(|(kind, _)| *kind).collect();
    let known = [&known[..], &["text", "action", "void"]].concat();
    let only_known = kinds.keys().all(|kind| known.contains(&kind.as_str()));
    assert!(only_known, "unknown items: {kinds:?}");
}
