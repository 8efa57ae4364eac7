//! Points and congratulations, and what stays true when many post at once.

use tests::guarantees::check_conversation;
use tests::service::{Api, Value, json};

#[tokio::test]
async fn a_tenth_point_brings_a_congratulation() {
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
            "metadata": { "profile_id": author_id, "points": number }, "points": number,
            "created_at": reward["created_at"], "edited_at": null, "deleted_at": null,
        });
        assert_eq!(reward, &expected);
        assert_eq!(
            api.get(&format!("/conversations/{id}/messages/{seq}")).await.with(200),
            expected
        );
    }
    let messages = api.messages(&id).await;
    assert_eq!(messages.len(), 22);
    assert_eq!(
        (&messages[10]["type"], &messages[21]["type"]),
        (&json!("action"), &json!("action"))
    );
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.with(200)["points"], 20);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_clients_post_160_messages_into_one_conversation() {
    let api = Api::start().await;
    let mut authors = Vec::new();
    for number in 0..16 {
        authors.push(api.profile(&format!("Author {number}")).await);
    }
    let id = api.conversation(&authors[0]).await;
    let clients: Vec<_> = (authors.iter().cloned())
        .map(|author| {
            let (api, id) = (api.clone(), id.clone());
            tokio::spawn(async move {
                let mut points = Vec::new();
                for number in 0..10 {
                    let posted = api.say(&id, &author, &format!("{number}")).await;
                    points.push(posted["points"].as_u64().expect("points"));
                }
                assert_eq!(points, (1..=10).collect::<Vec<_>>());
            })
        })
        .collect();
    for client in clients {
        client.await.expect("every post answers 201");
    }
    let messages = api.messages(&id).await;
    assert_eq!(messages.len(), 176);
    check_conversation(&messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_author_posts_from_eight_clients_at_once() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (api, id, author_id) = (api.clone(), id.clone(), author_id.clone());
            tokio::spawn(async move {
                for _ in 0..5 {
                    api.say(&id, &author_id, "x").await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("every post answers 201");
    }
    let messages = api.messages(&id).await;
    assert_eq!(messages.len(), 44);
    check_conversation(&messages);
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.with(200)["points"], 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poller_sees_every_message_once_and_in_order_while_many_post() {
    let api = Api::start().await;
    let mut authors = Vec::new();
    for _ in 0..4 {
        authors.push(api.profile("Ada").await);
    }
    let id = api.conversation(&authors[0]).await;
    for author in authors {
        let (api, id) = (api.clone(), id.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                api.say(&id, &author, "x").await;
            }
        });
    }
    let mut seen: Vec<Value> = Vec::new();
    while seen.len() < 44 {
        let after = seen.last().map_or(json!(0), |last| last["seq"].clone());
        let page =
            api.get(&format!("/conversations/{id}/messages?limit=7&after={after}")).await.with(200);
        seen.extend(page["results"].as_array().expect("results").iter().cloned());
        assert!(seen.iter().zip(1_u64..).all(|(message, seq)| message["seq"] == seq));
    }
    check_conversation(&seen);
}
