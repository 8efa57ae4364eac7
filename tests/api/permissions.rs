//! Each function may send exactly the requests to DynamoDB that it sends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use functions::{jobs, operations};
use shared::live::{ConnectionId, NewWatch};
use shared::table::{Batch, Notice};
use shared::{Caller, ConversationId, Cursor, Error, IfMatch, Seq};
use uuid::Uuid;

use crate::stage::Stage;
use tests::recorder::{Fault, Recorder, Sent};
use tests::service::{Api, Value, embedded_engine, json, new_table};
use tests::template::{assert_same, functions, root};

/// Actions, each with its place, such as `Query on the index listing`.
type Permissions = BTreeSet<String>;

/// Returns the permissions that a request needs.
fn needed(sent: &Sent) -> Permissions {
    if sent.operation != "TransactWriteItems" {
        let place = match sent.request["IndexName"].as_str() {
            Some(index) => format!("the index {index}"),
            None => "the table".to_owned(),
        };
        return [format!("{} on {place}", sent.operation)].into();
    }
    let items = sent.request["TransactItems"].as_array().expect("items").iter();
    let actions = items.flat_map(|item| item.as_object().expect("an action").keys());
    let actions = actions.map(|action| match action.as_str() {
        "ConditionCheck" => "ConditionCheckItem on the table, in a transaction".to_owned(),
        action => format!("{action}Item on the table, in a transaction"),
    });
    actions.collect()
}

/// Returns the permissions that the template gives to each function.
fn allowed() -> BTreeMap<String, Permissions> {
    let functions = functions().into_iter();
    functions.map(|(name, function)| (name, allowed_to(&function))).collect()
}

fn allowed_to(function: &Value) -> Permissions {
    let policies = function["Properties"]["Policies"].as_array().into_iter().flatten();
    let statements = policies.flat_map(|policy| policy["Statement"].as_array().expect("a list"));
    let mut permissions = Permissions::new();
    for statement in statements {
        assert_eq!(statement["Effect"], "Allow");
        // The smoke test reads its own secret; `smoke` tests that.
        if statement["Action"] == json!(["secretsmanager:GetSecretValue"]) {
            assert_eq!(statement["Resource"], "SmokeTestSecretArn");
            continue;
        }
        let place = match statement["Resource"].as_str().expect("one resource") {
            "TableArn" => "the table".to_owned(),
            // A test of their own compares these.
            "StreamArn" | "FailedDeliveries.Arn" => continue,
            connections if connections.contains("@connections") => continue,
            index => {
                let index = index.strip_prefix("${TableArn}/index/");
                format!("the index {}", index.expect("an index of the table"))
            }
        };
        let enclosing = &statement["Condition"]["StringEquals"]["dynamodb:EnclosingOperation"];
        let condition = match enclosing {
            Value::Null => "",
            enclosing => {
                assert_eq!(enclosing, "TransactWriteItems");
                ", in a transaction"
            }
        };
        for action in statement["Action"].as_array().expect("actions") {
            let action = action.as_str().and_then(|action| action.strip_prefix("dynamodb:"));
            let action = action.expect("an action of DynamoDB");
            permissions.insert(format!("{action} on {place}{condition}"));
        }
    }
    permissions
}

/// The permissions that each function has used.
struct Used {
    recorder: Recorder,
    permissions: BTreeMap<String, Permissions>,
}

impl Used {
    /// Adds the requests since the last call to what a function has used.
    fn record(&mut self, function: &str) {
        let needed = self.recorder.take().iter().flat_map(needed).collect::<Permissions>();
        self.permissions.get_mut(function).expect("a function").extend(needed);
    }
}

