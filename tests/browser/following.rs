//! Following a conversation by polling: the changes of other clients appear without a reload.

use std::ops::RangeInclusive;

use tests::recorder::{Fault, Recorder};
use tests::service::{Api, Setup, embedded_engine, json};

use crate::driver::{Browser, DESKTOP, click_tool, element_text};

/// Counts the polls in `window.polls`, and the responses that load the conversation in
/// `window.loads`. Holds the responses of older pages, and of edits if `window.holdsPatch` is set,
/// until `window.release` is called.
const COUNT_POLLS: &str = "(() => {
    const fetch = window.fetch;
    Object.assign(window, { polls: 0, loads: 0, pollsAtNews: undefined, holds: 0 });
    window.fetch = async (path, options) => {
        if (path.includes('/changes?')) window.polls += 1;
        const response = await fetch(path, options);
        if (/^.conversations.[^/?]*$/.test(path)) window.loads += 1;
        if (path.includes('/changes?') && window.cursorUnknown) {
            window.cursorUnknown = false;
            return new Response('{\"code\": \"cursor_unknown\"}', { status: 410 });
        }
        if (path.includes('/changes?') && (await response.clone().json()).results.length > 0) {
            window.pollsAtNews = window.polls;
        }
        if (path.includes('before=') || options.method === 'PATCH' && window.holdsPatch) {
            window.holds += 1;
            await new Promise((resolve) => (window.release = resolve));
        }
        return response;
    };
})()";

/// The numbers of the messages on the page.
const SEQS: &str =
    "[...document.querySelectorAll('#messages [data-seq]')].map(m => +m.dataset.seq)";

