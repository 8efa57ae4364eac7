//! The smoke test finds a service that works, and one that does not.

use functions::smoke::{Report, run};
use local::template::{TEMPLATE, Template};
use shared::Table;
use tokio::task::spawn_blocking;

use crate::support::{Api, Value, engine_endpoint, json};

async fn walk(api: &Api) -> Report {
    let url = api.url().to_owned();
    spawn_blocking(move || run(&url, |_| {})).await.expect("a report")
}

#[tokio::test]
async fn the_smoke_test_passes_on_a_service_that_works_and_leaves_nothing_behind() {
    let api = Api::start().await;
    let report = walk(&api).await;
    assert_eq!(report.failure, None);
    let mut names: Vec<&str> = report.steps.iter().map(|step| step.name).collect();
    names.dedup();
    let expected = [
        "create-profile",
        "create-conversation",
        "create-message",
        "congratulation",
        "replay",
        "list-messages",
        "update-message",
        "get-profile",
        "delete-conversation",
        "delete-profile",
    ];
    assert_eq!(names, expected);
    let metrics: Value = serde_json::from_str(&report.to_metrics("chat")).expect("one line of JSON");
    assert_eq!((&metrics["Passed"], &metrics["Stack"]), (&json!(1), &json!("chat")));
    let declared = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("metrics");
    assert!(declared.iter().all(|metric| metrics[metric["Name"].as_str().expect("a name")].is_number()), "{metrics}");
}

#[tokio::test]
async fn the_smoke_test_names_the_step_that_fails_and_cleans_up_all_the_same() {
    let mut template = Template::parse(TEMPLATE).expect("the template");
    template.routes.retain(|route| route.function != "update-message");
    let table = Table::at(&engine_endpoint().await, &format!("test-{}", uuid::Uuid::new_v4()));
    table.create(&template.table).await.expect("a table");
    let api = Api::serve(&template, table).await;
    let report = walk(&api).await;
    assert_eq!(report.failure.as_deref(), Some("update-message: answered 404 Not Found"));
    assert_eq!(api.get("/profiles").await.with(200)["results"], json!([]));
    assert_eq!(api.get("/conversations").await.with(200)["results"], json!([]));
    let metrics: Value = serde_json::from_str(&report.to_metrics("chat")).expect("one line of JSON");
    assert_eq!(metrics["Passed"], 0);

    let nobody = walk(&Api::at("http://127.0.0.1:1")).await;
    assert!(nobody.failure.is_some_and(|failure| failure.starts_with("create-profile: ")));
}
