//! Edits and deletions of what another client has changed meanwhile, and posts that must wait.

use tests::service::{Api, json};

use crate::driver::{Browser, DESKTOP, click_tool};

const CHANGED: &str = "This was changed meanwhile.";

async fn open_conversation(api: &Api, id: &str) -> Browser {
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.wait_for_text("#connection", "Live").await;
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_a_message_that_was_changed_meanwhile_keeps_the_text() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "One").await;
    let path = format!("/conversations/{id}/messages/1");
    let browser = open_conversation(&api, &id).await;
    click_tool(&browser, 1, "edit").await;
    browser.fill("#edit-text", "Mine").await;
    let other = json!({ "text": "Another one's", "metadata": { "mood": "sunny" } });
    api.patch(&path, &other).await.expect(200);
    browser.click("#edit-message button.primary").await;
    browser.wait_for_text("#edit-message [data-error-for=form]", CHANGED).await;
    browser.wait_for_text("#edit-text-error", "Is now “Another one's”.").await;
    let value = |field: &str| format!("document.querySelector('#{field}').value");
    assert_eq!(browser.eval(&value("edit-text")).await, json!("Mine"));
    let metadata = browser.eval(&value("edit-metadata")).await;
    assert_eq!(metadata, json!("{\n  \"mood\": \"sunny\"\n}"), "an untouched field is updated");
    assert_eq!(api.get(&path).await.expect(200)["text"], "Another one's");

    browser.click("#edit-message button.primary").await;
    browser.wait_for("!document.querySelector('#edit-message-dialog').open").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "Mine").await;
    let message = api.get(&path).await.expect(200);
    assert_eq!((&message["text"], &message["metadata"]["mood"]), (&json!("Mine"), &json!("sunny")));
    browser.close("412").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_was_changed_meanwhile_is_deleted_only_after_a_second_question() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "One").await;
    let path = format!("/conversations/{id}/messages/1");
    let browser = open_conversation(&api, &id).await;
    click_tool(&browser, 1, "delete").await;
    api.patch(&path, &json!({ "text": "Another one's" })).await.expect(200);
    browser.click("#confirm button.danger").await;
    browser.wait_for_text("#confirm [data-error-for=form]", CHANGED).await;
    browser.wait_for_text("#confirm [data-error-for=form]", "It is now “Another one's”.").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "Another one's").await;
    assert_eq!(api.get(&path).await.expect(200)["deleted_at"], json!(null));
    browser.click("#confirm button.danger").await;
    browser.wait_for_text("[data-seq=\"1\"] .change", "This message was deleted").await;
    browser.close("412").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_and_a_name_that_were_changed_meanwhile_are_kept() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = open_conversation(&api, &id).await;
    browser.click("#conversation-edit").await;
    browser.fill("#edit-subject", "My subject").await;
    let other = json!({ "subject": "Another subject" });
    api.patch(&format!("/conversations/{id}"), &other).await.expect(200);
    browser.click("#edit-conversation button.primary").await;
    browser.wait_for_text("#edit-conversation [data-error-for=form]", CHANGED).await;
    browser.wait_for_text("#edit-subject-error", "Is now “Another subject”.").await;
    browser.wait_for_text("#conversation-title", "Another subject").await;
    browser.click("#edit-conversation button.primary").await;
    browser.wait_for_text("#conversation-title", "My subject").await;

    browser.go_to(&format!("/#/profiles/{author_id}")).await;
    browser.click("#profile-edit").await;
    browser.fill("#edit-first-name", "Augusta").await;
    let other = json!({ "first_name": "Adah", "job_title": "Mathematician" });
    api.patch(&format!("/profiles/{author_id}"), &other).await.expect(200);
    browser.click("#edit-profile button.primary").await;
    browser.wait_for_text("#edit-first-name-error", "Is now “Adah”.").await;
    browser.click("#edit-profile button.primary").await;
    browser.wait_for_text("#profile-title", "Augusta").await;
    browser.wait_for_text("#profile-job", "Mathematician").await;
    browser.close("412").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_whose_response_was_lost_is_saved() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    api.say(&id, &author_id, "One").await;
    let browser = open_conversation(&api, &id).await;
    let lose_first_response = "(() => {
        const fetch = window.fetch;
        window.patches = 0;
        window.fetch = async (path, options) => {
            const response = await fetch(path, options);
            if (options.method !== 'PATCH') return response;
            window.patches += 1;
            if (window.patches === 1) throw new TypeError('Failed to fetch');
            return response;
        };
    })()";
    browser.eval(lose_first_response).await;
    click_tool(&browser, 1, "edit").await;
    browser.fill("#edit-text", "Two").await;
    browser.click("#edit-message button.primary").await;
    browser.wait_for("!document.querySelector('#edit-message-dialog').open").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "Two").await;
    assert_eq!(browser.eval("window.patches").await, json!(2));
    browser.close("412").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edited_metadata_is_stored_as_it_is_in_the_form() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let metadata = json!({ "a": 1, "b": { "c": 2, "d": [3] }, "e": null });
    let body = json!({ "author_id": author_id, "text": "One", "metadata": metadata });
    api.post(&format!("/conversations/{id}/messages"), &body).await.expect(201);
    let browser = open_conversation(&api, &id).await;
    let is_closed = "!document.querySelector('#edit-message-dialog').open";
    for text in ["{\"b\": {\"d\": [null], \"f\": {}}, \"e\": null}", "{\"b\": 1}", ""] {
        click_tool(&browser, 1, "edit").await;
        browser.fill("#edit-metadata", text).await;
        browser.click("#edit-message button.primary").await;
        browser.wait_for(is_closed).await;
        let message = api.get(&format!("/conversations/{id}/messages/1")).await.expect(200);
        let expected: tests::service::Value =
            serde_json::from_str(if text.is_empty() { "{}" } else { text }).expect("JSON");
        assert_eq!(message["metadata"], expected);
        browser
            .wait_for(&format!(
                "document.querySelector('[data-seq=\"1\"] .metadata').hidden === {}",
                text.is_empty()
            ))
            .await;
    }
    click_tool(&browser, 1, "edit").await;
    browser.fill("#edit-metadata", "{\"a\": null}").await;
    browser.click("#edit-message button.primary").await;
    browser.wait_for_text("#edit-metadata-error", "Cannot set “a” to null").await;
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_post_waits_and_is_sent_again_with_the_same_key() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/profiles/{author_id}")).await;
    browser.click("#profile-act").await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    let throttle = "(() => {
        const fetch = window.fetch;
        Object.assign(window, { keys: [], codes: ['rate_limited', 'conversation_busy'] });
        window.fetch = async (path, options) => {
            if (options.method !== 'POST') return fetch(path, options);
            window.keys.push(options.headers['Idempotency-Key']);
            const code = window.codes.shift();
            if (!code) return fetch(path, options);
            const headers = { 'Retry-After': '1' };
            return new Response(JSON.stringify({ code }), { status: 429, headers });
        };
    })()";
    browser.wait_for_text("#connection", "Live").await;
    browser.eval(throttle).await;
    browser.fill("#composer-text", "One").await;
    browser.click("#composer button.primary").await;
    let place = "#composer [data-error-for=form]";
    browser.wait_for_text(place, "posts faster than the service allows. Sending again in").await;
    browser.wait_for_text(place, "receives too many messages at the moment. Sending again").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "One").await;
    browser.wait_for("document.querySelector('#composer-text').value === ''").await;
    assert_eq!(browser.eval("window.keys.length").await, json!(3));
    assert_eq!(browser.eval("new Set(window.keys).size").await, json!(1), "the same request");
    browser.close("").await;
}
