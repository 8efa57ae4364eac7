//! Messages: post, read, edit, delete.

use tests::service::{Api, Value, json};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test]
async fn a_posted_message_earns_a_point_and_can_be_read() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let metadata = json!({ "b": [1, { "": null }], "a": 1 });
    let body = json!({ "author_id": author_id, "text": " Hello\n", "metadata": metadata });
    let response = api.post(&format!("/conversations/{id}/messages"), &body).await;
    let mut posted = response.expect(201);
    assert_eq!(response.header("location"), format!("/conversations/{id}/messages/1"));
    let author = api.get(&format!("/profiles/{author_id}")).await.expect(200);
    assert_eq!(author["points"], 1);
    let expected = json!({
        "conversation_id": id, "seq": 1, "type": "text", "author_id": author_id, "author": author,
        "text": " Hello\n", "metadata": metadata, "points": 1, "change": 0,
        "created_at": posted["created_at"], "edited_at": null, "deleted_at": null, "reward": null,
    });
    assert_eq!(posted, expected);
    posted.as_object_mut().expect("an object").remove("reward");
    assert_eq!(api.get(response.header("location")).await.expect(200), posted);
    let page = api.get(&format!("/conversations/{id}/messages")).await.expect(200);
    assert_eq!(page["results"], json!([posted]));
}

#[tokio::test]
async fn a_message_needs_a_text_an_author_and_a_conversation() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}/messages");
    let invalid = json!({ "text": " \n", "metadata": [], "seq": 1, "type": "action" });
    let fields = api.post(&path, &invalid).await.invalid_fields();
    assert_eq!(fields, ["author_id", "metadata", "seq", "text", "type"]);
    for text in [json!(""), json!("👍".repeat(5001)), json!(5), json!(null)] {
        let body = json!({ "author_id": author_id, "text": text });
        assert_eq!(api.post(&path, &body).await.invalid_fields(), ["text"]);
    }
    let unknown_author = json!({ "author_id": UNKNOWN, "text": "x" });
    assert_eq!(api.post(&path, &unknown_author).await.invalid_fields(), ["author_id"]);
    let body = json!({ "author_id": author_id, "text": "x" });
    api.post(&format!("/conversations/{UNKNOWN}/messages"), &body).await.problem(404);
    assert_eq!(api.get(&format!("/conversations/{id}")).await.expect(200)["last_seq"], 0);
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.expect(200)["points"], 0);
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
        let path = format!("/conversations/{id}/messages/{}", posted["seq"]);
        let read = api.get(&path).await.expect(200);
        assert_eq!((&posted["text"], &read["text"]), (&json!(text), &json!(text)));
    }
}

