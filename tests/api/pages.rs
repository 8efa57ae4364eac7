//! Lists, page by page, in both directions.

use tests::service::{Api, Value, json};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Follows `next` from page to page. Returns this field of every result, and the size of each page.
async fn walk(api: &Api, first: &str, field: &str) -> (Vec<Value>, Vec<usize>) {
    let (mut results, mut sizes) = (Vec::new(), Vec::new());
    let mut next = Some(first.to_owned());
    while let Some(path) = next {
        let page = api.get(&path).await.expect(200);
        let page_results = page["results"].as_array().expect("results");
        sizes.push(page_results.len());
        results.extend(page_results.iter().map(|result| result[field].clone()));
        next = page["next"].as_str().map(str::to_owned);
        assert!(next.is_none() || !page_results.is_empty(), "an empty page has no next page");
    }
    (results, sizes)
}

#[tokio::test]
async fn every_profile_is_listed_once_newest_first() {
    let api = Api::start_isolated().await;
    assert_eq!(api.get("/profiles").await.expect(200), json!({ "results": [], "next": null }));
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.insert(0, json!(api.profile(&format!("P{number}")).await));
    }
    for (limit, expected) in
        [(1, vec![1; 6]), (2, vec![2, 2, 2]), (4, vec![4, 2]), (6, vec![6]), (100, vec![6])]
    {
        let (results, sizes) = walk(&api, &format!("/profiles?limit={limit}"), "id").await;
        assert_eq!((&results, &sizes), (&ids, &expected), "limit {limit}");
    }
    let page = api.get("/profiles?limit=2").await.expect(200);
    assert_eq!(
        page["next"],
        format!("/profiles?limit=2&before={}", ids[1].as_str().expect("an id"))
    );
    let profile =
        api.get(&format!("/profiles/{}", ids[0].as_str().expect("an id"))).await.expect(200);
    assert_eq!(page["results"][0], profile);
}

#[tokio::test]
async fn conversations_are_listed_newest_first_with_their_authors() {
    let api = Api::start_isolated().await;
    let (ada, bob) = (api.profile("Ada").await, api.profile("Bob").await);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.insert(0, json!(api.conversation(if number % 2 == 0 { &ada } else { &bob }).await));
    }
    api.delete(&format!("/profiles/{bob}")).await.expect(204);
    let (results, sizes) = walk(&api, "/conversations?limit=2", "id").await;
    assert_eq!((results, sizes), (ids, vec![2, 2, 1]));
    let page = api.get("/conversations").await.expect(200);
    let names: Vec<&Value> = page["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| &result["author"]["first_name"])
        .collect();
    assert_eq!(names, [&json!("Ada"), &json!(null), &json!("Ada"), &json!(null), &json!("Ada")]);
    assert!(page["results"][0].get("messages").is_none());
}

#[tokio::test]
async fn messages_are_paged_backward_from_the_newest_and_forward_from_any_seq() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}/messages");
    assert_eq!(api.get(&path).await.expect(200), json!({ "results": [], "next": null }));
    assert_eq!(
        api.get(&format!("{path}?after=0")).await.expect(200),
        json!({ "results": [], "next": null })
    );
    for _ in 0..20 {
        api.say(&id, &author_id, "x").await;
    }
    let ascending: Vec<Value> = (1..=22).map(Value::from).collect();
    let descending: Vec<Value> = ascending.iter().rev().cloned().collect();
    for limit in [1, 3, 11, 22, 100] {
        let pages = 22_usize.div_ceil(limit);
        let (results, sizes) = walk(&api, &format!("{path}?limit={limit}"), "seq").await;
        assert_eq!((&results, sizes.len()), (&descending, pages), "limit {limit}, backward");
        let (results, sizes) = walk(&api, &format!("{path}?limit={limit}&after=0"), "seq").await;
        assert_eq!((&results, sizes.len()), (&ascending, pages), "limit {limit}, forward");
    }
    let (results, _) = walk(&api, &format!("{path}?before=5&limit=2"), "seq").await;
    assert_eq!(results, [4, 3, 2, 1]);
    let (results, _) = walk(&api, &format!("{path}?after=19&limit=2"), "seq").await;
    assert_eq!(results, [20, 21, 22]);
    for cursor in ["after=22", "after=999999999999", "before=1", "before=0"] {
        let page = api.get(&format!("{path}?{cursor}")).await.expect(200);
        assert_eq!(page, json!({ "results": [], "next": null }), "{cursor}");
    }
    let (results, _) = walk(&api, &format!("{path}?before=999999999999"), "seq").await;
    assert_eq!(results, descending);
    let page = api.get(&format!("{path}?limit=2&before=10")).await.expect(200);
    assert_eq!(page["next"], format!("{path}?limit=2&before=8"));
    let page = api.get(&format!("{path}?limit=2&after=10")).await.expect(200);
    assert_eq!(page["next"], format!("{path}?limit=2&after=12"));
}

#[tokio::test]
async fn a_page_of_long_messages_is_complete() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    // 60 messages of 20 kB each are more than the 1 MB that one Query returns.
    for _ in 0..60 {
        api.say(&id, &author_id, &"👍".repeat(5000)).await;
    }
    let path = format!("/conversations/{id}/messages?limit=66");
    for cursor in ["", "&after=0"] {
        let page = api.get(&format!("{path}{cursor}")).await.expect(200);
        assert_eq!(page["results"].as_array().expect("results").len(), 66);
        assert_eq!(page["next"], json!(null));
    }
}

#[tokio::test]
async fn an_unknown_repeated_or_invalid_query_parameter_is_refused() {
    let api = Api::start().await;
    let (_, id) = api.profile_and_conversation().await;
    let messages = format!("/conversations/{id}/messages");
    for path in ["/profiles", "/conversations", &messages] {
        for query in [
            "limit=0",
            "limit=101",
            "limit=x",
            "limit=",
            "limit=1&limit=1",
            "page=2",
            "before=",
            "before=x",
            "limit=1,2",
            "%00=1",
        ] {
            api.get(&format!("{path}?{query}")).await.problem(400);
        }
    }
    for query in ["before=1&after=1", "after=x", "after=-1", "after=", "before=01"] {
        api.get(&format!("{messages}?{query}")).await.problem(400);
    }
    api.get("/profiles?after=1").await.problem(400);
    for query in ["limit=-1", "limit=101", "limit=00", "limit=", "before=1", "after=1"] {
        api.get(&format!("/conversations/{id}?{query}")).await.problem(400);
    }
    for query in ["", "?limit=1", "?after=1", "?after=1.1&limit=0", "?after=1.1&before=1"] {
        api.get(&format!("/conversations/{id}/changes{query}")).await.problem(400);
    }
    api.get(&format!("{messages}/1?limit=1")).await.problem(400);
    api.post("/profiles?x=1", &json!({ "first_name": "A" })).await.problem(400);
    api.delete(&format!("/conversations/{id}?force=1")).await.problem(400);
    api.get(&format!("/conversations/{UNKNOWN}/messages")).await.problem(404);
    // An empty parameter is ignored, and %31 is 1.
    api.get("/profiles?&limit=%31").await.expect(200);
}
