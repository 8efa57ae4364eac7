//! Members, private conversations and the inbox, with several people on a service with
//! authentication.

use std::sync::Arc;
use std::time::Duration;

use local::authorizer::Authorizer;
use tests::service::{Api, Setup, Value, json};
use tokio::time::timeout;

use crate::driver::{Browser, DESKTOP, PHONE, Screen, TIMEOUT, click_tool, element_text};

/// A service that requires tokens.
struct Service {
    api: Api,
    authorizer: Arc<Authorizer>,
}

/// A user of the service, with one profile.
struct Person {
    token: String,
    authorization: String,
    profile_id: String,
}

impl Service {
    async fn start() -> Self {
        let authorizer = Arc::new(Authorizer::generate().expect("a key"));
        let api = Setup::new().authorizer(authorizer.clone()).start().await.api;
        Self { api, authorizer }
    }

    /// Creates a person with a profile of this name.
    async fn person(&self, name: &str) -> Person {
        let token = self
            .authorizer
            .token(name, "chat/read chat/write", Duration::from_secs(3600))
            .expect("a token");
        let authorization = format!("Bearer {token}");
        let mut person = Person { token, authorization, profile_id: String::new() };
        let profile = json!({ "first_name": name });
        let profile = self.send(&person, "POST", "/profiles", &profile).await;
        profile["id"].as_str().expect("an id").clone_into(&mut person.profile_id);
        person
    }

    /// Sends a request of a person. Returns the body of the successful response.
    async fn send(&self, person: &Person, method: &str, path: &str, body: &Value) -> Value {
        let headers =
            [("authorization", &*person.authorization), ("content-type", "application/json")];
        let response = self.api.send(method, path, &headers, body.to_string()).await;
        assert!(response.status.is_success(), "{method} {path}: {}", response.text);
        serde_json::from_str(&response.text).unwrap_or_default()
    }

    /// Creates a conversation of a person. Returns its id.
    async fn conversation(&self, person: &Person, subject: &str, visibility: &str) -> String {
        let body = json!({
            "subject": subject, "author_id": person.profile_id, "visibility": visibility,
        });
        let conversation = self.send(person, "POST", "/conversations", &body).await;
        conversation["id"].as_str().expect("an id").to_owned()
    }

    async fn say(&self, person: &Person, id: &str, text: &str) {
        let body = json!({ "author_id": person.profile_id, "text": text });
        self.send(person, "POST", &format!("/conversations/{id}/messages"), &body).await;
    }

    async fn add(&self, moderator: &Person, id: &str, person: &Person) {
        let path = format!("/conversations/{id}/members/{}", person.profile_id);
        self.send(moderator, "PUT", &path, &json!({})).await;
    }

    /// Waits until the inbox of a person counts no unread messages in a conversation.
    async fn wait_until_read(&self, person: &Person, id: &str) {
        let path = format!("/profiles/{}/conversations", person.profile_id);
        let is_read = async || {
            let inbox = self.send(person, "GET", &path, &json!(null)).await;
            let results = inbox["results"].as_array().expect("results").clone();
            let entry = results.into_iter().find(|entry| entry["conversation_id"] == id);
            entry.expect("an entry")["unread"] == 0
        };
        let wait = async { while !is_read().await {} };
        assert!(timeout(TIMEOUT, wait).await.is_ok(), "not read within {TIMEOUT:?}");
    }

    /// Opens the page with the token of a person.
    async fn browser(&self, person: &Person, screen: Screen) -> Browser {
        let browser = Browser::open(self.api.url(), screen).await;
        Self::sign_in(&browser, person).await;
        browser
    }

    /// Enters the token of a person, and waits until the page acts as the person's profile.
    async fn sign_in(browser: &Browser, person: &Person) {
        browser.click("#access").await;
        browser.fill("#token", &person.token).await;
        browser.click("#token-form button.primary").await;
        let acting =
            format!("document.querySelector('#acting-as').value === '{}'", person.profile_id);
        browser.wait_for(&acting).await;
    }
}

/// The subjects in the inbox, from top to bottom.
const INBOX: &str = "[...document.querySelectorAll('#inbox .name')].map(name => name.textContent)";

/// Returns the JavaScript expression for the shown count of unread messages of a conversation, null
/// if there are none.
fn unread(id: &str) -> String {
    let badge = format!("#inbox [data-key=\"{id}\"] .unread:not([hidden]) > :first-child");
    format!("({} ?? null)", element_text(&badge))
}

/// Selects an option of a `<select>`.
async fn choose(browser: &Browser, css: &str, value: &str) {
    let option = browser.find(&format!("{css} [value=\"{value}\"]")).await;
    option.click().await.expect("an option");
}

async fn wait_for_inbox(browser: &Browser, subjects: &[&str]) {
    browser.wait_for(&format!("JSON.stringify({INBOX}) === '{}'", json!(subjects))).await;
}

