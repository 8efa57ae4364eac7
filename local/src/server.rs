//! The program: how it starts and what it prints.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, io};

use axum::http::Uri;
use functions::http::Auth;
use shared::{RateLimit, Table};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::authorizer::Authorizer;
use crate::database_file::one_line;
use crate::engine::{self, Engine};
use crate::gateway::Gateway;
use crate::hosts::AllowedHosts;
use crate::live::Live;
use crate::live::stream::{Records, stream};
pub use crate::options::{Options, parser_error};
use crate::template::Template;

/// The lifetime of the printed tokens.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// The longest wait for a connection to an external engine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves the API until `stop` completes, then waits at most three seconds for open requests.
///
/// # Errors
/// Why the server cannot start, in one line.
pub async fn run(
    options: &Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    options.check()?;
    let template = Template::parse()?;
    let listener = listen((options.host, options.port).into(), "--port").await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let storage = Storage::open(options).await?;
    storage.create_table(&template).await?;
    let auth = if options.auth { Auth::Jwt } else { Auth::Open };
    let table = storage.table.clone().with_rate_limit(RateLimit(options.posts_per_second));
    let mut gateway = Gateway::new(&template, table.clone(), auth)?
        .with_cors_origins(&options.cors_origins, &template.cors)?
        .with_hosts(AllowedHosts::default().with_address(options.host));
    if !options.quiet {
        gateway = gateway.with_request_log();
    }
    let mut text = addresses(address, options.auth, &storage);
    gateway = gateway.with_live(Live::start(table, storage.records));
    if options.auth {
        let authorizer = authorizer(options)?;
        text.push_str(&tokens(&authorizer)?);
        gateway = gateway.with_authorizer(Arc::new(authorizer));
    }
    text.push_str(&examples(address, options.auth));
    // An error means that stdout is closed, which must not end the server.
    let _ = io::stdout().write_all(text.as_bytes());
    gateway.serve(listener, stop).await.map_err(|error| error.to_string())
}

/// The table and the engine that holds it.
struct Storage {
    table: Table,
    name: String,
    /// The place of the table, for the developer.
    place: String,
    /// The address of the embedded engine, if its port is open.
    engine: Option<String>,
    /// The records of what is written to the table.
    records: Records,
}

impl Storage {
    async fn open(options: &Options) -> Result<Self, String> {
        let (tap, records) = stream();
        let name = env::var("TABLE_NAME").unwrap_or_else(|_| "chat".to_owned());
        if let Some(endpoint) = options.endpoint() {
            connect(endpoint).await?;
            let table = Table::connect(endpoint, &name);
            return Ok(Self { table, name, place: endpoint.to_owned(), engine: None, records });
        }
        let listener = match options.dynamodb_port {
            Some(port) => Some(listen(([127, 0, 0, 1], port).into(), "--dynamodb-port").await?),
            None => None,
        };
        let file = database_file(options);
        let embedded = Engine::tapped(engine::open(file)?, tap);
        let table = Table::with_http_client(engine::client(embedded.clone()), &name);
        let place = file.map_or_else(|| "memory".to_owned(), |file| file.display().to_string());
        let engine = listener.map(|listener| engine::serve(listener, embedded)).transpose()?;
        Ok(Self { table, name, place, engine, records })
    }

    async fn create_table(&self, template: &Template) -> Result<(), String> {
        self.table.create(&template.table).await.map_err(|error| {
            let cause = one_line(&root_cause(&error));
            format!("{}: cannot create the table {}: {cause}", self.place, self.name)
        })
    }
}

/// Returns the file of the embedded engine's database, `None` if it is in memory.
fn database_file(options: &Options) -> Option<&Path> {
    (!options.in_memory).then_some(&options.database)
}

/// Checks that an external engine can be reached.
async fn connect(endpoint: &str) -> Result<(), String> {
    let uri = endpoint.parse::<Uri>().ok();
    let default_port = match uri.as_ref().and_then(Uri::scheme_str) {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err(not_a_url(endpoint)),
    };
    let Some(authority) = uri.as_ref().and_then(Uri::authority) else {
        return Err(not_a_url(endpoint));
    };
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(default_port);
    match timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("cannot connect to the engine at {endpoint}: {error}")),
        Err(_) => Err(format!("cannot connect to the engine at {endpoint}: no response")),
    }
}

fn not_a_url(endpoint: &str) -> String {
    format!("--dynamodb-endpoint: '{endpoint}' is not a URL such as http://127.0.0.1:8000")
}

fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Returns the authorizer, with the key next to the database file if there is one.
fn authorizer(options: &Options) -> Result<Authorizer, String> {
    match database_file(options).filter(|_| options.endpoint().is_none()) {
        Some(file) => {
            let mut key = OsString::from(file);
            key.push(".key");
            Authorizer::load_or_generate(&PathBuf::from(key))
        }
        None => Authorizer::generate(),
    }
}

async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {} is in use: choose another with {flag}", address.port())
        }
        _ => format!("cannot listen on {address}: {error}; see {flag} and --host"),
    })
}

/// Returns the URL of the API on this machine.
fn url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    format!("http://{address}")
}

/// Returns the addresses to open, and where the data is.
fn addresses(address: SocketAddr, auth: bool, storage: &Storage) -> String {
    let url = url(address);
    let access = match auth {
        true => "Requests need an access token.",
        false => "Authentication is disabled: every caller may act as any profile.",
    };
    let mut text = format!(
        "Chat API. {access}\n\n  \
         Page       {url}/\n  \
         Reference  {url}/docs\n  \
         API        {url}\n"
    );
    if let Some(engine) = &storage.engine {
        let _ = writeln!(text, "  Engine     {engine}");
    }
    let Storage { name, place, .. } = storage;
    let _ = writeln!(text, "\nTable {name} in {place}.");
    if address.ip().is_unspecified() {
        let _ = writeln!(text, "Listens on every address of this machine.");
    }
    text.push('\n');
    text
}

/// Returns tokens for development, as shell commands.
fn tokens(authorizer: &Authorizer) -> Result<String, String> {
    let mut text = String::from("Access tokens, valid for 12 hours:\n");
    for (subject, scopes, role) in [
        ("ada", "chat/read chat/write", "a user"),
        ("grace", "chat/read chat/write", "another user"),
        ("operator", "chat/admin", "an administrator"),
    ] {
        let token = authorizer.token(subject, scopes, TOKEN_LIFETIME)?;
        let _ = writeln!(text, "  {subject}, {role}:\n    TOKEN={token}");
    }
    text.push('\n');
    Ok(text)
}

/// Returns commands to try.
fn examples(address: SocketAddr, auth: bool) -> String {
    let url = url(address);
    let token = if auth { "-H \"authorization: Bearer $TOKEN\" " } else { "" };
    let json = "-H 'content-type: application/json'";
    format!(
        "Try:\n  \
         curl {url}/profiles {token}{json} -d '{{\"first_name\":\"Ada\"}}'\n  \
         curl {token}{url}/profiles\n\n\
         Press Ctrl-C to stop.\n"
    )
}
