//! The promise, over all that is stored: points = messages posted, congratulations = ⌊points / 10⌋ for each author, places
//! without a gap, one effect for each key.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use dynoxide::Database;
use serde_json::{Value, json};

use crate::clients::{Crowd, Post};

/// As a client sees it.
pub(crate) async fn api(url: &str, crowd: &Crowd, posts: &[Post]) {
    let client = reqwest::Client::new();
    let get = async |path: &str| -> Value {
        let answer = client.get(format!("{url}{path}")).send().await.expect("an answer");
        answer.error_for_status().expect("200").json().await.expect("JSON")
    };
    let said: HashMap<&str, &Post> = posts.iter().map(|post| (post.text.as_str(), post)).collect();
    let mut seen: HashSet<String> = HashSet::new();
    let mut points: HashMap<&str, Vec<u64>> = HashMap::new();
    for (number, id) in crowd.conversations.iter().enumerate() {
        let mut messages: Vec<Value> = Vec::new();
        let mut next = Some(format!("/conversations/{id}/messages?limit=100&after=0"));
        while let Some(path) = next {
            let page = get(&path).await;
            messages.extend(page["results"].as_array().expect("results").iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
        }
        assert_eq!(
            get(&format!("/conversations/{id}")).await["last_seq"],
            messages.len(),
            "the last place of {id}"
        );
        let mut due = None;
        for (message, seq) in messages.iter().zip(1_u64..) {
            assert_eq!(message["seq"], seq, "places without a gap in {id}");
            if let Some(metadata) = due.take() {
                assert_eq!(
                    (&message["type"], &message["metadata"]),
                    (&json!("action"), &metadata),
                    "place {seq} of {id}"
                );
                continue;
            }
            assert_eq!(
                message["type"], "text",
                "no congratulation that is not due, at place {seq} of {id}"
            );
            let text = message["text"].as_str().expect("a text");
            let post = said.get(text).unwrap_or_else(|| panic!("nobody posted {text:?}"));
            assert!(seen.insert(text.to_owned()), "{text:?} is there twice");
            let author = crowd.authors[post.author].as_str();
            assert_eq!(
                (post.conversation, message["author_id"].as_str()),
                (number, Some(author)),
                "{text:?}"
            );
            assert!(
                post.seq.is_none_or(|told| told == seq),
                "{text:?} was answered place {:?} and is at {seq}",
                post.seq
            );
            let reached = message["points"].as_u64().expect("points");
            points.entry(author).or_default().push(reached);
            due = reached
                .is_multiple_of(10)
                .then(|| json!({ "profile_id": author, "points": reached }));
        }
        assert_eq!(due, None, "a congratulation is missing at the end of {id}");
    }
    for post in posts {
        assert!(post.seq.is_none() || seen.contains(&post.text), "lost: {post:?}");
    }
    for author in &crowd.authors {
        let mut points = points.remove(author.as_str()).unwrap_or_default();
        points.sort_unstable();
        assert!(
            points.iter().copied().eq(1..=points.len() as u64),
            "each point of {author} once: {points:?}"
        );
        assert_eq!(
            get(&format!("/profiles/{author}")).await["points"],
            points.len(),
            "the points of {author}"
        );
    }
}

/// As it stands in the file: nothing that the API does not show.
pub(crate) fn database(file: &Path, crowd: &Crowd, posts: &[Post]) {
    let database = Database::new(file.to_str().expect("a path")).expect("a database");
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut points = 0;
    let mut request = json!({ "TableName": "chat" });
    loop {
        let page = database
            .scan(serde_json::from_value(request.clone()).expect("a request"))
            .expect("a page");
        let page = serde_json::to_value(page).expect("JSON");
        for item in page["Items"].as_array().expect("items") {
            let kind = match item["type"]["S"].as_str() {
                Some(kind) => kind,
                None => item["sk"]["S"].as_str().expect("a sort key"),
            };
            *kinds.entry(kind.to_owned()).or_default() += 1;
            if kind == "PROFILE" {
                points += item["points"]["N"]
                    .as_str()
                    .expect("a number")
                    .parse::<usize>()
                    .expect("a number");
            }
        }
        match page.get("LastEvaluatedKey") {
            Some(key) if !key.is_null() => request["ExclusiveStartKey"] = key.clone(),
            _ => break,
        }
    }
    let texts = kinds["text"];
    let (certain, keys) = (
        posts.iter().filter(|post| post.seq.is_some()).count(),
        posts.iter().filter(|post| post.key.is_some()).count(),
    );
    assert!(
        (certain..=posts.len()).contains(&texts),
        "{texts} messages of {} posts, {certain} of them answered",
        posts.len()
    );
    assert_eq!(points, texts, "points = messages posted");
    let others =
        ["PROFILE", "CONVERSATION", "KEY"].map(|kind| kinds.get(kind).copied().unwrap_or_default());
    assert_eq!(others, [crowd.authors.len(), crowd.conversations.len(), keys], "{kinds:?}");
    let known = ["text", "action", "PROFILE", "CONVERSATION", "KEY"];
    assert!(
        kinds.keys().all(|kind| known.contains(&kind.as_str())),
        "nothing else is stored: {kinds:?}"
    );
}