/// Calls every operation so that it sends every request that it can send.
async fn call_every_operation(stage: &Stage, used: &mut Used) {
    let api = stage.api();
    let key = || Uuid::new_v4().to_string();
    let (ada, profile_key) = (json!({ "first_name": "Ada" }), key());
    let profile = api.post_with_key("/profiles", &profile_key, &ada).await;
    api.post_with_key("/profiles", &profile_key, &ada).await.expect(201);
    used.record("create-profile");
    let author_id = profile.expect(201)["id"].clone();
    let profile = profile.header("location");
    let opening = json!({ "subject": "s", "author_id": author_id });
    let conversation = api.post_with_key("/conversations", &key(), &opening).await;
    conversation.expect_status(201);
    used.record("create-conversation");
    let conversation = conversation.header("location");
    let messages = format!("{conversation}/messages");
    let message = format!("{messages}/1");
    for _ in 0..10 {
        let (body, key) = (json!({ "author_id": author_id, "text": "x" }), key());
        api.post_with_key(&messages, &key, &body).await.expect(201);
        api.post_with_key(&messages, &key, &body).await.expect(201);
    }
    post_without_success(stage, &messages, &json!({ "author_id": author_id, "text": "x" })).await;
    used.record("create-message");
    let id = conversation.rsplit('/').next().expect("an id");
    let bob = api.profile("Bob").await;
    call_members(api, used, conversation, &bob).await;
    for (function, path) in [
        ("list-profiles", "/profiles"),
        ("list-profiles", "/profiles?owner=me"),
        ("get-profile", profile),
        ("list-conversations", "/conversations"),
        ("get-conversation", conversation),
        ("list-messages", &messages),
        ("list-messages", &format!("{messages}?after=3")),
        ("list-messages", &format!("{messages}?before=999")),
        ("list-changes", &format!("{conversation}/changes?after=0.0")),
        ("get-message", &message),
    ] {
        // An old gap, which a reader closes.
        stage.reserve(id, 1);
        stage.advance(10);
        api.get(path).await.expect(200);
        used.record(function);
    }
    for (function, path, change) in [
        ("update-profile", profile, json!({ "job_title": "x" })),
        ("update-conversation", conversation, json!({ "subject": "x" })),
        ("update-message", &message, json!({ "text": "y" })),
    ] {
        api.patch(path, &change).await.expect(200);
        api.patch(path, &json!({})).await.expect(200);
        used.record(function);
    }
    // The first reader after an edit records that it has seen it.
    api.get(&format!("{conversation}/changes?after=1.0")).await.expect(200);
    used.record("list-changes");
    // A stranger cannot tell a private conversation from an absent one; that takes a read.
    let id = private(api, author_id.as_str().expect("an id")).await;
    let _ = used.recorder.take();
    // The removal of one who is no member waits for other removals.
    api.delete(&format!("/conversations/{id}/members/{bob}")).await.expect(204);
    used.record("delete-member");
    let (table, id) = (stage.table(), id.parse().expect("an id"));
    let stranger = Caller::User("eve".into());
    let deleted = table.delete_conversation(&stranger, id, &IfMatch::Any).await;
    assert!(matches!(deleted, Err(Error::NotFound(_))));
    used.record("delete-conversation");
    let bob = format!("/profiles/{bob}");
    for (function, path) in [
        ("delete-message", message.as_str()),
        ("delete-conversation", conversation),
        ("delete-profile", &bob),
        ("delete-profile", profile),
    ] {
        api.delete(path).await.expect(204);
        if function != "delete-message" {
            api.delete(path).await.expect_status(404);
        }
        used.record(function);
    }
}

/// Calls the operations of members. In the end Bob is a member of the conversation of another
/// profile.
async fn call_members(api: &Api, used: &mut Used, conversation: &str, bob: &str) {
    let member = format!("{conversation}/members/{bob}");
    let (moderator, read) = (json!({ "role": "moderator" }), json!({ "seq": 1 }));
    let _ = used.recorder.take();
    api.put(&member, &json!({})).await.expect(201);
    api.put(&member, &moderator).await.expect(200);
    used.record("put-member");
    api.put(&format!("{member}/read"), &read).await.expect(200);
    used.record("mark-read");
    api.get(&format!("{conversation}/members")).await.expect(200);
    used.record("list-members");
    api.get(&format!("/profiles/{bob}/conversations")).await.expect(200);
    used.record("list-memberships");
    let members = api.get(&format!("{conversation}/members")).await.expect(200);
    let _ = used.recorder.take();
    // The last member of an owner takes the owner's item along.
    for member in members["results"].as_array().expect("results") {
        let id = member["profile_id"].as_str().expect("an id");
        api.delete(&format!("{conversation}/members/{id}")).await.expect(204);
    }
    used.record("delete-member");
    for member in members["results"].as_array().expect("results") {
        let id = member["profile_id"].as_str().expect("an id");
        api.put(&format!("{conversation}/members/{id}"), &json!({})).await.expect(201);
    }
    let _ = used.recorder.take();
}

/// Calls the functions of live delivery.
async fn call_live_functions(stage: &Stage, used: &mut Used) {
    let (ada, conversation) = stage.api().profile_and_conversation().await;
    stage.api().say(&conversation, &ada, "x").await;
    let message = format!("/conversations/{conversation}/messages/1");
    stage.api().patch(&message, &json!({ "text": "y" })).await.expect(200);
    let (profile_id, id) = (ada.parse().expect("an id"), conversation.parse().expect("an id"));
    let connection: ConnectionId = "c".parse().expect("an id");
    let _ = used.recorder.take();
    let ticket = stage.api().post("/tickets", &json!({})).await.expect(201);
    used.record("create-ticket");
    let (_, secret) = ticket["url"].as_str().expect("a url").split_once('=').expect("a ticket");
    stage.table().connect_with_ticket(&connection, secret).await.expect("connected");
    used.record("connect");
    let after = Cursor { seq: Seq::FIRST, change: 0 };
    let absent = stage.table().subscribe(&connection, ConversationId::generate(), after).await;
    assert!(matches!(absent, Err(Error::NotFound(_))));
    // An old gap, which a reader closes.
    stage.reserve(&conversation, 1);
    stage.advance(10);
    stage.table().subscribe(&connection, id, after).await.expect("subscribed");
    used.record("subscribe");
    for conversation_ids in [vec![id], vec![]] {
        let watch = NewWatch { profile_id, conversation_ids };
        stage.table().watch(&connection, watch).await.expect("watching");
    }
    used.record("watch");
    stage.api().patch(&message, &json!({ "text": "z" })).await.expect(200);
    let _ = used.recorder.take();
    let mut batch = Batch::default();
    batch.add(Notice::Change(2));
    let parcels = stage.table().delivery(id, &batch).await.expect("frames");
    let to = parcels.into_iter().flat_map(|parcel| parcel.to);
    stage.table().remove_subscriptions(to).await.expect("removed");
    used.record("deliver");
    stage.table().unsubscribe(&connection, id).await.expect("ended");
    used.record("unsubscribe");
    stage.table().disconnect(&connection).await.expect("removed");
    used.record("disconnect");
}

