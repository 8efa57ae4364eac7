//! Messages: post, read, edit, delete.

use tests::service::{Api, Value, json};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn a_message_is_posted_earns_a_point_and_is_read_back() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let body = json!({ "author_id": author_id, "text": " Hello\n", "metadata": { "b": [1, { "": null }], "a": 1 } });
    let answer = api.post(&format!("/conversations/{id}/messages"), &body).await;
    let mut posted = answer.with(201);
    assert_eq!(answer.header("location"), format!("/conversations/{id}/messages/1"));
    let author = api.get(&format!("/profiles/{author_id}")).await.with(200);
    assert_eq!(author["points"], 1);
    let expected = json!({
        "conversation_id": id, "seq": 1, "type": "text", "author_id": author_id, "author": author, "text": " Hello\n",
        "metadata": { "b": [1, { "": null }], "a": 1 }, "points": 1, "created_at": posted["created_at"],
        "edited_at": null, "deleted_at": null, "reward": null,
    });
    assert_eq!(posted, expected);
    posted.as_object_mut().expect("an object").remove("reward");
    assert_eq!(api.get(answer.header("location")).await.with(200), posted);
    assert_eq!(
        api.get(&format!("/conversations/{id}/messages")).await.with(200)["results"],
        json!([posted])
    );
}

#[tokio::test]
async fn a_message_needs_a_text_an_author_and_a_conversation() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}/messages");
    let wrong = json!({ "text": " \n", "metadata": [], "seq": 1, "type": "action" });
    assert_eq!(
        api.post(&path, &wrong).await.invalid_fields(),
        ["author_id", "metadata", "seq", "text", "type"]
    );
    for text in [json!(""), json!("👍".repeat(5001)), json!(5), json!(null)] {
        let body = json!({ "author_id": author_id, "text": text });
        assert_eq!(api.post(&path, &body).await.invalid_fields(), ["text"]);
    }
    let nobody = json!({ "author_id": UNKNOWN, "text": "x" });
    assert_eq!(api.post(&path, &nobody).await.invalid_fields(), ["author_id"]);
    let body = json!({ "author_id": author_id, "text": "x" });
    api.post(&format!("/conversations/{UNKNOWN}/messages"), &body).await.problem(404);
    assert_eq!(api.get(&format!("/conversations/{id}")).await.with(200)["last_seq"], 0);
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.with(200)["points"], 0);
}

#[tokio::test]
async fn a_text_is_stored_exactly_as_sent() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for text in [
        "e\u{301} is not é",
        "\u{0}\u{1f}\u{7f}",
        " \u{202e}x ",
        "<img src=x onerror=alert(1)>",
        &"👍".repeat(5000),
    ] {
        let posted = api.say(&id, &author_id, text).await;
        let read =
            api.get(&format!("/conversations/{id}/messages/{}", posted["seq"])).await.with(200);
        assert_eq!((&posted["text"], &read["text"]), (&json!(text), &json!(text)));
    }
}

