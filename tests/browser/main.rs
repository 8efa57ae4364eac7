//! The web page and the API reference in a real browser.
//!
//! Needs Chromium and its driver (Debian's `chromium` and `chromium-driver`):
//! `cargo test -p tests --features browser --test browser`. With `PICTURES` set, the tests save
//! screenshots in `docs/pictures`.
//!
//! - `driver`: starts and drives the browser
//! - `page`: profiles, conversations and messages on a desktop
//! - `following`: what other clients change appears, on a service without live delivery
//! - `live`: live delivery, and the fallback to polling
//! - `changing`: edits of what another client has changed, and posts that must wait
//! - `restart`: the service is restarted
//! - `inbox`: members, private conversations and unread counts
//! - `layout`: long names and words on every width, and touch screens
//! - `problems`: failures, as the page shows them
//! - `hostile`: pages of other origins, which must not reach the development server's ports

mod changing;
mod driver;
mod following;
mod hostile;
mod inbox;
mod layout;
mod live;
mod page;
mod problems;
mod restart;

use std::sync::Arc;
use std::time::Duration;

use local::authorizer::Authorizer;
use tests::service::{Api, embedded_engine, json, new_table};

use crate::driver::{Browser, DESKTOP};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_can_be_tried_in_the_reference() {
    let api = Api::start_isolated().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to("/docs").await;
    browser.click("[id$=\"list_profiles\"] .opblock-summary-control").await;
    browser.click("[id$=\"list_profiles\"] .execute").await;
    let status = "[id$=\"list_profiles\"] .live-responses-table .response .response-col_status";
    browser.wait_for_text(status, "200").await;
    browser.eval("document.querySelector('[id$=\"list_profiles\"]').scrollIntoView()").await;
    browser.picture("reference").await;
    browser.close("").await;
}

/// Whether the page says that authentication is off.
const IS_MARKED_OPEN: &str = "document.querySelector('#open-service').checkVisibility()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_banner_says_that_authentication_is_off() {
    let api = Api::start_isolated().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.find_visible("#open-service").await;
    browser.wait_for_text("#open-service", "Authentication is off").await;
    // A token that nobody checks does not change that.
    browser.click("#access").await;
    browser.fill("#token", "token").await;
    browser.click("#token-form button.primary").await;
    browser.wait_for_text("#access-state", ", set").await;
    assert_eq!(browser.eval(IS_MARKED_OPEN).await, json!(true));
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_gives_access_to_a_service_with_authentication() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let (template, table) = new_table(&embedded_engine().await).await;
    let api = Api::serve_authenticated(authorizer.clone(), &template, table).await;
    let token = |lifetime| {
        authorizer
            .token("ada", "chat/read chat/write", Duration::from_secs(lifetime))
            .expect("a token")
    };
    let browser = Browser::open(api.url(), DESKTOP).await;
    let notice = "#conversations-panel .notice";
    browser.wait_for_text(notice, "needs an access token").await;
    let hints = [
        ("#new-conversation", "Creating a conversation needs an access token."),
        ("#new-profile", "Creating a profile needs an access token."),
    ];
    for (form, hint) in hints {
        let place = format!("{form} .needs-token");
        browser.find_visible(&place).await;
        browser.wait_for_text(&place, hint).await;
    }
    browser.click("#new-profile .needs-token button").await;
    browser.find_visible("#token").await;
    browser.click("#access").await;
    assert_eq!(browser.eval(IS_MARKED_OPEN).await, json!(false));
    for (lifetime, expected) in [(0, "was refused"), (60, "No conversations yet")] {
        browser.click("#access").await;
        browser.fill("#token", &token(lifetime)).await;
        browser.click("#token-form button.primary").await;
        browser.wait_for_text(notice, expected).await;
        for (form, _) in hints {
            browser.find(&format!("{form} .needs-token[hidden]")).await;
        }
    }
    browser.fill("#new-first-name", "Ada").await;
    browser.click("#new-profile button.primary").await;
    browser.wait_for_text("#profiles .name", "Ada").await;
    let text = browser.eval("document.body.textContent").await.to_string();
    assert!(text.contains("Bearer $TOKEN") && !text.contains("eyJ"), "the token is never shown");
    browser.close("401").await;
}
