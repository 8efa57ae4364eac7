//! The server as a program: its flags, how it starts, and what it says.

use std::env;
use std::path::PathBuf;

use clap::Parser;
use functions::http::Auth;
use shared::Table;
use tokio::net::TcpListener;

use crate::template::{TEMPLATE, Template};
use crate::{Gateway, engine};

/// Serves the whole chat API on this machine, on an embedded DynamoDB-compatible engine.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// Port of the API.
    #[arg(long, default_value_t = 3000)]
    pub port: u16,
    /// File of the database; it survives a restart.
    #[arg(long, value_name = "FILE", default_value = "chat.db")]
    pub database: PathBuf,
    /// Keeps the database in memory, and forgets it at the end.
    #[arg(long, conflicts_with = "database")]
    pub in_memory: bool,
    /// Port of the engine, for other tools to share.
    #[arg(long, default_value_t = 8000)]
    pub dynamodb_port: u16,
    /// An engine that runs already, to be used instead of the embedded one.
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL_DYNAMODB")]
    pub dynamodb_endpoint: Option<String>,
}

/// Serves until `stop` is ready and the requests under way are answered.
///
/// # Errors
/// Why it cannot start, in one line.
pub async fn run(options: &Options, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
    let template = Template::parse(TEMPLATE)?;
    let listener = listen(options.port, "--port").await?;
    let (endpoint, place) = match &options.dynamodb_endpoint {
        Some(endpoint) if !endpoint.is_empty() => (endpoint.clone(), "not started by this server".to_owned()),
        _ => {
            let file = (!options.in_memory).then_some(options.database.as_path());
            let place = file.map_or("in memory".to_owned(), |file| format!("in {}", file.display()));
            let listener = listen(options.dynamodb_port, "--dynamodb-port").await?;
            (engine::serve(listener, engine::open(file)?)?, place)
        }
    };
    let name = env::var("TABLE_NAME").unwrap_or_else(|_| "chat".to_owned());
    let table = Table::at(&endpoint, &name);
    table.create(&template.table).await.map_err(|error| format!("{endpoint}: {}", error.chain()))?;
    let gateway = Gateway::new(&template, table, Auth::Open)?;
    let url = format!("http://127.0.0.1:{}", listener.local_addr().map_err(|error| error.to_string())?.port());
    println!(
        "Chat API on {url}, open to everyone on this machine.\n\
         Table {name} on {endpoint}, {place}.\n\n\
         Try:\n  \
         curl {url}/profiles -H 'content-type: application/json' -d '{{\"first_name\":\"Ada\"}}'\n  \
         curl {url}/profiles\n\n\
         Ctrl-C stops it."
    );
    gateway.serve(listener, stop).await.map_err(|error| error.to_string())
}

async fn listen(port: u16, flag: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("port {port}: {error}; choose another with {flag}"))
}