/// Asserts that an expression becomes true with the next poll at the latest, without a reload.
async fn appears_within_one_poll(browser: &Browser, expression: &str) {
    let watch = format!(
        "(() => {{
            Object.assign(window, {{ polls: 0, shownAfter: undefined }});
            const check = () => {{
                if (({expression}) && window.shownAfter === undefined) {{
                    window.shownAfter = window.polls;
                }}
            }};
            const everything = {{ subtree: true, childList: true, characterData: true }};
            new MutationObserver(check).observe(document, everything);
            check();
        }})()"
    );
    browser.eval(&watch).await;
    browser.wait_for("window.shownAfter !== undefined").await;
    assert!(browser.eval("window.shownAfter").await.as_u64() <= Some(1), "{expression}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_browser_changes_appears_in_another_one() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for text in ["One", "Two", "Three"] {
        api.say(&id, &author_id, text).await;
    }
    let (ada, charles) =
        (Browser::open(api.url(), DESKTOP).await, Browser::open(api.url(), DESKTOP).await);
    for browser in [&ada, &charles] {
        browser.go_to(&format!("/#/conversations/{id}")).await;
        browser.find("[data-seq=\"3\"]").await;
    }
    charles.eval(COUNT_POLLS).await;

    click_tool(&ada, 1, "edit").await;
    ada.fill("#edit-text", "The first message").await;
    ada.click("#edit-message button.primary").await;
    ada.wait_for_text("[data-seq=\"1\"] .change", "Edited").await;
    let edited = format!("{} === 'The first message'", element_text("[data-seq=\"1\"] .text"));
    appears_within_one_poll(&charles, &edited).await;

    click_tool(&ada, 2, "delete").await;
    ada.click("#confirm button.danger").await;
    ada.wait_for_text("[data-seq=\"2\"] .change", "This message was deleted").await;
    let deleted =
        format!("{}?.includes('was deleted')", element_text("[data-seq=\"2\"].deleted .change"));
    appears_within_one_poll(&charles, &deleted).await;

    ada.click("#conversation-edit").await;
    ada.fill("#edit-subject", "Difference engines").await;
    ada.click("#edit-conversation button.primary").await;
    ada.wait_for_text("#conversation-title", "Difference engines").await;
    let renamed = format!("{} === 'Difference engines'", element_text("#conversation-title"));
    appears_within_one_poll(&charles, &renamed).await;
    charles.wait_for_text("#conversations .name", "Difference engines").await;

    api.say(&id, &author_id, "Four").await;
    let posted = format!("{} === 'Four'", element_text("[data-seq=\"4\"] .text"));
    appears_within_one_poll(&charles, &posted).await;
    for browser in [ada, charles] {
        browser.close("").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_deleted_by_another_client_loses_its_composer_and_says_so() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "One").await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.fill("#composer-text", "A draft").await;
    api.delete(&format!("/conversations/{id}")).await.expect_status(204);
    browser.wait_for_text("#connection", "Deleted").await;
    let is_visible = |css: &str| format!("document.querySelector('{css}').checkVisibility()");
    for css in ["#composer", "#conversation-edit", "#conversation-delete", "#messages button"] {
        assert_eq!(browser.eval(&is_visible(css)).await, json!(false), "{css}");
    }
    for css in ["#gone", "#unposted", "[data-seq=\"1\"] .text"] {
        assert_eq!(browser.eval(&is_visible(css)).await, json!(true), "{css}");
    }
    browser.wait_for_text("#gone", "This conversation was deleted").await;
    browser.wait_for_text("#unposted-text", "A draft").await;
    browser.wait_for_text("#conversations-panel .notice", "No conversations yet").await;
    browser.close("404").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_outlives_an_older_page_that_was_read_before_it() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for number in 1..=100 {
        api.say(&id, &author_id, &format!("Message {number}\n\nof three lines")).await;
    }
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.find("[data-seq=\"110\"]").await;
    browser.eval(COUNT_POLLS).await;
    browser.eval("document.querySelector('#messages-scroll').scrollTop = 0").await;
    browser.wait_for("window.holds === 1").await;
    let edit = json!({ "text": "Edited" });
    api.patch(&format!("/conversations/{id}/messages/40"), &edit).await.expect(200);
    // The poll after the one that returned the edit: the page has taken the edit.
    browser.wait_for("window.polls > window.pollsAtNews").await;
    browser.eval("window.release()").await;
    browser.wait_for_text("[data-seq=\"40\"] .text", "Edited").await;
    browser.wait_for_text("[data-seq=\"41\"] .text", "Message").await;
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_response_does_not_undo_a_newer_edit() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "One").await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    click_tool(&browser, 1, "edit").await;
    browser.fill("#edit-text", "Mine").await;
    browser.eval(COUNT_POLLS).await;
    browser.eval("window.holdsPatch = true").await;
    browser.click("#edit-message button.primary").await;
    browser.wait_for("window.holds === 1").await;
    let edit = json!({ "text": "Another one's" });
    api.patch(&format!("/conversations/{id}/messages/1"), &edit).await.expect(200);
    browser.wait_for_text("[data-seq=\"1\"] .text", "Another one's").await;
    browser.eval("window.release()").await;
    browser.wait_for("!document.querySelector('#edit-message-dialog').open").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "Another one's").await;
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_do_not_replace_the_users_own_request() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "One").await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.find("[data-seq=\"1\"]").await;
    browser.eval(COUNT_POLLS).await;
    let line = "#conversation-view .request .line";
    for (action, form, method) in
        [("edit", "edit-message", "PATCH"), ("delete", "confirm", "DELETE")]
    {
        click_tool(&browser, 1, action).await;
        if action == "edit" {
            browser.fill("#edit-text", "Two").await;
        }
        browser.eval("window.pollsAtNews = undefined").await;
        browser.click(&format!("#{form} .actions button:last-child")).await;
        browser.wait_for("window.polls > window.pollsAtNews").await;
        let shown = browser.eval(&element_text(line)).await;
        assert!(shown.as_str().is_some_and(|shown| shown.starts_with(method)), "{shown}");
    }
    api.say(&id, &author_id, "Three").await;
    browser.wait_for_text(line, "GET").await;
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_cursor_loads_the_conversation_again_and_keeps_the_draft() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "One").await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.fill("#composer-text", "A draft").await;
    browser.eval(COUNT_POLLS).await;
    browser.eval("window.cursorUnknown = true").await;
    browser.wait_for("window.loads === 1").await;
    api.say(&id, &author_id, "Two").await;
    browser.wait_for_text("[data-seq=\"2\"] .text", "Two").await;
    assert_eq!(browser.eval(SEQS).await, json!([1, 2]));
    let draft = browser.eval("document.querySelector('#composer-text').value").await;
    assert_eq!(draft, json!("A draft"));
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_never_completed_is_not_shown() {
    let recorder = Recorder::start(embedded_engine().await).await;
    let api = Setup::new().engine(&recorder.endpoint).start().await.api;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.wait_for_text("#conversation-view .notice", "No messages yet").await;
    recorder.inject(|operation, _| match operation {
        "TransactWriteItems" => Fault::Refused("ThrottlingException"),
        _ => Fault::None,
    });
    let body = json!({ "author_id": author_id, "text": "Never stored" });
    let path = format!("/conversations/{id}/messages");
    api.post(&path, &body).await.expect_code(503, "unavailable");
    recorder.clear();
    api.say(&id, &author_id, "Stored").await;
    browser.wait_for_text("[data-seq=\"2\"] .text", "Stored").await;
    assert_eq!(api.messages(&id).await[0]["type"], "void");
    assert_eq!(browser.eval(SEQS).await, json!([2]), "followed");
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.find("[data-seq=\"2\"]").await;
    assert_eq!(browser.eval(SEQS).await, json!([2]), "loaded");
    browser.close("").await;
}

