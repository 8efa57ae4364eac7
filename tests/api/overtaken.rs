//! Changes that are overtaken by others: a late one never undoes a later one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shared::{Caller, ConversationPatch, IfMatch, MessagePatch, ProfilePatch, Table};

use crate::preconditions::{change, resources};
use crate::stage::Stage;
use tests::recorder::{Fault, Gate};
use tests::service::{Response, Value, json};

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
        .zip(["UpdateItem", "UpdateItem", "TransactWriteItems"])
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
