//! Points and congratulations, also under concurrent posts.

use tokio::task::JoinSet;
use uuid::Uuid;

use tests::guarantees::check_conversation;
use tests::service::{Api, Value, json};

#[tokio::test]
async fn every_tenth_point_earns_a_congratulation() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for number in 1..=20_u64 {
        let posted = api.say(&id, &author_id, "x").await;
        assert_eq!(posted["points"], number);
        assert_eq!(posted["author"]["points"], number);
        let reward = &posted["reward"];
        if number % 10 != 0 {
            assert_eq!(reward, &json!(null));
            continue;
        }
        let seq = posted["seq"].as_u64().expect("a number") + 1;
        let expected = json!({
            "conversation_id": id, "seq": seq, "type": "action", "author_id": null, "author": null,
            "text": format!("Congratulations Ada, you have reached {number} points!"),
            "metadata": { "profile_id": author_id, "points": number }, "points": number, "change": 0,
            "created_at": reward["created_at"], "edited_at": null, "deleted_at": null,
        });
        assert_eq!(reward, &expected);
        let path = format!("/conversations/{id}/messages/{seq}");
        assert_eq!(api.get(&path).await.expect(200), expected);
    }
    let messages = api.messages(&id).await;
    assert_eq!(messages.len(), 22);
    assert_eq!(messages[10]["type"], "action");
    assert_eq!(messages[21]["type"], "action");
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.expect(200)["points"], 20);
}

#[tokio::test]
async fn points_count_over_all_conversations() {
    let api = Api::start().await;
    let author_id = api.profile("Ada").await;
    let (first, second) = (api.conversation(&author_id).await, api.conversation(&author_id).await);
    for _ in 0..9 {
        api.say(&first, &author_id, "x").await;
    }
    let posted = api.say(&second, &author_id, "x").await;
    assert_eq!((&posted["seq"], &posted["reward"]["seq"]), (&json!(1), &json!(2)));
    assert_eq!(api.messages(&first).await.len(), 9);
}

/// Posts a message as a careful client does: repeats the request with its key while the service is
/// busy. Returns the message.
async fn post_until_stored(api: &Api, conversation_id: &str, author_id: &str) -> Value {
    let path = format!("/conversations/{conversation_id}/messages");
    let (key, body) = (Uuid::new_v4().to_string(), json!({ "author_id": author_id, "text": "x" }));
    loop {
        let response = api.post_with_key(&path, &key, &body).await;
        if response.status != 503 {
            return response.expect(201);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_authors_post_into_one_conversation_concurrently() {
    let api = Api::start().await;
    let mut authors = Vec::new();
    for number in 0..16 {
        authors.push(api.profile(&format!("Author {number}")).await);
    }
    let id = api.conversation(&authors[0]).await;
    let mut clients = JoinSet::new();
    for author in authors {
        let (api, id) = (api.clone(), id.clone());
        clients.spawn(async move {
            for points in 1..=10 {
                assert_eq!(post_until_stored(&api, &id, &author).await["points"], points);
            }
        });
    }
    clients.join_all().await;
    let messages = api.messages(&id).await;
    check_conversation(&messages);
    // A post that is slow on a busy machine may leave a void.
    assert_eq!(messages.iter().filter(|message| message["type"] != "void").count(), 176);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_author_posts_from_eight_clients_concurrently() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (api, id, author_id) = (api.clone(), id.clone(), author_id.clone());
        clients.spawn(async move {
            for _ in 0..5 {
                post_until_stored(&api, &id, &author_id).await;
            }
        });
    }
    clients.join_all().await;
    let messages = api.messages(&id).await;
    check_conversation(&messages);
    // A post that loses a race at a tenth point may leave a void.
    assert_eq!(messages.iter().filter(|message| message["type"] != "void").count(), 44);
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.expect(200)["points"], 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_polls_reads_every_message_once_and_in_order_during_posts() {
    let api = Api::start().await;
    let mut authors = Vec::new();
    for _ in 0..4 {
        authors.push(api.profile("Ada").await);
    }
    let id = api.conversation(&authors[0]).await;
    let mut clients = JoinSet::new();
    for author in authors {
        let (api, id) = (api.clone(), id.clone());
        clients.spawn(async move {
            for _ in 0..10 {
                post_until_stored(&api, &id, &author).await;
            }
        });
    }
    let mut read: Vec<Value> = Vec::new();
    while read.len() < 44 {
        let after = read.last().map_or(json!(0), |last| last["seq"].clone());
        let path = format!("/conversations/{id}/messages?limit=7&after={after}");
        let page = api.get(&path).await.expect(200);
        read.extend(page["results"].as_array().expect("results").iter().cloned());
        assert!(read.iter().zip(1_u64..).all(|(message, seq)| message["seq"] == seq));
    }
    clients.join_all().await;
    check_conversation(&read);
}
