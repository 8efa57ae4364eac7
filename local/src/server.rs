//! The server as a program: its flags, how it starts, and what it says.

use std::env;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use functions::http::Auth;
use shared::Table;
use tokio::net::TcpListener;

use crate::authorizer::Authorizer;
use crate::template::{TEMPLATE, Template};
use crate::{Gateway, engine};

/// How long the printed tokens are valid.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

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
    /// Closed, as in the cloud: only requests with an access token are answered, and tokens to try are printed.
    #[arg(long)]
    pub auth: bool,
    /// Origins whose pages may call the API, separated by commas, such as http://localhost:5173.
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
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
pub async fn run(
    options: &Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    let template = Template::parse(TEMPLATE)?;
    let listener = listen(options.port, "--port").await?;
    let name = env::var("TABLE_NAME").unwrap_or_else(|_| "chat".to_owned());
    let (table, endpoint, place) = match &options.dynamodb_endpoint {
        Some(endpoint) if !endpoint.is_empty() => (
            Table::connect(endpoint, &name),
            endpoint.clone(),
            "not started by this server".to_owned(),
        ),
        _ => {
            let file = (!options.in_memory).then_some(options.database.as_path());
            let place =
                file.map_or("in memory".to_owned(), |file| format!("in {}", file.display()));
            let listener = listen(options.dynamodb_port, "--dynamodb-port").await?;
            let database = engine::open(file)?;
            (
                Table::with_http_client(engine::client(database.clone()), &name),
                engine::serve(listener, database)?,
                place,
            )
        }
    };
    table
        .create(&template.table)
        .await
        .map_err(|error| format!("{endpoint}: {}", error.chain()))?;
    let (auth, access) =
        if options.auth { (Auth::Jwt, Some(Access::generate()?)) } else { (Auth::Open, None) };
    let mut gateway =
        Gateway::new(&template, table, auth)?.open_to(&options.cors_origins, &template.cors)?;
    let url = format!(
        "http://127.0.0.1:{}",
        listener.local_addr().map_err(|error| error.to_string())?.port()
    );
    let token = if options.auth { "-H \"authorization: Bearer $TOKEN\" " } else { "" };
    let door = if options.auth {
        "closed to all without an access token"
    } else {
        "open: everyone on this machine may act as anyone"
    };
    println!("Chat API on {url}, {door}.\nTable {name} on {endpoint}, {place}.\n");
    if let Some(Access { authorizer, tokens }) = access {
        gateway = gateway.behind(Arc::new(authorizer));
        println!("{tokens}");
    }
    println!(
        "Try:\n  \
         curl {url}/profiles {token}-H 'content-type: application/json' -d '{{\"first_name\":\"Ada\"}}'\n  \
         curl {token}{url}/profiles\n\n\
         Ctrl-C stops it."
    );
    gateway.serve(listener, stop).await.map_err(|error| error.to_string())
}

/// Who may enter a closed server.
struct Access {
    authorizer: Authorizer,
    /// Tokens to try, as shell commands.
    tokens: String,
}

impl Access {
    fn generate() -> Result<Self, String> {
        let authorizer = Authorizer::generate()?;
        let mut tokens =
            String::from("For the next twelve hours, and as long as this server runs,\n");
        for (subject, scopes, who) in [
            ("ada", "chat/read chat/write", "a first user"),
            ("grace", "chat/read chat/write", "another"),
            ("operator", "chat/admin", "an administrator"),
        ] {
            let token = authorizer.token(subject, scopes, LIFETIME)?;
            let _ = writeln!(tokens, "  {subject}, {who}:\n    TOKEN={token}");
        }
        Ok(Self { authorizer, tokens })
    }
}

async fn listen(port: u16, flag: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("port {port}: {error}; choose another with {flag}"))
}
