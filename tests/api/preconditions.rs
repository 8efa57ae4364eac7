//! Versions: `ETag` and `If-Match`.

use tests::service::{Api, Response, Value, json};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Sends a PATCH, or a DELETE if there is no patch, with this `If-Match`.
pub(crate) async fn change(
    api: &Api,
    path: &str,
    patch: Option<&Value>,
    if_match: &str,
) -> Response {
    let headers = [("content-type", "application/json"), ("if-match", if_match)];
    match patch {
        Some(patch) => api.send("PATCH", path, &headers, patch.to_string()).await,
        None => api.send("DELETE", path, &headers, "").await,
    }
}

/// Creates a profile, a conversation and a message. Returns the path of each, and a patch for it.
pub(crate) async fn resources(api: &Api) -> [(String, Value); 3] {
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "x").await;
    [
        (format!("/profiles/{author_id}"), json!({ "first_name": "Bob" })),
        (format!("/conversations/{id}"), json!({ "subject": "Another" })),
        (format!("/conversations/{id}/messages/1"), json!({ "text": "y" })),
    ]
}

#[tokio::test]
async fn every_response_with_one_resource_has_its_version() {
    let api = Api::start().await;
    let author_id = api.profile("Ada").await;
    let opening = json!({ "subject": "s", "author_id": author_id });
    let profile = json!({ "first_name": "Ada" });
    let post = json!({ "author_id": author_id, "text": "x" });
    let conversation = api.post_with_key("/conversations", "c", &opening).await;
    let messages = format!("{}/messages", conversation.header("location"));
    for (path, body, patch, first) in [
        ("/profiles", &profile, json!({ "job_title": "x" }), 1),
        ("/conversations", &opening, json!({ "subject": "x" }), 1),
        (&*messages, &post, json!({ "metadata": { "a": 1 } }), 0),
    ] {
        let key = uuid::Uuid::new_v4().to_string();
        let tag = |version: u64| format!("\"{version}\"");
        let created = api.post_with_key(path, &key, body).await;
        created.expect_status(201);
        let location = created.header("location");
        assert_eq!(created.header("etag"), tag(first), "{path}");
        assert_eq!(api.get(location).await.header("etag"), tag(first));
        assert_eq!(api.patch(location, &json!({})).await.header("etag"), tag(first));
        for version in first + 1..first + 3 {
            let changed = api.patch(location, &patch).await;
            assert_eq!(changed.header("etag"), tag(version), "{path}");
            let member = if path == messages { "change" } else { "version" };
            assert_eq!(changed.expect(200)[member], version);
            assert_eq!(api.get(location).await.header("etag"), tag(version));
        }
        let repeat = api.post_with_key(path, &key, body).await;
        assert_eq!(repeat.header("etag"), tag(first + 2), "{path}: a repeat");
    }
    for path in ["/profiles", "/conversations", &messages] {
        assert_eq!(api.get(path).await.header("etag"), "", "{path} has no version");
    }
}

#[tokio::test]
async fn points_and_messages_do_not_change_a_version() {
    let api = Api::start().await;
    let [(profile, _), (conversation, _), _] = resources(&api).await;
    for path in [profile, conversation] {
        assert_eq!(api.get(&path).await.header("etag"), "\"1\"", "{path}");
    }
}

#[tokio::test]
async fn a_change_is_made_only_to_the_expected_version() {
    let api = Api::start().await;
    for (path, patch) in resources(&api).await {
        let current = api.get(&path).await;
        let (tag, before) = (current.header("etag"), current.expect(200));
        for wrong in ["\"7\"", "\"7\", \"8\"", "\"\"", "\"another-service's\"", "\"a,b\""] {
            let refused = change(&api, &path, Some(&patch), wrong).await;
            let problem = refused.expect_code(412, "precondition_failed");
            assert!(problem["detail"].to_string().contains("new ETag"), "{problem}");
            change(&api, &path, Some(&json!({})), wrong).await.problem(412);
            change(&api, &path, None, wrong).await.expect_code(412, "precondition_failed");
        }
        assert_eq!(api.get(&path).await.expect(200), before, "nothing is changed");
        let changed = change(&api, &path, Some(&patch), tag).await;
        changed.expect_status(200);
        change(&api, &path, Some(&patch), tag).await.problem(412);
        let list = format!("\"7\" ,{}", changed.header("etag"));
        change(&api, &path, Some(&patch), &list).await.expect_status(200);
        change(&api, &path, Some(&patch), "*").await.expect_status(200);
    }
}

#[tokio::test]
async fn a_deletion_is_made_only_of_the_expected_version() {
    let api = Api::start().await;
    for index in [2, 1, 0] {
        for any in [false, true] {
            let (path, patch) = resources(&api).await[index].clone();
            let changed = api.patch(&path, &patch).await;
            change(&api, &path, None, "\"0\"").await.problem(412);
            let tag = if any { "*" } else { changed.header("etag") };
            change(&api, &path, None, tag).await.expect_status(204);
        }
    }
}

#[tokio::test]
async fn a_malformed_if_match_is_refused_and_changes_nothing() {
    let api = Api::start().await;
    for (path, patch) in resources(&api).await {
        for malformed in
            ["", "1", "W/\"1\"", "\"1\", W/\"0\"", "\"1", "1\"", "\"1\"\"0\"", "\"1\",", "*, \"1\""]
        {
            for patch in [Some(&patch), None] {
                let refused = change(&api, &path, patch, malformed).await;
                let problem = refused.expect_code(400, "malformed");
                assert!(problem["detail"].to_string().contains("If-Match"), "{problem}");
            }
        }
        api.get(&path).await.expect_status(200);
    }
}

#[tokio::test]
async fn a_version_is_checked_after_everything_else() {
    let api = Api::start().await;
    for (path, patch) in resources(&api).await {
        let absent = match path.rsplit_once('/') {
            Some((messages, "1")) => format!("{messages}/2"),
            _ => format!("{}/{UNKNOWN}", path.rsplit_once('/').expect("a path").0),
        };
        change(&api, &absent, Some(&patch), "\"7\"").await.problem(404);
        change(&api, &absent, None, "\"7\"").await.problem(404);
        let invalid = json!({ "unknown": 1 });
        let fields = change(&api, &path, Some(&invalid), "\"7\"").await.invalid_fields();
        assert_eq!(fields, ["unknown"]);
    }
}

#[tokio::test]
async fn a_deleted_message_is_reported_before_its_version_is_checked() {
    let api = Api::start().await;
    let [_, _, (path, patch)] = resources(&api).await;
    api.delete(&path).await.expect_status(204);
    change(&api, &path, None, "\"7\"").await.expect_status(204);
    change(&api, &path, Some(&patch), "\"7\"").await.expect_code(409, "message_deleted");
    assert_eq!(api.get(&path).await.header("etag"), "\"1\"", "a deletion is a change");
}