#[tokio::test]
async fn metadata_comes_back_with_its_numbers_and_order_as_sent() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let deep = format!(r#"{{"deep":{}{}}}"#, "[".repeat(31), "]".repeat(31));
    let longest = format!(r#"{{"k":"{}"}}"#, "x".repeat(4096 - 8));
    for metadata in [
        r#"{"":1}"#,
        &deep,
        r#"{"n":1234567890123456789012345678901234567890}"#,
        r#"{"z":1.10,"a":-0.0,"e":1e300,"t":true,"n":null}"#,
        &longest,
    ] {
        let body = format!(r#"{{"author_id":"{author_id}","text":"x","metadata":{metadata}}}"#);
        let headers = [("content-type", "application/json")];
        let posted =
            api.send("POST", &format!("/conversations/{id}/messages"), &headers, body).await;
        let seq = posted.with(201)["seq"].clone();
        let read = api.get(&format!("/conversations/{id}/messages/{seq}")).await;
        read.with(200);
        for answer in [posted, read] {
            assert!(answer.text.contains(&format!(r#""metadata":{metadata}"#)), "{}", answer.text);
        }
    }
    let too_long =
        json!({ "author_id": author_id, "text": "x", "metadata": { "k": "x".repeat(4097 - 8) } });
    assert_eq!(
        api.post(&format!("/conversations/{id}/messages"), &too_long).await.invalid_fields(),
        ["metadata"]
    );
}

#[tokio::test]
async fn an_edit_changes_what_it_names_and_says_when() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let body = json!({ "author_id": author_id, "text": "Frist", "metadata": { "a": 1, "b": 2 } });
    let mut message = api.post(&format!("/conversations/{id}/messages"), &body).await.with(201);
    message.as_object_mut().expect("an object").remove("reward");
    let path = format!("/conversations/{id}/messages/1");

    assert_eq!(api.patch(&path, &json!({})).await.with(200), message);
    let edited = api.patch(&path, &json!({ "text": "First" })).await.with(200);
    assert!(edited["edited_at"].as_str() >= message["created_at"].as_str(), "{edited}");
    message["text"] = json!("First");
    message["edited_at"] = edited["edited_at"].clone();
    assert_eq!(edited, message);
    assert_eq!(api.get(&path).await.with(200), message);
    assert_eq!(
        api.patch(&path, &json!({ "metadata": { "b": 3 } })).await.with(200)["metadata"],
        json!({ "b": 3 })
    );
    assert_eq!(
        api.patch(&path, &json!({ "metadata": null })).await.with(200)["metadata"],
        json!({})
    );

    let wrong = json!({ "text": null, "author_id": author_id, "points": 9, "metadata": 1 });
    assert_eq!(
        api.patch(&path, &wrong).await.invalid_fields(),
        ["author_id", "metadata", "points", "text"]
    );
    assert_eq!(api.patch(&path, &json!({ "text": " " })).await.invalid_fields(), ["text"]);
    api.patch(&format!("/conversations/{id}/messages/2"), &json!({ "text": "x" }))
        .await
        .problem(404);
    api.patch(&format!("/conversations/{UNKNOWN}/messages/1"), &json!({ "text": "x" }))
        .await
        .problem(404);
}

#[tokio::test]
async fn a_deleted_message_keeps_its_place_and_its_point() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let body = json!({ "author_id": author_id, "text": "Oops", "metadata": { "a": 1 } });
    api.post(&format!("/conversations/{id}/messages"), &body).await.with(201);
    api.say(&id, &author_id, "Next").await;
    let path = format!("/conversations/{id}/messages/1");

    assert_eq!(api.delete(&path).await.with(204), json!(null));
    let deleted = api.get(&path).await.with(200);
    assert_eq!(
        (&deleted["text"], &deleted["metadata"], &deleted["points"]),
        (&json!(""), &json!({}), &json!(1))
    );
    assert!(deleted["deleted_at"].is_string());
    api.delete(&path).await.with(204);
    assert_eq!(api.get(&path).await.with(200), deleted, "a second deletion changes nothing");
    api.patch(&path, &json!({ "text": "Back" })).await.problem(409);
    api.patch(&path, &json!({})).await.problem(409);
    let seqs: Vec<Value> =
        api.messages(&id).await.iter().map(|message| message["seq"].clone()).collect();
    assert_eq!(seqs, [1, 2]);
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.with(200)["points"], 2);
    api.delete(&format!("/conversations/{id}/messages/3")).await.problem(404);
    api.delete(&format!("/conversations/{UNKNOWN}/messages/1")).await.problem(404);
}

#[tokio::test]
async fn a_congratulation_cannot_be_edited_or_deleted() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for _ in 0..10 {
        api.say(&id, &author_id, "x").await;
    }
    let path = format!("/conversations/{id}/messages/11");
    let congratulation = api.get(&path).await.with(200);
    assert_eq!(congratulation["type"], "action");
    api.patch(&path, &json!({ "text": "x" })).await.problem(409);
    api.patch(&path, &json!({})).await.problem(409);
    api.delete(&path).await.problem(409);
    assert_eq!(api.get(&path).await.with(200), congratulation);
}

#[tokio::test]
async fn a_place_where_no_message_stands_is_not_found() {
    let api = Api::start().await;
    let (_, id) = api.profile_and_conversation().await;
    for seq in ["0", "1", "999999999999"] {
        api.get(&format!("/conversations/{id}/messages/{seq}")).await.problem(404);
    }
    for seq in ["-1", "01", "1.0", "x", "1000000000000", "%20"] {
        api.get(&format!("/conversations/{id}/messages/{seq}")).await.problem(400);
    }
    api.get(&format!("/conversations/{UNKNOWN}/messages/1")).await.problem(404);
}