/// Records the delays of timers in `window.delays`, and shortens them while `window.hurries` is
/// set, except those of the live connection. Shows the page a time that is `window.passed` milliseconds later. Lets `window.setHidden`
/// hide it.
const CONTROL_TIME: &str = "(() => {
    const { setTimeout } = window;
    const { now } = Date;
    Object.assign(window, { delays: [], passed: 0, hurries: false, isHidden: false });
    window.setTimeout = (action, delay) => {
        if (new Error().stack.includes('live.js')) return setTimeout(action, delay);
        window.delays.push(delay);
        return setTimeout(action, window.hurries ? Math.min(delay, 50) : delay);
    };
    Date.now = () => now() + window.passed;
    Object.defineProperty(document, 'hidden', { get: () => window.isHidden });
    window.setHidden = (isHidden) => {
        window.isHidden = isHidden;
        document.dispatchEvent(new Event('visibilitychange'));
    };
})()";

/// Runs an expression in the page, and waits until the page waits for a time in this range, in
/// milliseconds.
async fn waits_after(browser: &Browser, expression: &str, delay: RangeInclusive<u32>) {
    let (min, max) = (delay.start(), delay.end());
    browser.eval(&format!("(window.delays = [], {expression})")).await;
    let found = format!("window.delays.some((delay) => delay >= {min} && delay <= {max})");
    browser.wait_for(&found).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_page_polls_slowly_and_catches_up_when_it_is_shown() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.wait_for_text("#connection", "Polling").await;
    browser.eval(CONTROL_TIME).await;
    waits_after(&browser, "window.setHidden(true)", 25_000..=30_000).await;
    for number in 1..=60 {
        api.say(&id, &author_id, &format!("Message {number}")).await;
    }
    browser.eval("(window.delays = [], window.setHidden(false))").await;
    browser.find("[data-seq=\"66\"]").await;
    assert_eq!(browser.eval(SEQS).await, json!((1..=66).collect::<Vec<u32>>()), "two pages");
    let longest = browser.eval("Math.max(0, ...window.delays)").await;
    assert!(longest.as_f64() <= Some(2000.0), "{longest} ms");
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_page_polls_less_and_less_until_there_is_input_or_news() {
    let api = Api::start_isolated().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.wait_for_text("#connection", "Polling").await;
    browser.eval(CONTROL_TIME).await;
    let (news, input) = ("window.passed += 30_000", "window.dispatchEvent(new Event('keydown'))");
    for (seq, cause) in [(1, news), (2, input)] {
        waits_after(&browser, "(hurries = true, passed += 60_000)", 5_000..=9_000).await;
        waits_after(&browser, "passed += 600_000", 29_000..=30_000).await;
        api.say(&id, &author_id, "News").await;
        if cause == input {
            // From now on, only the input can end the wait.
            waits_after(&browser, "hurries = false", 29_000..=30_000).await;
        }
        browser.eval(&format!("(window.delays = [], {cause})")).await;
        browser.find(&format!("[data-seq=\"{seq}\"]")).await;
        waits_after(&browser, "true", 1..=2_000).await;
        let longest = browser.eval("Math.max(...window.delays)").await;
        assert!(longest.as_f64() <= Some(2000.0), "{longest} ms after {cause}");
    }
    browser.close("").await;
}
