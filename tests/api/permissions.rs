//! What each function sends to DynamoDB is exactly what `template.yaml` lets it send: no less, no more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use local::template::TEMPLATE;
use uuid::Uuid;

use tests::service::{Api, Recorder, Sent, Value, assert_same, embedded_engine, json, new_table};

/// An action on the table or its index; "in a transaction" where it stands in one.
type Permissions = BTreeSet<String>;

/// What a request needs to be allowed.
fn needed(sent: &Sent) -> Permissions {
    match sent.operation.as_str() {
        "TransactWriteItems" => {
            let items = sent.request["TransactItems"].as_array().expect("items").iter();
            let actions = items.map(|item| {
                match item
                    .as_object()
                    .and_then(|item| item.keys().next())
                    .expect("an action")
                    .as_str()
                {
                    "ConditionCheck" => {
                        "ConditionCheckItem on the table, in a transaction".to_owned()
                    }
                    action => format!("{action}Item on the table, in a transaction"),
                }
            });
            actions.collect()
        }
        operation => {
            let place = sent.request.get("IndexName").map_or("the table".to_owned(), |index| {
                format!("the index {}", index.as_str().expect("a name"))
            });
            [format!("{operation} on {place}")].into()
        }
    }
}

/// What the template lets each function do.
fn allowed() -> BTreeMap<String, Permissions> {
    let yaml: Value = serde_saphyr::from_str(TEMPLATE).expect("YAML");
    let resources = yaml["Resources"].as_object().expect("resources").values();
    let functions = resources.filter(|resource| resource["Type"] == "AWS::Serverless::Function").map(|resource| {
        let statements = resource["Properties"]["Policies"].as_array().into_iter().flatten();
        let statements = statements.flat_map(|policy| policy["Statement"].as_array().expect("statements"));
        let mut permissions = Permissions::new();
        for statement in statements {
            assert_eq!(statement["Effect"], "Allow");
            // The smoke test's, of its own secret: `smoke` shows that it is used.
            if statement["Action"] == json!(["secretsmanager:GetSecretValue"]) {
                assert_eq!(statement["Resource"], json!(["HasOwnPool", "SmokeTestSecret", "SmokeTestSecretArn"]));
                continue;
            }
            let place = match statement["Resource"].as_str().expect("one resource") {
                "Table.Arn" => "the table".to_owned(),
                index => format!("the index {}", index.strip_prefix("${Table.Arn}/index/").expect("an index of the table")),
            };
            let condition = match &statement["Condition"]["StringEquals"]["dynamodb:EnclosingOperation"] {
                Value::Null => "",
                enclosing => {
                    assert_eq!(enclosing, "TransactWriteItems");
                    ", in a transaction"
                }
            };
            for action in statement["Action"].as_array().expect("actions") {
                let action = action.as_str().and_then(|action| action.strip_prefix("dynamodb:")).expect("an action of DynamoDB");
                permissions.insert(format!("{action} on {place}{condition}"));
            }
        }
        let function = resource["Metadata"]["BuildProperties"]["Binary"].as_str().expect("a binary");
        (function.to_owned(), permissions)
    });
    functions.collect()
}

#[tokio::test]
async fn every_function_may_do_exactly_what_it_does() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let (template, table) = new_table(&recorder.endpoint).await;
    let api = Api::serve(&template, table.clone()).await;
    let mut used: BTreeMap<String, Permissions> =
        allowed().into_keys().map(|function| (function, Permissions::new())).collect();
    recorder.take();
    let mut note = |function: &str| {
        let sent = recorder.take();
        used.get_mut(function)
            .unwrap_or_else(|| panic!("no function {function}"))
            .extend(sent.iter().flat_map(needed));
    };

    let key = Uuid::new_v4().to_string();
    let ada = json!({ "first_name": "Ada" });
    let profile = api.post_with_key("/profiles", &key, &ada).await;
    api.post_with_key("/profiles", &key, &ada).await.with(201);
    note("create-profile");
    let (author_id, profile) =
        (profile.with(201)["id"].clone(), profile.header("location").to_owned());
    let opening = json!({ "subject": "s", "author_id": author_id });
    let conversation =
        api.post_with_key("/conversations", &Uuid::new_v4().to_string(), &opening).await;
    note("create-conversation");
    conversation.with(201);
    let conversation = conversation.header("location").to_owned();
    let messages = format!("{conversation}/messages");
    for _ in 0..10 {
        let body = json!({ "author_id": author_id, "text": "x" });
        let key = Uuid::new_v4().to_string();
        api.post_with_key(&messages, &key, &body).await.with(201);
        api.post_with_key(&messages, &key, &body).await.with(201);
    }
    note("create-message");
    for (function, path) in [
        ("list-profiles", "/profiles"),
        ("get-profile", &profile),
        ("list-conversations", "/conversations"),
        ("get-conversation", &conversation),
        ("list-messages", &messages),
        ("list-messages", &format!("{messages}?after=3")),
        ("get-message", &format!("{messages}/1")),
    ] {
        api.get(path).await.with(200);
        note(function);
    }
    for (function, path, change) in [
        ("update-profile", &profile, json!({ "job_title": "x" })),
        ("update-conversation", &conversation, json!({ "subject": "x" })),
        ("update-message", &format!("{messages}/1"), json!({ "text": "y" })),
    ] {
        api.patch(path, &change).await.with(200);
        api.patch(path, &json!({})).await.with(200);
        note(function);
    }
    for (function, path) in [
        ("delete-message", &format!("{messages}/1")),
        ("delete-conversation", &conversation),
        ("delete-profile", &profile),
    ] {
        api.delete(path).await.with(204);
        note(function);
    }

    // Conversations that were deleted long ago are removed with their messages.
    let (author, id) = api.profile_and_conversation().await;
    api.say(&id, &author, "x").await;
    api.delete(&format!("/conversations/{id}")).await.with(204);
    recorder.take();
    let later = table.clone().with_clock(|| shared::Time::now().after(Duration::from_secs(3600)));
    functions::jobs::purge_deleted(later.clone()).await.expect("purged");
    note("purge-deleted");
    assert_eq!(later.purge_deleted().await.expect("nothing left").removed, 0);

    for (function, allowed) in allowed() {
        assert_same(&format!("what {function} sends"), &used[&function], "template.yaml", &allowed);
    }
}

#[tokio::test]
async fn a_function_reads_before_its_first_request_where_it_may_and_nowhere_else() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let (_, table) = new_table(&recorder.endpoint).await;
    recorder.take();
    table.warm_up().await;
    let read: Permissions = recorder.take().iter().flat_map(needed).collect();
    assert_eq!(read, ["BatchGetItem on the table".to_owned()].into());
    let allowed = allowed();
    for operation in functions::operations::ALL {
        let function = operation.function();
        let main = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../functions/src/bin/{function}.rs"));
        let main = fs::read_to_string(main).expect("a binary");
        assert_eq!(
            main.contains("runtime::serve(&"),
            allowed[&function].is_superset(&read),
            "{function}: how it is run, and what it may do"
        );
    }
}
