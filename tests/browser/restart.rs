//! A restart of the service while the page is open.

use std::net::{SocketAddr, TcpListener};

use dynoxide::Database;
use functions::http::Auth;
use local::Gateway;
use local::engine::{self, Engine};
use local::live::Live;
use local::live::stream::stream;
use shared::Table;
use tests::service::{Api, json, parse_template};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use crate::live::{open, wait_until_live};

/// A service that can be stopped with all its connections, and started again.
struct Server {
    api: Api,
    address: SocketAddr,
    database: Database,
    runtime: Option<Runtime>,
}

impl Server {
    async fn start() -> Self {
        let database = engine::open(None).expect("a database");
        let address = ([127, 0, 0, 1], 0).into();
        let api = Api::connect("");
        let mut server = Self { api, address, database, runtime: None };
        server.listen().await;
        server.api = Api::connect(&format!("http://{}", server.address));
        server
    }

    /// Serves the same table at the same address.
    async fn listen(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                // The threads of the stopped service are still ending.
                Err(_) => yield_now().await,
            }
        };
        listener.set_nonblocking(true).expect("a listener");
        self.address = listener.local_addr().expect("an address");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let database = self.database.clone();
        runtime.spawn(async move {
            let (tap, records) = stream();
            let client = engine::client(Engine::tapped(database, tap));
            let table = Table::with_http_client(client, "chat");
            let template = parse_template();
            table.create(&template.table).await.expect("a table");
            let gateway = Gateway::new(&template, table.clone(), Auth::Open).expect("a gateway");
            let gateway = gateway.with_live(Live::start(table, records));
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            gateway.serve(listener, std::future::pending()).await
        });
        self.runtime = Some(runtime);
    }

    /// Stops the service. Its connections break.
    fn stop(&mut self) {
        self.runtime.take().expect("a running service").shutdown_background();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A runtime must not be dropped by a task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_survives_a_restart_of_the_service() {
    let mut server = Server::start().await;
    let (author_id, id) = server.api.profile_and_conversation().await;
    let browser = open(&server.api, &id, &author_id).await;
    browser.fill("#composer-text", "A draft").await;
    browser.eval("window.hurries = true").await;
    server.stop();
    browser.wait_for_text("#connection", "Reconnecting…").await;
    server.listen().await;
    wait_until_live(&browser).await;
    server.api.say(&id, &author_id, "One").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "One").await;
    assert_eq!(browser.eval("window.loaded").await, json!(true), "not loaded again");
    let draft = browser.eval("document.querySelector('#composer-text').value").await;
    assert_eq!(draft, json!("A draft"));
    browser.close("ERR_").await;
}