/// Returns the statement that allows actions on a resource.
fn allow(actions: &[&str], resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resource })
}

#[test]
fn live_delivery_may_reach_only_its_own_connections_stream_and_queue() {
    let api = "execute-api:${AWS::Region}:${AWS::AccountId}:${LiveApi}/live/POST/@connections/*";
    let connections =
        allow(&["execute-api:ManageConnections"], &format!("arn:${{AWS::Partition}}:{api}"));
    let stream = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"];
    let stream = stream.map(|action| format!("dynamodb:{action}"));
    let stream = allow(&stream.each_ref().map(String::as_str), "StreamArn");
    let queue = allow(&["sqs:SendMessage"], "FailedDeliveries.Arn");
    for (name, function) in functions() {
        let statements = &function["Properties"]["Policies"][0]["Statement"];
        let statements = statements.as_array().into_iter().flatten().cloned();
        let others: Vec<Value> = statements
            .filter(|statement| {
                let resource = statement["Resource"].as_str().unwrap_or_default();
                ["StreamArn", "FailedDeliveries.Arn"].contains(&resource)
                    || resource.contains("@connections")
            })
            .collect();
        let expected = match name.as_str() {
            "subscribe" | "unsubscribe" | "watch" => vec![connections.clone()],
            "deliver" => vec![connections.clone(), stream.clone(), queue.clone()],
            _ => Vec::new(),
        };
        assert_eq!(others, expected, "{name}");
    }
}

/// Creates a private conversation. Returns its id.
async fn private(api: &Api, author_id: &str) -> String {
    let body = json!({ "subject": "s", "author_id": author_id, "visibility": "private" });
    let created = api.post("/conversations", &body).await.expect(201);
    created["id"].as_str().expect("an id").to_owned()
}

/// Posts a message whose transaction is always refused, so that the post closes its place.
async fn post_without_success(stage: &Stage, path: &str, body: &Value) {
    stage.inject_always("TransactWriteItems", Fault::Refused("AccessDeniedException"));
    stage.api().post(path, body).await.expect_status(503);
    stage.recorder.clear();
}

#[tokio::test]
async fn every_function_has_exactly_the_permissions_that_it_uses() {
    let stage = Stage::start().await;
    let unused = allowed().into_keys().map(|function| (function, Permissions::new())).collect();
    let mut used = Used { recorder: stage.recorder.clone(), permissions: unused };
    call_every_operation(&stage, &mut used).await;

    call_live_functions(&stage, &mut used).await;
    // The purge records an end, and removes memberships, that the deletions left.
    let (ada, id) = stage.api().profile_and_conversation().await;
    let bob = stage.api().profile("Bob").await;
    let shared = stage.api().conversation(&ada).await;
    stage
        .api()
        .put(&format!("/conversations/{shared}/members/{bob}"), &json!({}))
        .await
        .expect(201);
    stage.inject_always("PutItem", Fault::Refused("ThrottlingException"));
    stage.api().delete(&format!("/conversations/{id}")).await.expect(204);
    stage.inject_always("TransactWriteItems", Fault::Refused("AccessDeniedException"));
    for profile in [ada, bob] {
        stage.api().delete(&format!("/profiles/{profile}")).await.expect(204);
    }
    stage.recorder.clear();
    let _ = stage.recorder.take();
    stage.advance(3600);
    jobs::purge_deleted(stage.table()).await.expect("purged");
    used.record("purge-deleted");

    for (function, allowed) in allowed() {
        let used = &used.permissions[&function];
        assert_same(&format!("the requests of {function}"), used, "template.yaml", &allowed);
    }
}

#[tokio::test]
async fn a_function_reads_the_table_at_start_up_only_if_it_may() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let (_, table) = new_table(&recorder.endpoint).await;
    let _ = recorder.take();
    table.warm_up().await;
    let read: Permissions = recorder.take().iter().flat_map(needed).collect();
    assert_eq!(read, ["BatchGetItem on the table".to_owned()].into());
    let allowed = allowed();
    for operation in operations::ALL {
        let function = operation.function();
        let main = root().join(format!("functions/src/bin/{function}.rs"));
        let main = fs::read_to_string(main).expect("a binary");
        let reads = main.contains("runtime::serve(&");
        assert_eq!(reads, allowed[&function].is_superset(&read), "{function}");
    }
}
