//! The page on a desktop.

use fantoccini::key::Key;
use tests::service::{Api, json};

use crate::driver::{Browser, DESKTOP, click_tool};

/// Creates a profile and a conversation with ten messages through the API, and opens it.
async fn open_conversation(api: &Api) -> Browser {
    let profile =
        json!({ "first_name": "Ada", "last_name": "Lovelace", "job_title": "Mathematician" });
    let profile = api.post("/profiles", &profile).await.expect(201);
    let author_id = profile["id"].as_str().expect("an id");
    let conversation = json!({ "subject": "Analytical engines", "author_id": author_id });
    let conversation = api.post("/conversations", &conversation).await.expect(201);
    let id = conversation["id"].as_str().expect("an id");
    for number in 1..=10 {
        api.say(id, author_id, &format!("Message {number}")).await;
    }
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.find("#messages [data-seq=\"11\"]").await;
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posting_ten_messages_shows_a_congratulation() {
    let api = Api::start_live().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.fill("#new-first-name", "Ada").await;
    browser.fill("#new-last-name", "Lovelace").await;
    browser.fill("#new-job-title", "Mathematician").await;
    browser.click("#new-profile button.primary").await;
    browser.wait_for_text("#acting-as option:checked", "Ada").await;
    browser.fill("#new-subject", "Analytical engines").await;
    browser.click("#new-conversation button.primary").await;
    browser.wait_for_text("#conversation-title", "Analytical engines").await;
    for number in 1..=10 {
        let text = format!("Message {number}{}", char::from(Key::Enter));
        browser.wait_for("!document.querySelector('#composer-text').readOnly").await;
        browser.fill("#composer-text", &text).await;
        browser.find(&format!("#messages [data-seq=\"{number}\"]")).await;
    }
    let congratulation = "#messages .congratulation[data-seq=\"11\"]";
    let text = "Congratulations Ada, you have reached 10 points!";
    browser.wait_for_text(congratulation, text).await;
    browser.wait_for_text("#profiles .count", "10 points").await;
    browser.picture("conversation").await;
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markup_in_a_message_is_shown_as_text() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let text = "<img src=x onerror=\"document.title = 'executed'\">";
    api.say(&id, &author_id, text).await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.wait_for_text("#messages [data-seq=\"1\"] .text", text).await;
    assert_eq!(browser.eval("document.querySelectorAll('#messages img').length").await, json!(0));
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_can_be_edited_and_deleted() {
    let api = Api::start_live().await;
    let browser = open_conversation(&api).await;
    click_tool(&browser, 1, "edit").await;
    browser.fill("#edit-text", "The first message").await;
    browser.click("#edit-message button.primary").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "The first message").await;
    browser.wait_for_text("[data-seq=\"1\"] .change", "Edited").await;
    click_tool(&browser, 2, "delete").await;
    browser.click("#confirm button.danger").await;
    browser.wait_for_text("[data-seq=\"2\"] .change", "This message was deleted").await;
    let text = browser.eval("document.querySelector('[data-seq=\"2\"]').textContent").await;
    assert!(!text.to_string().contains("Message 2"), "{text}");
    browser.eval("document.querySelector('[data-seq=\"1\"]').scrollIntoView()").await;
    browser.picture("edited-and-deleted").await;
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buttons_that_delete_say_what_they_delete() {
    let api = Api::start_live().await;
    let browser = open_conversation(&api).await;
    for (button, name) in [
        ("#conversation-delete", "Delete conversation"),
        ("[data-seq=\"1\"] [data-action=delete]", "Delete message 1"),
        ("[data-seq=\"2\"] [data-action=delete]", "Delete message 2"),
    ] {
        assert_eq!(browser.accessible_name(button).await, name);
    }
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_shown_next_to_its_field() {
    let api = Api::start_live().await;
    let browser = open_conversation(&api).await;
    browser.fill("#new-first-name", "   ").await;
    browser.click("#new-profile button.primary").await;
    browser.wait_for("document.querySelector('#new-first-name-error').textContent !== ''").await;
    let invalid = "document.querySelector('#new-first-name').getAttribute('aria-invalid')";
    assert_eq!(browser.eval(invalid).await, json!("true"));
    browser.wait_for_text("#new-profile [data-error-for=form]", "Correct the marked fields.").await;
    browser.picture("error").await;
    browser.close("422").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrolling_up_loads_every_message_once() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for number in 1..=200 {
        api.say(&id, &author_id, &format!("Message {number}")).await;
    }
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.find("#messages [data-seq=\"220\"]").await;
    browser.picture("history").await;
    let scroll = "document.querySelector('#messages-scroll').scrollTop = 0";
    let is_at_start = "document.querySelector('#messages [data-seq=\"1\"]') !== null";
    browser.wait_for(&format!("({scroll}, {is_at_start})")).await;
    let seqs = "[...document.querySelectorAll('#messages [data-seq]')].map(m => +m.dataset.seq)";
    assert_eq!(browser.eval(seqs).await, json!((1..=220).collect::<Vec<u32>>()), "in order");
    browser.close("").await;
}
