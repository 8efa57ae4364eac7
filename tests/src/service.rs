//! Starts the service: the development server's gateway, in this process, on a table of its own.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use functions::http::Auth;
use local::authorizer::Authorizer;
use local::engine::Engine;
use local::live::stream::{Records, stream};
use local::live::{Limits, Live};
use local::template::Template;
use local::{Gateway, engine};
use shared::Table;
use tokio::net::TcpListener;
use uuid::Uuid;

pub use crate::client::Api;
pub use crate::response::Response;
pub use serde_json::{Value, json};

use crate::clock::Clock;

/// A running service.
#[derive(Clone, Debug)]
pub struct Service {
    /// A client of it.
    pub api: Api,
    /// Its table.
    pub table: Table,
    /// The template that it was started from.
    pub template: Template,
}

/// The options of a service. By default it is open, on a new table of the default engine.
#[derive(Debug, Default)]
pub struct Setup {
    engine: Option<String>,
    clock: Option<Clock>,
    authorizer: Option<Arc<Authorizer>>,
    origins: Vec<String>,
    timeout: Option<Duration>,
}

impl Setup {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the table on the engine at this endpoint.
    #[must_use]
    pub fn engine(self, endpoint: &str) -> Self {
        Self { engine: Some(endpoint.to_owned()), ..self }
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn clock(self, clock: &Clock) -> Self {
        Self { clock: Some(clock.clone()), ..self }
    }

    /// Requires access tokens that this authorizer signed.
    #[must_use]
    pub fn authorizer(self, authorizer: Arc<Authorizer>) -> Self {
        Self { authorizer: Some(authorizer), ..self }
    }

    /// Lets pages of this origin read responses.
    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.to_owned());
        self
    }

    /// Gives every function this timeout instead of the template's.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Starts the service on a new table.
    ///
    /// # Panics
    /// If it cannot start.
    pub async fn start(self) -> Service {
        let endpoint = match &self.engine {
            Some(endpoint) => endpoint.clone(),
            None => engine_endpoint().await,
        };
        let (template, table) = new_table(&endpoint).await;
        self.start_on(template, table).await
    }

    /// Starts the service with live delivery, on a new table of an embedded engine.
    ///
    /// # Panics
    /// If it cannot start.
    pub async fn start_live(self, limits: Limits) -> Service {
        let (tap, records) = stream();
        let engine = Engine::tapped(engine::open(None).expect("a database"), tap);
        let table = Table::with_http_client(engine::client(engine), "chat");
        let template = parse_template();
        table.create(&template.table).await.expect("a table");
        self.start_with(template, table, Some((records, limits))).await
    }

    /// Starts the service on this table.
    ///
    /// # Panics
    /// If it cannot start.
    pub async fn start_on(self, template: Template, table: Table) -> Service {
        self.start_with(template, table, None).await
    }

    async fn start_with(
        self,
        mut template: Template,
        table: Table,
        live: Option<(Records, Limits)>,
    ) -> Service {
        let table = self.clock.iter().fold(table, |table, clock| clock.drive(table));
        for route in &mut template.routes {
            route.timeout = self.timeout.unwrap_or(route.timeout);
        }
        let auth = if self.authorizer.is_some() { Auth::Jwt } else { Auth::Open };
        let mut gateway = Gateway::new(&template, table.clone(), auth).expect("a gateway");
        if let Some(authorizer) = self.authorizer {
            gateway = gateway.with_authorizer(authorizer);
        }
        if let Some((records, limits)) = live {
            gateway = gateway.with_live(Live::start(table.clone(), records).with_limits(limits));
        }
        let gateway =
            gateway.with_cors_origins(&self.origins, &template.cors).expect("valid origins");
        Service { api: listen(gateway).await, table, template }
    }
}

impl Api {
    /// Returns a client of the service at `CHAT_API_URL`, or else of a new service.
    pub async fn start() -> Self {
        match env::var("CHAT_API_URL") {
            Ok(url) if !url.is_empty() => Self::connect(url.trim_end_matches('/')),
            _ => Self::start_isolated().await,
        }
    }

    /// Starts a service that no other test uses.
    pub async fn start_isolated() -> Self {
        Setup::new().start().await.api
    }

    /// Starts a service with live delivery that no other test uses.
    pub async fn start_live() -> Self {
        Setup::new().start_live(Limits::default()).await.api
    }

    /// Starts a service that requires access tokens, without an authorizer in front of it and
    /// without a table behind it.
    ///
    /// # Panics
    /// If it cannot start.
    pub async fn closed() -> Self {
        let table = Table::connect("http://127.0.0.1:1", "none");
        listen(Gateway::new(&parse_template(), table, Auth::Jwt).expect("a gateway")).await
    }

    /// Starts a service on this table.
    pub async fn serve(template: &Template, table: Table) -> Self {
        Setup::new().start_on(template.clone(), table).await.api
    }

    /// Starts a service on this table that requires access tokens.
    pub async fn serve_authenticated(
        authorizer: Arc<Authorizer>,
        template: &Template,
        table: Table,
    ) -> Self {
        Setup::new().authorizer(authorizer).start_on(template.clone(), table).await.api
    }
}

async fn listen(gateway: Gateway) -> Api {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(gateway.serve(listener, std::future::pending()));
    Api::connect(&url)
}

/// Returns the endpoint in `AWS_ENDPOINT_URL_DYNAMODB`, or else that of a new embedded engine.
pub async fn engine_endpoint() -> String {
    match env::var("AWS_ENDPOINT_URL_DYNAMODB") {
        Ok(endpoint) if !endpoint.is_empty() => endpoint,
        _ => embedded_engine().await,
    }
}

/// Starts an embedded engine in memory. Returns its endpoint.
///
/// # Panics
/// If it cannot start.
pub async fn embedded_engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    engine::serve(listener, engine::open(None).expect("a database")).expect("an engine")
}

/// Creates an empty table, as the template declares it, on this engine.
///
/// # Panics
/// If the engine refuses.
pub async fn new_table(endpoint: &str) -> (Template, Table) {
    let template = parse_template();
    let table = Table::connect(endpoint, &format!("test-{}", Uuid::new_v4()));
    table.create(&template.table).await.expect("a table");
    (template, table)
}

/// Returns the repository's template.
///
/// # Panics
/// If it is invalid.
#[must_use]
pub fn parse_template() -> Template {
    Template::parse().expect("a valid template")
}
