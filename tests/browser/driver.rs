//! A browser, driven through chromedriver.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::timeout;

use tests::service::{Value, json};

/// The longest time that a test waits for a change of the page.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The screen of a browser: its size in CSS pixels, and whether it is a touch screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) touch: bool,
}

/// A host name that resolves to this machine in these browsers.
pub(crate) const REBOUND_HOST: &str = "evil.example";

pub(crate) const DESKTOP: Screen = Screen { width: 1440, height: 900, touch: false };
pub(crate) const PHONE: Screen = Screen { width: 390, height: 844, touch: true };

/// A browser with one tab. Dropping it stops the browser.
pub(crate) struct Browser {
    client: Client,
    driver_url: String,
    service_url: String,
    driver: Child,
    /// The browser's data, deleted with it.
    _data: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver stops its browser.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Starts a browser and opens the page of the service.
    pub(crate) async fn open(service_url: &str, screen: Screen) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver, of Debian's package chromium-driver");
        let driver_url = format!("http://127.0.0.1:{port}");
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            yield_now().await;
        }
        let data = tempfile::tempdir().expect("a folder");
        let capabilities = capabilities(screen, data.path());
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().expect("an object").clone())
            .connect(&driver_url)
            .await
            .expect("a session");
        let service_url = service_url.to_owned();
        let browser = Self { client, driver_url, service_url, driver, _data: data };
        browser.go_to("/").await;
        browser
    }

    /// Loads a page of the service.
    pub(crate) async fn go_to(&self, path: &str) {
        let url = format!("{}{path}", self.service_url);
        self.client.goto(&url).await.expect("the page");
        // A change of the fragment loads nothing.
        self.client.refresh().await.expect("the page");
    }

    /// Loads a page of any server.
    pub(crate) async fn load(&self, url: &str) {
        self.client.goto(url).await.expect("the page");
    }

    /// Waits for an element.
    pub(crate) async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().at_most(TIMEOUT).for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// Waits for a visible element.
    pub(crate) async fn find_visible(&self, css: &str) -> Element {
        let visible = format!("document.querySelector({})?.checkVisibility() === true", json!(css));
        self.wait_for(&visible).await;
        self.find(css).await
    }

    /// Replaces the text of a field.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        self.find_visible(css).await.clear().await.expect("an empty field");
        self.type_keys(css, text).await;
    }

    /// Types into an element.
    pub(crate) async fn type_keys(&self, css: &str, keys: &str) {
        let typed = self.find(css).await.send_keys(keys).await;
        typed.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    pub(crate) async fn click(&self, css: &str) {
        let clicked = self.find_visible(css).await.click().await;
        clicked.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Returns the name of an element for users of screen readers.
    pub(crate) async fn accessible_name(&self, css: &str) -> String {
        let element = self.find(css).await.element_id().to_string();
        let session = self.client.session_id().await.expect("a session").expect("its id");
        let url = format!("{}/session/{session}/element/{element}/computedlabel", self.driver_url);
        let response = reqwest::get(url).await.expect("a response");
        let label: Value =
            serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
        label["value"].as_str().unwrap_or_else(|| panic!("{label}")).to_owned()
    }

    /// Returns the value of a JavaScript expression.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        let value = self.client.execute(&format!("return ({expression})"), vec![]).await;
        serde_json::to_value(value.unwrap_or_else(|error| panic!("{expression}: {error}")))
            .expect("JSON")
    }

    /// Runs a script in the page. Returns the value that it passes to the callback after its
    /// arguments.
    pub(crate) async fn run(&self, script: &str, argument: Value) -> Value {
        let value = self.client.execute_async(script, vec![argument]).await;
        serde_json::to_value(value.expect("a value")).expect("JSON")
    }

    /// Waits until a JavaScript expression is true.
    pub(crate) async fn wait_for(&self, expression: &str) {
        let wait = async { while self.eval(expression).await != json!(true) {} };
        assert!(timeout(TIMEOUT, wait).await.is_ok(), "not within {TIMEOUT:?}: {expression}");
    }

    /// Waits until the text of an element contains `text`.
    pub(crate) async fn wait_for_text(&self, css: &str, text: &str) {
        let (css, text) = (json!(css), json!(text));
        let found = format!("document.querySelector({css})?.textContent.includes({text}) === true");
        self.wait_for(&found).await;
    }

    /// Saves a screenshot in `docs/pictures` if `PICTURES` is set.
    pub(crate) async fn picture(&self, name: &str) {
        if env::var_os("PICTURES").is_some() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
            fs::create_dir_all(&folder).expect("a folder");
            let picture = self.client.screenshot().await.expect("a screenshot");
            fs::write(folder.join(format!("{name}.png")), picture).expect("a file");
        }
    }

    /// Takes the browser offline, or back online.
    pub(crate) async fn set_offline(&self, offline: bool) {
        let throughput = if offline { 0 } else { -1 };
        let conditions = json!({
            "offline": offline, "latency": 0,
            "download_throughput": throughput, "upload_throughput": throughput,
        });
        let session = self.client.session_id().await.expect("a session").expect("its id");
        let url = format!("{}/session/{session}/chromium/network_conditions", self.driver_url);
        let body = json!({ "network_conditions": conditions }).to_string();
        let response = reqwest::Client::new().post(url).body(body).send().await;
        assert!(response.expect("a response").status().is_success());
    }

    /// Asserts that the console has no errors, except lines that contain `expected` if that is not
    /// empty and those of WebSockets that do not open, and that the browser has sent no request to
    /// another host. Closes the browser.
    pub(crate) async fn close(self, expected: &str) {
        let lines = self.log("browser").await;
        let lines = lines.iter().map(|entry| entry["message"].as_str().unwrap_or_default());
        let errors = lines.filter(|line| expected.is_empty() || !line.contains(expected));
        let errors: Vec<&str> =
            errors.filter(|line| !line.contains("WebSocket connection to")).collect();
        assert_eq!(errors, [""; 0]);
        for entry in self.log("performance").await {
            let event: Value =
                serde_json::from_str(entry["message"].as_str().expect("a message")).expect("JSON");
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str().expect("a URL");
                assert!(!url.starts_with("http") || url.starts_with(&self.service_url), "{url}");
            }
            if event["message"]["method"] == "Network.webSocketCreated" {
                let url = event["message"]["params"]["url"].as_str().expect("a URL");
                assert!(url.replace("ws:", "http:").starts_with(&self.service_url), "{url}");
            }
        }
        self.client.clone().close().await.expect("closed");
    }

    /// Returns the entries of one of chromedriver's logs.
    async fn log(&self, kind: &str) -> Vec<Value> {
        let session = self.client.session_id().await.expect("a session").expect("its id");
        let url = format!("{}/session/{session}/se/log", self.driver_url);
        let request = reqwest::Client::new().post(url).body(json!({ "type": kind }).to_string());
        let response = request.send().await.expect("a response");
        let log: Value =
            serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
        log["value"].as_array().unwrap_or_else(|| panic!("{log}")).clone()
    }
}

