//! Versions: `ETag` and `If-Match`, and changes that never undo later ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shared::{Caller, ConversationPatch, IfMatch, MessagePatch, ProfilePatch, Table};

use crate::stage::Stage;
use tests::recorder::{Fault, Gate};
use tests::service::{Api, Response, Value, json};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Sends a PATCH, or a DELETE if there is no patch, with this `If-Match`.
async fn change(api: &Api, path: &str, patch: Option<&Value>, if_match: &str) -> Response {
    let headers = [("content-type", "application/json"), ("if-match", if_match)];
    match patch {
        Some(patch) => api.send("PATCH", path, &headers, patch.to_string()).await,
        None => api.send("DELETE", path, &headers, "").await,
    }
}

/// Creates a profile, a conversation and a message. Returns the path of each, and a patch for it.
async fn resources(api: &Api) -> [(String, Value); 3] {
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

/// Changes each of the resources as a function would that crashes before its write is sent. Returns the
/// operations and bodies of the writes.
async fn crashed_changes(stage: &Stage, paths: &[(String, Value)]) -> [(&'static str, Value); 3] {
    let id = |index: usize| paths[index].0.rsplit('/').next().expect("an id").to_owned();
    let any = IfMatch::Any;
    let profile = {
        let (table, id, any) = (stage.table(), id(0).parse().expect("an id"), any.clone());
        let name = "late".to_owned().try_into().expect("a name");
        let patch = ProfilePatch { first_name: Some(name), ..Default::default() };
        let update = async move { table.update_profile(&Caller::Anyone, id, patch, &any).await };
        stage.crash_at("UpdateItem", update).await
    };
    let conversation = {
        let (table, id, any) = (stage.table(), id(1).parse().expect("an id"), any.clone());
        let patch = ConversationPatch { subject: "late".to_owned().try_into().ok() };
        let update =
            async move { table.update_conversation(&Caller::Anyone, id, patch, &any).await };
        stage.crash_at("UpdateItem", update).await
    };
    let message = {
        let (table, id) = (stage.table(), id(1).parse().expect("an id"));
        let patch = MessagePatch { text: "late".to_owned().try_into().ok(), metadata: None };
        let update = async move {
            table.update_message(&Caller::Anyone, id, shared::Seq::new(1), patch, &any).await
        };
        stage.crash_at("TransactWriteItems", update).await
    };
    [("UpdateItem", profile), ("UpdateItem", conversation), ("TransactWriteItems", message)]
}

#[tokio::test]
async fn a_change_that_arrives_late_never_undoes_a_later_one() {
    let stage = Stage::start().await;
    let resources = resources(stage.api()).await;
    let late = crashed_changes(&stage, &resources).await;
    for ((path, patch), (operation, write)) in resources.iter().zip(&late) {
        let changed = stage.api().patch(path, patch).await;
        assert_eq!(stage.deliver(operation, write), 400, "{path}");
        let stored = stage.api().get(path).await;
        assert_eq!(stored.header("etag"), changed.header("etag"));
        assert!(!stored.text.contains("late"), "{}", stored.text);
    }
}

#[tokio::test]
async fn a_change_that_arrives_late_never_undoes_a_deletion() {
    let stage = Stage::start().await;
    let resources = resources(stage.api()).await;
    let late = crashed_changes(&stage, &resources).await;
    for ((path, _), (operation, write)) in resources.iter().zip(&late).rev() {
        stage.api().delete(path).await.expect_status(204);
        let before = stage.api().get(path).await.json();
        assert_eq!(stage.deliver(operation, write), 400, "{path}");
        assert_eq!(stage.api().get(path).await.json()["deleted_at"], before["deleted_at"]);
    }
}

/// Sends a request whose first attempt at this write meets this fault. Before the second attempt another
/// client changes the same resource this often. Returns the response.
async fn overtaken(
    stage: &Stage,
    (operation, fault): (&'static str, Fault),
    request: impl Future<Output = Response>,
    (path, others): (&str, u32),
) -> Response {
    let (gate, attempts) = (Gate::default(), AtomicU32::new(0));
    let held = gate.clone();
    stage.recorder.inject(move |sent, _| match sent == operation {
        true => match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => fault.clone(),
            1 => Fault::Held(held.clone()),
            _ => Fault::None,
        },
        false => Fault::None,
    });
    let other = if path.contains("/messages/") {
        json!({ "text": "other" })
    } else if path.contains("/profiles/") {
        json!({ "first_name": "Other" })
    } else {
        json!({ "subject": "other" })
    };
    let overtake = async {
        gate.arrival().await;
        for _ in 0..others {
            stage.api().patch(path, &other).await.expect_status(200);
        }
        gate.open();
    };
    let (response, ()) = tokio::join!(request, overtake);
    stage.recorder.clear();
    response
}

/// Returns the write of a change of each resource, its path, and its patch.
async fn changes(stage: &Stage) -> [(&'static str, String, Value); 3] {
    let [(profile, _), (conversation, _), (message, _)] = resources(stage.api()).await;
    [
        ("UpdateItem", profile, json!({ "job_title": "mine" })),
        ("UpdateItem", conversation, json!({ "subject": "mine" })),
        ("TransactWriteItems", message, json!({ "metadata": { "mine": true } })),
    ]
}

#[tokio::test]
async fn a_change_that_was_overtaken_is_applied_to_the_newer_version() {
    let stage = Stage::start().await;
    for (operation, path, patch) in changes(&stage).await {
        let request = stage.api().patch(&path, &patch);
        let lost = (operation, Fault::RequestLost);
        let changed = overtaken(&stage, lost, request, (&path, 1)).await;
        let stored = stage.api().get(&path).await;
        assert_eq!(changed.header("etag"), stored.header("etag"), "{path}");
        let (name, value) =
            patch.as_object().and_then(|patch| patch.iter().next()).expect("a field");
        let stored = stored.expect(200);
        assert_eq!((&changed.expect(200)[name], &stored[name]), (value, value), "{path}");
        let other = ["text", "first_name"].iter().find_map(|name| stored[name].as_str());
        assert!(other.is_none_or(|other| other.eq_ignore_ascii_case("other")), "{stored}");
    }
}

#[tokio::test]
async fn a_change_that_was_overtaken_is_refused_if_it_expects_a_version() {
    let stage = Stage::start().await;
    for (operation, path, patch) in changes(&stage).await {
        let tag = stage.api().get(&path).await.header("etag").to_owned();
        let request = change(stage.api(), &path, Some(&patch), &tag);
        let lost = (operation, Fault::RequestLost);
        let refused = overtaken(&stage, lost, request, (&path, 1)).await;
        refused.expect_code(412, "precondition_failed");
        assert!(!stage.api().get(&path).await.text.contains("mine"), "{path}");
    }
}

#[tokio::test]
async fn a_deletion_that_was_overtaken_is_refused_if_it_expects_a_version() {
    let stage = Stage::start().await;
    for ((operation, path, _), delete) in changes(&stage)
        .await
        .into_iter()
        .zip(["DeleteItem", "UpdateItem", "TransactWriteItems"])
        .rev()
    {
        let tag = stage.api().get(&path).await.header("etag").to_owned();
        let request = change(stage.api(), &path, None, &tag);
        let refused = overtaken(&stage, (delete, Fault::RequestLost), request, (&path, 1)).await;
        refused.expect_code(412, "precondition_failed");
        let stored = stage.api().get(&path).await.expect(200);
        assert_eq!(stored["deleted_at"], json!(null), "{operation} {path}");
    }
}

#[tokio::test]
async fn a_change_whose_response_was_lost_is_made_once() {
    let stage = Stage::start().await;
    for index in 0..3 {
        let (operation, path, patch) = changes(&stage).await[index].clone();
        let version = async || {
            let tag = stage.api().get(&path).await.header("etag").to_owned();
            tag.trim_matches('"').parse::<u64>().expect("a number")
        };
        let first = version().await;
        for (if_match, expected) in
            [("*".to_owned(), first + 1), (format!("\"{}\"", first + 1), first + 2)]
        {
            let request = change(stage.api(), &path, Some(&patch), &if_match);
            let lost = (operation, Fault::ResponseLost);
            overtaken(&stage, lost, request, (&path, 0)).await.expect_status(200);
            assert_eq!(version().await, expected, "{path}");
        }
    }
}

/// Afterwards nothing shows whether the first attempt was among the changes.
#[tokio::test]
async fn a_change_that_may_have_been_replaced_by_later_ones_has_an_unknown_outcome() {
    let stage = Stage::start().await;
    for (fault, others) in [(Fault::ResponseLost, 1), (Fault::RequestLost, 2)] {
        for (operation, path, patch) in changes(&stage).await.into_iter().take(2) {
            let request = stage.api().patch(&path, &patch);
            let response = overtaken(&stage, (operation, fault.clone()), request, (&path, others));
            response.await.expect_code(500, "outcome_unknown");
            let stored = stage.api().get(&path).await;
            assert_eq!(stored.header("etag"), "\"3\"", "{path}: two changes are stored");
        }
    }
}

/// The change of a message is a transaction, whose attempts DynamoDB decides together.
#[tokio::test]
async fn an_edit_whose_response_was_lost_is_not_repeated_after_a_later_edit() {
    let stage = Stage::start().await;
    let [_, _, (operation, path, patch)] = changes(&stage).await;
    let request = stage.api().patch(&path, &patch);
    let lost = (operation, Fault::ResponseLost);
    overtaken(&stage, lost, request, (&path, 1)).await.expect_status(200);
    let stored = stage.api().get(&path).await.expect(200);
    assert_eq!((&stored["text"], &stored["change"]), (&json!("other"), &json!(2)));
    assert_eq!(stored["metadata"], json!({ "mine": true }));
}

#[tokio::test]
async fn an_edit_or_deletion_overtaken_by_a_deletion_is_answered_accordingly() {
    let stage = Stage::start().await;
    for (edit, if_match) in [(true, "*"), (true, "\"0\""), (false, "*"), (false, "\"0\"")] {
        let [_, _, (path, patch)] = resources(stage.api()).await;
        let gate = Gate::default();
        stage.inject_once("TransactWriteItems", Fault::Held(gate.clone()));
        let patch = edit.then_some(&patch);
        let request = change(stage.api(), &path, patch, if_match);
        let overtake = async {
            gate.arrival().await;
            stage.api().delete(&path).await.expect_status(204);
            gate.open();
        };
        let (response, ()) = tokio::join!(request, overtake);
        match edit {
            true => drop(response.expect_code(409, "message_deleted")),
            false => response.expect_status(204),
        }
        assert_eq!(stage.api().get(&path).await.expect(200)["change"], 1, "deleted once");
    }
}

#[tokio::test]
async fn an_edit_sends_at_most_eight_transactions() {
    let adjust = |table: Table| table.with_backoff(|_| Some(Duration::ZERO));
    let stage = Stage::start_with(adjust, Duration::from_secs(10)).await;
    let [_, _, (path, patch)] = resources(stage.api()).await;
    for (fault, code) in [
        (Fault::Refused("TransactionCanceledException"), (503, "unavailable")),
        (Fault::RequestLost, (500, "outcome_unknown")),
    ] {
        let sent = Arc::new(AtomicU32::new(0));
        let count = sent.clone();
        stage.recorder.inject(move |operation, _| {
            if operation != "TransactWriteItems" {
                return Fault::None;
            }
            count.fetch_add(1, Ordering::Relaxed);
            fault.clone()
        });
        stage.api().patch(&path, &patch).await.expect_code(code.0, code.1);
        assert_eq!(sent.load(Ordering::Relaxed), 8);
    }
}