/// Returns a request body with this text as metadata.
fn with_metadata(author_id: &str, metadata: &str) -> String {
    format!(r#"{{"author_id":"{author_id}","text":"x","metadata":{metadata}}}"#)
}

/// Returns metadata with this many nested objects and arrays.
fn nested(levels: usize) -> String {
    format!(r#"{{"deep":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
}

#[tokio::test]
async fn metadata_keeps_its_order_and_the_spelling_of_numbers() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let longest = format!(r#"{{"k":"{}"}}"#, "x".repeat(4096 - 8));
    for metadata in [
        r#"{"":1}"#,
        r#"{"n":1234567890123456789012345678901234567890}"#,
        r#"{"z":1.10,"a":-0.0,"e":1e300,"t":true,"n":null}"#,
        &nested(32),
        &longest,
    ] {
        let path = format!("/conversations/{id}/messages");
        let posted = api.send("POST", &path, &JSON, with_metadata(&author_id, metadata)).await;
        let seq = posted.expect(201)["seq"].clone();
        let read = api.get(&format!("{path}/{seq}")).await;
        read.expect_status(200);
        for response in [posted, read] {
            let member = format!(r#""metadata":{metadata}"#);
            assert!(response.text.contains(&member), "{}", response.text);
        }
    }
}

#[tokio::test]
async fn metadata_is_limited_in_size_and_depth_and_has_no_duplicate_keys() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}/messages");
    api.send("POST", &path, &JSON, with_metadata(&author_id, &nested(32))).await.expect(201);
    for metadata in [
        format!(r#"{{"k":"{}"}}"#, "x".repeat(4097 - 8)),
        nested(33),
        nested(127),
        r#"{"a":1,"a":1}"#.to_owned(),
        r#"{"a":1,"\u0061":2}"#.to_owned(),
        r#"{"list":[{"b":{"c":1,"c":2}}]}"#.to_owned(),
    ] {
        let posted = api.send("POST", &path, &JSON, with_metadata(&author_id, &metadata)).await;
        assert_eq!(posted.invalid_fields(), ["metadata"], "{metadata}");
        let edit = format!(r#"{{"metadata":{metadata}}}"#);
        let edited = api.send("PATCH", &format!("{path}/1"), &JSON, edit).await;
        assert_eq!(edited.invalid_fields(), ["metadata"], "{metadata}");
    }
}

#[tokio::test]
async fn an_edit_changes_the_named_fields_and_sets_edited_at() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let body = json!({ "author_id": author_id, "text": "Frist", "metadata": { "a": 1, "b": 2 } });
    let mut message = api.post(&format!("/conversations/{id}/messages"), &body).await.expect(201);
    message.as_object_mut().expect("an object").remove("reward");
    let path = format!("/conversations/{id}/messages/1");

    assert_eq!(api.patch(&path, &json!({})).await.expect(200), message);
    let edited = api.patch(&path, &json!({ "text": "First" })).await.expect(200);
    assert!(edited["edited_at"].as_str() >= message["created_at"].as_str(), "{edited}");
    message["text"] = json!("First");
    message["edited_at"] = edited["edited_at"].clone();
    message["change"] = json!(1);
    assert_eq!(edited, message);
    assert_eq!(api.get(&path).await.expect(200), message);
}

#[tokio::test]
async fn an_edit_of_metadata_is_merged_into_it() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let path = format!("/conversations/{id}/messages");
    let first = r#"{"z":1.10,"a":{"b":1,"c":{"d":[1]}},"n":null}"#;
    api.send("POST", &path, &JSON, with_metadata(&author_id, first)).await.expect(201);
    let message = format!("{path}/1");
    for (patch, expected) in [
        (r#"{}"#, first),
        (r#"{"a":{"b":null,"e":2.0}}"#, r#"{"z":1.10,"a":{"c":{"d":[1]},"e":2.0},"n":null}"#),
        (r#"{"n":null,"a":{"c":{"d":[]}}}"#, r#"{"z":1.10,"a":{"c":{"d":[]},"e":2.0}}"#),
        (r#"{"a":[null],"absent":null}"#, r#"{"z":1.10,"a":[null]}"#),
        (r#"{"new":{"x":null,"y":{}}}"#, r#"{"z":1.10,"a":[null],"new":{"y":{}}}"#),
        (r#"null"#, r#"{}"#),
    ] {
        let patch = format!(r#"{{"metadata":{patch}}}"#);
        let edited = api.send("PATCH", &message, &JSON, patch.clone()).await;
        edited.expect_status(200);
        for response in [edited, api.get(&message).await] {
            let member = format!(r#""metadata":{expected},"#);
            assert!(response.text.contains(&member), "{patch}: {}", response.text);
        }
    }
}

#[tokio::test]
async fn metadata_that_becomes_too_large_or_too_deep_by_an_edit_is_refused() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let half = "x".repeat(2100);
    for (first, patch) in [
        (format!(r#"{{"a":"{half}"}}"#), format!(r#"{{"b":"{half}"}}"#)),
        (r#"{"a":{"b":1}}"#.to_owned(), format!(r#"{{"a":{{"b":{}}}}}"#, nested(31))),
    ] {
        let path = format!("/conversations/{id}/messages");
        let posted = api.send("POST", &path, &JSON, with_metadata(&author_id, &first)).await;
        posted.expect_status(201);
        let path = posted.header("location");
        let edit = format!(r#"{{"metadata":{patch}}}"#);
        let edited = api.send("PATCH", path, &JSON, edit).await;
        assert_eq!(edited.invalid_fields(), ["metadata"]);
        assert_eq!(api.get(path).await.expect(200)["change"], 0);
    }
}

#[tokio::test]
async fn an_invalid_edit_is_refused() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "x").await;
    let path = format!("/conversations/{id}/messages/1");
    let invalid = json!({ "text": null, "author_id": author_id, "points": 9, "metadata": 1 });
    let fields = api.patch(&path, &invalid).await.invalid_fields();
    assert_eq!(fields, ["author_id", "metadata", "points", "text"]);
    assert_eq!(api.patch(&path, &json!({ "text": " " })).await.invalid_fields(), ["text"]);
    let edit = json!({ "text": "x" });
    api.patch(&format!("/conversations/{id}/messages/2"), &edit).await.problem(404);
    api.patch(&format!("/conversations/{UNKNOWN}/messages/1"), &edit).await.problem(404);
}

#[tokio::test]
async fn a_deleted_message_keeps_its_seq_and_its_point() {
    let api = Api::start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let body = json!({ "author_id": author_id, "text": "Oops", "metadata": { "a": 1 } });
    api.post(&format!("/conversations/{id}/messages"), &body).await.expect(201);
    api.say(&id, &author_id, "Next").await;
    let path = format!("/conversations/{id}/messages/1");

    assert_eq!(api.delete(&path).await.expect(204), json!(null));
    let deleted = api.get(&path).await.expect(200);
    assert_eq!((&deleted["text"], &deleted["metadata"]), (&json!(""), &json!({})));
    assert_eq!(deleted["points"], 1);
    assert!(deleted["deleted_at"].is_string());
    api.delete(&path).await.expect(204);
    assert_eq!(api.get(&path).await.expect(200), deleted, "a second deletion changes nothing");
    api.patch(&path, &json!({ "text": "Back" })).await.expect_code(409, "message_deleted");
    api.patch(&path, &json!({})).await.expect_code(409, "message_deleted");
    let messages = api.messages(&id).await;
    let seqs: Vec<&Value> = messages.iter().map(|message| &message["seq"]).collect();
    assert_eq!(seqs, [1, 2]);
    assert_eq!(api.get(&format!("/profiles/{author_id}")).await.expect(200)["points"], 2);
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
    let congratulation = api.get(&path).await.expect(200);
    assert_eq!(congratulation["type"], "action");
    for patch in [json!({ "text": "x" }), json!({})] {
        api.patch(&path, &patch).await.expect_code(409, "congratulation");
    }
    api.delete(&path).await.expect_code(409, "congratulation");
    assert_eq!(api.get(&path).await.expect(200), congratulation);
}

#[tokio::test]
async fn an_unknown_seq_is_not_found_and_an_invalid_seq_is_refused() {
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
