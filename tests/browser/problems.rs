//! Failures, as the page shows them. A replacement of `fetch` fails on demand.

use tests::service::{Api, Value, json};

use crate::driver::{Browser, DESKTOP};

/// Makes every request fail with these problem details, and records the idempotency keys.
async fn fail_with(browser: &Browser, status: u16, problem: &Value) {
    let replace = format!(
        "(window.keys = [], window.fetch = async (path, {{ headers }}) => {{
            window.keys.push(headers['Idempotency-Key']);
            return new Response({}, {{ status: {status} }});
        }}, true)",
        json!(problem.to_string())
    );
    browser.eval(&replace).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_the_service_shows_its_request_id() {
    let api = Api::start_isolated().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.wait_for_text("#conversations-panel .notice", "No conversations yet").await;
    let problem = json!({ "code": "internal", "detail": "…", "request_id": "4711" });
    fail_with(&browser, 500, &problem).await;
    browser.click("#conversations-panel [data-action=refresh]").await;
    let expected = "The service has failed. Request id: 4711.";
    browser.wait_for_text("#conversations-panel .notice", expected).await;
    assert_eq!(browser.eval("window.keys.length").await, json!(1), "a bug is not retried");
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reused_idempotency_key_is_replaced() {
    let api = Api::start_isolated().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.wait_for_text("#profiles-panel .notice", "No profiles yet").await;
    let problem = json!({ "code": "idempotency_key_reused", "detail": "…", "request_id": "1" });
    fail_with(&browser, 422, &problem).await;
    browser.fill("#new-first-name", "Ada").await;
    for count in 1..=2 {
        browser.click("#new-profile button.primary").await;
        browser.wait_for(&format!("window.keys.length === {count}")).await;
        let expected = "This was sent before with other content.";
        browser.wait_for_text("#new-profile [data-error-for=form]", expected).await;
    }
    assert_eq!(browser.eval("new Set(window.keys).size").await, json!(2), "each has its own key");
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_field_keeps_the_idempotency_key() {
    let api = Api::start_isolated().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.wait_for_text("#profiles-panel .notice", "No profiles yet").await;
    let errors = json!({ "first_name": ["is too odd"], "age": ["is missing"] });
    let problem = json!({ "code": "invalid", "detail": "…", "errors": errors });
    fail_with(&browser, 422, &problem).await;
    browser.fill("#new-first-name", "Ada").await;
    for count in 1..=2 {
        browser.click("#new-profile button.primary").await;
        browser.wait_for(&format!("window.keys.length === {count}")).await;
        browser.wait_for_text("#new-first-name-error", "Is too odd.").await;
    }
    let general = "#new-profile [data-error-for=form]";
    browser.wait_for_text(general, "Correct the marked fields. age: Is missing.").await;
    assert_eq!(browser.eval("new Set(window.keys).size").await, json!(1), "the same request");
    browser.close("").await;
}