async fn assert_visible(browser: &Browser, css: &str, expected: bool) {
    let visible = format!("document.querySelector({}).checkVisibility()", json!(css));
    browser.wait_for(&format!("{visible} === {expected}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_message_raises_the_unread_count_of_members_until_they_read_it() {
    let service = Service::start().await;
    let (ada, charles, eve) =
        (service.person("Ada").await, service.person("Charles").await, service.person("Eve").await);
    let plans = service.conversation(&ada, "Plans", "private").await;
    service.add(&ada, &plans, &charles).await;
    let tables = service.conversation(&charles, "Tables", "public").await;
    service.say(&charles, &tables, "One").await;
    let hers = service.browser(&ada, DESKTOP).await;
    let his = service.browser(&charles, DESKTOP).await;
    let other = service.browser(&eve, DESKTOP).await;
    wait_for_inbox(&his, &["Tables", "Plans"]).await;
    his.wait_for_text(&format!("#inbox [data-key=\"{plans}\"] .meta"), "Private").await;

    hers.click(&format!("#inbox [data-key=\"{plans}\"] a")).await;
    for text in ["One", "Two"] {
        hers.fill("#composer-text", text).await;
        hers.click("#composer button.primary").await;
        hers.wait_for("document.querySelector('#composer-text').value === ''").await;
    }
    his.wait_for(&format!("{} === '2'", unread(&plans))).await;
    wait_for_inbox(&his, &["Plans", "Tables"]).await;
    his.click(&format!("#inbox [data-key=\"{plans}\"] a")).await;
    his.wait_for_text("[data-seq=\"2\"] .text", "Two").await;
    his.wait_for(&format!("{} === null", unread(&plans))).await;
    service.wait_until_read(&charles, &plans).await;
    his.picture("inbox").await;
    // Her own messages are read, too.
    hers.wait_for(&format!("{} === null", unread(&plans))).await;
    service.wait_until_read(&ada, &plans).await;

    other.wait_for_text("#inbox-view .notice", "No conversations yet").await;
    other.click("#show-public").await;
    other.wait_for_text("#conversations .name", "Tables").await;
    let everything = other.eval("document.body.textContent").await.to_string();
    assert!(!everything.contains("Plans"), "a stranger sees nothing of it");
    other.go_to(&format!("/#/conversations/{plans}")).await;
    other.wait_for_text("#conversation-title", "Not available").await;
    for browser in [hers, his] {
        browser.close("401").await;
    }
    other.close("40").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moderator_adds_promotes_and_removes_a_member() {
    let service = Service::start().await;
    let (ada, charles) = (service.person("Ada").await, service.person("Charles").await);
    let hers = service.browser(&ada, DESKTOP).await;
    hers.fill("#new-subject", "Plans").await;
    hers.click("#new-conversation [value=private]").await;
    hers.click("#new-conversation button.primary").await;
    hers.wait_for_text("#conversation-meta", "Private").await;
    wait_for_inbox(&hers, &["Plans"]).await;
    let his = service.browser(&charles, DESKTOP).await;
    his.wait_for_text("#inbox-view .notice", "No conversations yet").await;

    hers.click("#conversation-members").await;
    hers.wait_for_text("#members-view .name", "Ada").await;
    choose(&hers, "#new-member", &charles.profile_id).await;
    hers.click("#members-form button.primary").await;
    let row = format!("#members-view [data-key=\"{}\"]", charles.profile_id);
    hers.wait_for_text(&format!("{row} .name"), "Charles").await;
    hers.picture("members").await;
    wait_for_inbox(&his, &["Plans"]).await;
    his.click("#inbox a").await;
    his.fill("#composer-text", "A draft").await;
    assert_visible(&his, "#conversation-edit", false).await;
    assert_visible(&his, "#conversation-delete", false).await;
    his.click("#conversation-members").await;
    his.wait_for_text(&format!("{row} .name"), "Charles").await;
    assert_visible(&his, "#add-member", false).await;
    let ada_row = format!("#members-view [data-key=\"{}\"]", ada.profile_id);
    assert_visible(&his, &format!("{ada_row} button"), false).await;
    assert_visible(&his, &format!("{row} button"), true).await;
    his.click("#members-form [data-action=close]").await;

    choose(&hers, &format!("{row} select"), "moderator").await;
    hers.wait_for_text("#status", "Role changed").await;
    assert_visible(&his, "#conversation-edit", true).await;
    hers.click(&format!("{row} button")).await;
    hers.wait_for(&format!("document.querySelector({}) === null", json!(row))).await;
    his.wait_for_text("#gone-text", "you are no longer a member").await;
    his.wait_for_text("#unposted-text", "A draft").await;
    for css in ["#composer", "#conversation-members"] {
        assert_visible(&his, css, false).await;
    }
    wait_for_inbox(&his, &[]).await;
    hers.close("401").await;
    his.close("40").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_conversation_can_be_joined_and_left_on_a_phone() {
    let service = Service::start().await;
    let (ada, charles) = (service.person("Ada").await, service.person("Charles").await);
    let id = service.conversation(&ada, "Analytical engines", "public").await;
    service.say(&ada, &id, "One").await;
    let browser = service.browser(&charles, PHONE).await;
    browser.click("#show-public").await;
    browser.click("#conversations a").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "One").await;
    // The buttons for the messages and the conversation of someone else are absent.
    assert_visible(&browser, "[data-seq=\"1\"] [data-action=edit]", false).await;
    assert_visible(&browser, "#conversation-delete", false).await;
    browser.click("#conversation-join").await;
    browser.wait_for_text("#status", "Charles has joined").await;
    assert_visible(&browser, "#conversation-join", false).await;
    browser.click(".back").await;
    browser.click("#show-inbox").await;
    wait_for_inbox(&browser, &["Analytical engines"]).await;
    service.say(&ada, &id, "Two").await;
    browser.wait_for(&format!("{} === '1'", unread(&id))).await;
    browser.click("#inbox a").await;
    browser.wait_for(&format!("{} === null", unread(&id))).await;
    browser.click("#conversation-members").await;
    let row = format!("#members-view [data-key=\"{}\"]", charles.profile_id);
    browser.wait_for_text(&format!("{row} button"), "Leave").await;
    let overflow = "document.documentElement.scrollWidth > innerWidth";
    assert_eq!(browser.eval(overflow).await, json!(false));
    browser.click(&format!("{row} button")).await;
    browser.wait_for_text("#confirm button.danger", "Leave").await;
    browser.click("#confirm button.danger").await;
    assert_visible(&browser, "#conversation-join", true).await;
    wait_for_inbox(&browser, &[]).await;
    browser.close("401").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moderator_may_delete_a_message_of_another_member_but_not_edit_it() {
    let service = Service::start().await;
    let (ada, charles) = (service.person("Ada").await, service.person("Charles").await);
    let id = service.conversation(&ada, "Plans", "private").await;
    service.add(&ada, &id, &charles).await;
    service.say(&charles, &id, "One").await;
    let browser = service.browser(&ada, DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.find("[data-seq=\"1\"] [data-action=edit][hidden]").await;
    browser.find("[data-seq=\"1\"] [data-action=delete]:not([hidden])").await;
    click_tool(&browser, 1, "delete").await;
    browser.click("#confirm button.danger").await;
    browser.wait_for_text("[data-seq=\"1\"] .change", "This message was deleted").await;
    browser.close("401").await;
}

/// Stops the clock, records the `seq` of each request that marks messages as read in
/// `window.marks`, and holds timers of 5 seconds until `window.release` is called.
const HOLD_MARKS: &str = "(() => {
    const { fetch, setTimeout } = window;
    const now = Date.now();
    window.marks = [];
    window.fetch = (path, options) => {
        if (path.endsWith('/read')) window.marks.push(JSON.parse(options.body).seq);
        return fetch(path, options);
    };
    window.setTimeout = (action, delay) => {
        if (delay !== 5000) return setTimeout(action, delay);
        window.release = action;
        return 1;
    };
    Date.now = () => now;
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_marked_as_read_at_most_every_five_seconds() {
    let service = Service::start().await;
    let ada = service.person("Ada").await;
    let id = service.conversation(&ada, "Plans", "private").await;
    let browser = service.browser(&ada, DESKTOP).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.find_visible("#composer").await;
    browser.eval(HOLD_MARKS).await;
    for (seq, marks) in [(1, "[1]"), (2, "[1]"), (3, "[1]")] {
        browser.fill("#composer-text", "News").await;
        browser.click("#composer button.primary").await;
        browser.find(&format!("[data-seq=\"{seq}\"]")).await;
        browser.wait_for("document.querySelector('#composer-text').value === ''").await;
        browser.wait_for(&format!("JSON.stringify(window.marks) === '{marks}'")).await;
    }
    browser.eval("window.release()").await;
    browser.wait_for("JSON.stringify(window.marks) === '[1,3]'").await;
    service.wait_until_read(&ada, &id).await;
    browser.close("401").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_token_shows_the_inbox_of_its_own_profile() {
    let service = Service::start().await;
    let (ada, charles) = (service.person("Ada").await, service.person("Charles").await);
    service.conversation(&ada, "Plans", "private").await;
    service.conversation(&charles, "Tables", "private").await;
    let browser = service.browser(&ada, DESKTOP).await;
    wait_for_inbox(&browser, &["Plans"]).await;
    let options = "[...document.querySelector('#acting-as').options].map(option => option.text)";
    assert_eq!(browser.eval(options).await, json!(["Ada"]), "only profiles of the caller");
    Service::sign_in(&browser, &charles).await;
    wait_for_inbox(&browser, &["Tables"]).await;
    // No request was refused with 403.
    browser.close("401").await;
}
