//! Hostile web pages: what a page that is open on the developer's machine can do with the
//! development server's ports.
//!
//! Two kinds of pages attack, in a real browser: one of another origin, and one whose host name
//! resolves to 127.0.0.1 (DNS rebinding, here by a rule of the browser's resolver). Each tries to
//! read and to change the table through the API's port and the engine's port.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use dynoxide::Database;
use local::engine;
use shared::Table;
use tests::service::{Api, Value, json, parse_template};
use tokio::net::TcpListener;

use crate::driver::{Browser, DESKTOP, REBOUND_HOST};

/// A name in the table that no attack may read.
const SECRET: &str = "Ada-the-secret";
/// A name that attacks write.
const MARK: &str = "Mallory";

/// Sends requests one after the other. Returns a line for each: the type of the response, its
/// status and its body as far as the page can read them, or "blocked".
const SEND: &str = r"
    const [requests, done] = arguments;
    const send = async ({ url, bare, ...init }) => {
        if (bare) init.body = new Blob([init.body]);
        try {
            const response = await fetch(url, init);
            return `${response.type} ${response.status} ${await response.text()}`;
        } catch (error) {
            return 'blocked';
        }
    };
    (async () => {
        const lines = [];
        for (const request of requests) lines.push(await send(request));
        done(lines);
    })();
";

/// A development server with one profile, with its engine's port open.
struct Target {
    api: Api,
    engine: String,
    database: Database,
    profile_id: String,
}

impl Target {
    async fn start() -> Self {
        let database = engine::open(None).expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let engine = engine::serve(listener, database.clone()).expect("an engine");
        let template = parse_template();
        let table = Table::with_http_client(engine::client(database.clone()), "chat");
        table.create(&template.table).await.expect("a table");
        let api = Api::serve(&template, table).await;
        let profile_id = api.profile(SECRET).await;
        Self { api, engine, database, profile_id }
    }

    /// Returns the whole table.
    fn items(&self) -> Value {
        let scan = json!({ "TableName": "chat" }).to_string();
        let (status, items) =
            engine::answer(&self.database, "DynamoDB_20120810.Scan", scan.as_bytes());
        assert!(status == 200 && items.contains(SECRET), "{items}");
        serde_json::from_str(&items).expect("JSON")
    }

    /// Returns the attacks through the API's port, which the page reaches at this address.
    fn attacks_on_api(&self, api: &str) -> Vec<Value> {
        let (profiles, profile) =
            (format!("{api}/profiles"), format!("{api}/profiles/{}", self.profile_id));
        let create = json!({ "first_name": MARK }).to_string();
        let update = json!({ "first_name": MARK, "job_title": MARK }).to_string();
        let json = json!({ "content-type": "application/json" });
        let text = json!({ "content-type": "text/plain" });
        vec![
            json!({ "url": profiles }),
            json!({ "url": profile, "mode": "no-cors" }),
            json!({ "url": profiles, "method": "POST", "headers": json, "body": create }),
            json!({ "url": profiles, "method": "POST", "headers": text, "body": create }),
            json!({ "url": profiles, "method": "POST", "mode": "no-cors", "body": create }),
            // Without a content type.
            json!({
                "url": profiles, "method": "POST", "mode": "no-cors", "body": create, "bare": true,
            }),
            json!({ "url": profile, "method": "PATCH", "headers": json, "body": update }),
            json!({ "url": profile, "method": "DELETE" }),
        ]
    }

    /// Returns the attacks through the engine's port, which the page reaches at this address.
    fn attacks_on_engine(&self, engine: &str) -> Vec<Value> {
        let scan = json!({ "TableName": "chat" }).to_string();
        let item = json!({ "pk": { "S": MARK }, "sk": { "S": MARK } });
        let put = json!({ "TableName": "chat", "Item": item }).to_string();
        let drop = json!({ "TableName": "chat" }).to_string();
        let mut attacks = vec![json!({ "url": engine })];
        for (operation, body) in [("Scan", scan), ("PutItem", put), ("DeleteTable", drop)] {
            let target = format!("DynamoDB_20120810.{operation}");
            for content_type in ["application/x-amz-json-1.0", "application/json", "text/plain"] {
                let headers = json!({ "content-type": content_type, "x-amz-target": target });
                attacks.push(json!({
                    "url": engine, "method": "POST", "headers": headers, "body": body,
                }));
            }
            let url = format!("{engine}/?X-Amz-Target={target}");
            attacks.push(json!({ "url": url, "method": "POST", "mode": "no-cors", "body": body }));
        }
        attacks
    }
}

/// Sends requests from the current page. Returns what the page learns of each response.
async fn send(browser: &Browser, requests: &[Value]) -> Vec<String> {
    let lines = browser.run(SEND, json!(requests)).await;
    serde_json::from_value(lines).expect("strings")
}

/// Fails if one of these requests is accepted or shows anything of the table.
async fn attack(browser: &Browser, requests: &[Value]) {
    for (request, line) in requests.iter().zip(send(browser, requests).await) {
        assert!(!line.contains(SECRET), "{request} reads the table: {line}");
        let refused = ["blocked", "opaque", "basic 421", "basic 403"];
        assert!(refused.iter().any(|start| line.starts_with(start)), "{request}: {line}");
    }
}

/// Serves a page on a port of its own. Returns its address.
async fn serve_page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let page = Router::new().route("/", get(|| async { Html("<title>A page</title>") }));
    tokio::spawn(async move { axum::serve(listener, page).await });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_page_can_neither_read_nor_change_the_table() {
    let target = Target::start().await;
    let before = target.items();
    let browser = Browser::open(target.api.url(), DESKTOP).await;
    let rebound = |url: &str| url.replace("127.0.0.1", REBOUND_HOST);
    let (api, engine) = (target.api.url(), target.engine.as_str());

    // The API's own page can read the table, so requests from a page do arrive.
    let own = send(&browser, &[json!({ "url": format!("{api}/profiles") })]).await;
    assert!(own[0].starts_with("basic 200") && own[0].contains(SECRET), "{own:?}");

    let everything = [target.attacks_on_api(api), target.attacks_on_engine(engine)].concat();
    // A page of another origin, by address and by name.
    let page = serve_page().await;
    for origin in [page.clone(), rebound(&page)] {
        browser.load(&origin).await;
        assert_eq!(browser.eval("document.title").await, json!("A page"));
        attack(&browser, &everything).await;
    }
    // DNS rebinding: the page is of the same origin as the port that it attacks.
    for (port, attacks) in [
        (rebound(api), target.attacks_on_api(&rebound(api))),
        (rebound(engine), target.attacks_on_engine(&rebound(engine))),
    ] {
        browser.load(&port).await;
        assert_eq!(browser.eval("location.origin").await, json!(port));
        attack(&browser, &attacks).await;
        attack(&browser, &everything).await;
    }
    assert_eq!(target.items(), before);
}