/// Clicks a button of a message. It shows only under the mouse pointer, so a script clicks it.
pub(crate) async fn click_tool(browser: &Browser, seq: u32, action: &str) {
    let button = format!("[data-seq=\"{seq}\"] [data-action={action}]");
    browser.find(&button).await;
    browser.eval(&format!("document.querySelector({}).click()", json!(button))).await;
}

/// Returns the JavaScript expression for the text of an element, `undefined` if it is absent.
pub(crate) fn element_text(css: &str) -> String {
    format!("document.querySelector({})?.textContent", json!(css))
}

fn capabilities(screen: Screen, data: &Path) -> Value {
    let Screen { width, height, touch } = screen;
    // A headless browser has no mouse. These settings add one: (hover: hover), (pointer: fine).
    let mouse = "--blink-settings=primaryHoverType=2,availableHoverTypes=2,\
                 primaryPointerType=4,availablePointerTypes=4";
    let mut options = json!({
        "args": [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            if touch { "--touch-events=enabled" } else { mouse },
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", data.display()),
            format!("--host-resolver-rules=MAP {REBOUND_HOST} 127.0.0.1"),
        ],
    });
    // A window has a minimum width, but an emulated screen has none.
    if touch || width < 600 {
        options["mobileEmulation"] = json!({
            "deviceMetrics": {
                "width": width, "height": height, "pixelRatio": 2, "touch": touch, "mobile": true,
            },
        });
    }
    json!({
        "goog:chromeOptions": options,
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    })
}
