//! A person's journey through the browsable API and the reference, in a real browser.
//!
//! Needs Chromium and its driver (Debian's `chromium` and `chromium-driver`):
//! `cargo test -p tests --features browser --test browser`. With `PICTURES` set, what the person sees is kept in `docs/pictures`.

mod hostile;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use local::authorizer::Authorizer;
use tokio::net::{TcpListener, TcpStream};

use tests::service::{Api, Value, embedded_engine, json, new_table};

/// How long a person would wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A browser, and the driver that it ends with.
struct Browser {
    client: Client,
    driver: String,
    url: String,
    process: Child,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    async fn start(url: &str, profile: &Path) -> Self {
        Self::start_with(url, profile, &[]).await
    }

    /// Starts a browser with more arguments.
    async fn start_with(url: &str, profile: &Path, arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port")
            .local_addr()
            .expect("an address")
            .port();
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = process.expect("chromedriver, from Debian's chromium-driver");
        let driver = format!("http://127.0.0.1:{port}");
        let user_data = format!("--user-data-dir={}", profile.display());
        let fixed = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1440,900",
            &user_data,
        ];
        let arguments = [&fixed, arguments].concat();
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let capabilities = capabilities.as_object().expect("an object").clone();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&driver)
            .await;
        let client = client.expect("a session");
        Self { client, driver, url: url.to_owned(), process }
    }

    async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    async fn type_into(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.expect("cleared");
        field.send_keys(text).await.expect("typed");
    }

    async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Runs an expression in the page.
    async fn eval(&self, expression: &str) -> Value {
        let value = self.client.execute(&format!("return {expression}"), vec![]).await;
        serde_json::to_value(value.unwrap_or_else(|error| panic!("{expression}: {error}")))
            .expect("JSON")
    }

    /// Waits until an expression is true in the page.
    async fn until(&self, expression: &str) {
        let wait = async { while self.eval(expression).await != json!(true) {} };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {expression}");
    }

    /// Keeps what the person sees.
    async fn picture(&self, name: &str) {
        if env::var_os("PICTURES").is_some() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(
                folder.join(format!("{name}.png")),
                self.client.screenshot().await.expect("a picture"),
            )
            .expect("written");
        }
    }

    /// What the browser logged of a kind since the last call.
    async fn log(&self, kind: &str) -> Vec<Value> {
        let session = self.client.session_id().await.expect("a session").expect("its id");
        let url = format!("{}/session/{session}/se/log", self.driver);
        let answer = reqwest::Client::new()
            .post(url)
            .body(json!({ "type": kind }).to_string())
            .send()
            .await
            .expect("an answer");
        let answer: Value =
            serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        answer["value"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// What the console shows, but for the answers that a step asked for.
    async fn complaints(&self, expected: &str) -> Vec<String> {
        let messages = self
            .log("browser")
            .await
            .into_iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned());
        messages.filter(|message| expected.is_empty() || !message.contains(expected)).collect()
    }

    /// The URLs that were asked for since the last call.
    async fn requested(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for entry in self.log("performance").await {
            let event: Value =
                serde_json::from_str(entry["message"].as_str().expect("a message")).expect("JSON");
            if event["message"]["method"] == "Network.requestWillBeSent" {
                urls.push(
                    event["message"]["params"]["request"]["url"]
                        .as_str()
                        .expect("a URL")
                        .to_owned(),
                );
            }
        }
        urls
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_finds_their_way() {
    let api = Api::start_isolated().await;
    let folder = tempfile::tempdir().expect("a folder");
    let browser = Browser::start(api.url(), folder.path()).await;
    browser.client.goto(&browser.url).await.expect("the page");

    // A profile, a conversation, ten messages: the congratulation comes without reloading.
    browser.type_into("#new-first-name", "Ada").await;
    browser.type_into("#new-last-name", "Lovelace").await;
    browser.type_into("#new-job-title", "Analyst").await;
    browser.click("#new-profile button.primary").await;
    browser.until("document.querySelectorAll('#profiles li').length === 1").await;
    browser
        .until(
            "document.querySelector('#acting-as').selectedOptions[0].textContent.includes('Ada')",
        )
        .await;
    browser.type_into("#new-subject", "Analytical engines").await;
    browser.click("#new-conversation button.primary").await;
    browser
        .until("document.querySelector('#conversation-title').textContent === 'Analytical engines'")
        .await;
    for number in 1..=10 {
        browser.type_into("#composer-text", &format!("Message {number}")).await;
        browser
            .find("#composer-text")
            .await
            .send_keys(&char::from(Key::Enter).to_string())
            .await
            .expect("sent");
        browser
            .until(&format!("document.querySelector('#messages [data-seq=\"{number}\"]') !== null"))
            .await;
    }
    let congratulated =
        "document.querySelector('#messages .congratulation[data-seq=\"11\"]')?.textContent";
    browser
        .until(&format!(
            "{congratulated}?.includes('Congratulations Ada, you have reached 10 points!') === true"
        ))
        .await;
    browser.picture("conversation").await;

    // What people write stays letters.
    browser.type_into("#composer-text", "<img src=x onerror=\"document.title = 'broken'\">").await;
    browser.click("#composer button.primary").await;
    let letters = "'<img src=x onerror=\"document.title = \\'broken\\'\">'";
    browser
        .until(&format!(
            "document.querySelector('#messages [data-seq=\"12\"] .text')?.textContent === {letters}"
        ))
        .await;
    assert_eq!(browser.eval("document.querySelectorAll('#messages img').length").await, json!(0));

    // One message is edited, one deleted.
    browser
        .eval("document.querySelector('#messages [data-seq=\"1\"] [data-action=edit]').click()")
        .await;
    browser.type_into("#edit-text", "The first message").await;
    browser.click("#edit-message button.primary").await;
    browser.until("document.querySelector('#messages [data-seq=\"1\"] .text').textContent === 'The first message'").await;
    browser
        .eval("document.querySelector('#messages [data-seq=\"2\"] [data-action=delete]').click()")
        .await;
    browser.click("#confirm button.danger").await;
    browser.until("!document.querySelector('#messages [data-seq=\"2\"]').textContent.includes('Message 2')").await;
    browser.eval("document.querySelector('#messages [data-seq=\"1\"]').scrollIntoView()").await;
    browser.picture("edited-and-deleted").await;
    assert_eq!(browser.complaints("").await, [""; 0]);

    // An error stands beside the field that it is about.
    browser.type_into("#new-first-name", "   ").await;
    browser.click("#new-profile button.primary").await;
    browser
        .until("document.querySelector('#new-first-name-error').textContent.includes('blank')")
        .await;
    assert_eq!(
        browser
            .eval("document.querySelector('#new-first-name').getAttribute('aria-invalid')")
            .await,
        json!("true")
    );
    browser.picture("error").await;
    assert_eq!(
        browser.complaints("422").await,
        [""; 0],
        "but for the browser's own line about the 422"
    );

    // Two hundred messages, back to the first by scrolling up.
    let (author_id, id) = api.profile_and_conversation().await;
    for number in 1..=200 {
        api.say(&id, &author_id, &format!("Message {number}")).await;
    }
    browser.client.goto(&format!("{}/#/conversations/{id}", browser.url)).await.expect("the page");
    browser.client.refresh().await.expect("the page");
    browser.find("#messages [data-seq=\"220\"]").await;
    browser.picture("history").await;
    browser.until("(document.querySelector('#messages-scroll').scrollTop = 0, document.querySelector('#messages [data-seq=\"1\"]') !== null)").await;
    let seqs =
        browser.eval("[...document.querySelectorAll('#messages [data-seq]')].map(message => Number(message.dataset.seq))").await;
    assert_eq!(seqs, json!((1..=220).collect::<Vec<u32>>()), "each once and in order");
    assert_eq!(browser.complaints("").await, [""; 0]);

    // The reference: an endpoint is tried there.
    browser.client.goto(&format!("{}/docs", browser.url)).await.expect("the reference");
    browser.find(".opblock").await;
    browser.click("[id$=\"list_profiles\"] .opblock-summary-control").await;
    browser.click("[id$=\"list_profiles\"] .execute").await;
    browser.until("document.querySelector('[id$=\"list_profiles\"] .live-responses-table .response .response-col_status')?.textContent.includes('200') === true").await;
    browser.eval("document.querySelector('[id$=\"list_profiles\"]').scrollIntoView()").await;
    browser.picture("reference").await;
    assert_eq!(browser.complaints("").await, [""; 0]);

    // Nothing was asked of another host.
    let foreign: Vec<String> = browser
        .requested()
        .await
        .into_iter()
        .filter(|url| url.starts_with("http") && !url.starts_with(&browser.url))
        .collect();
    assert_eq!(foreign, [""; 0]);
    browser.client.clone().close().await.expect("closed");
}

#[tokio::test]
async fn a_person_with_a_token_gets_into_a_closed_service() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let (template, table) = new_table(&embedded_engine().await).await;
    let api = Api::serve_authenticated(authorizer.clone(), &template, table).await;
    let token = |lifetime| {
        authorizer
            .token("ada", "chat/read chat/write", Duration::from_secs(lifetime))
            .expect("a token")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let browser = Browser::start(api.url(), folder.path()).await;
    let says = |text: &str| {
        format!(
            "document.querySelector('#conversations-panel .notice').textContent.includes('{text}')"
        )
    };

    browser.client.goto(&browser.url).await.expect("the page");
    browser.until(&says("needs an access token")).await;
    for (lifetime, expected) in [(0, "was refused"), (60, "No conversations yet")] {
        browser.click("#access").await;
        browser.type_into("#token", &token(lifetime)).await;
        browser.click("#token-form button.primary").await;
        browser.until(&says(expected)).await;
    }
    browser.client.goto(&format!("{}/#/profiles", browser.url)).await.expect("the page");
    browser.type_into("#new-first-name", "Ada").await;
    browser.click("#new-profile button.primary").await;
    browser.until("document.querySelector('#profiles .name')?.textContent === 'Ada'").await;
    let shown = browser.eval("document.body.textContent").await.to_string();
    assert!(
        shown.contains("Bearer $TOKEN") && !shown.contains("eyJ"),
        "a token is sent, and never shown"
    );
    assert_eq!(
        browser.complaints("401").await,
        [""; 0],
        "but for the browser's own lines about the 401s"
    );
    browser.client.clone().close().await.expect("closed");
}
