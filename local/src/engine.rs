//! The embedded DynamoDB-compatible engine, which listens on a port of its own so that other tools can share it.

use std::path::Path;

use dynoxide::Database;
use tokio::net::TcpListener;

/// Opens a database: a file, or memory when there is none.
///
/// # Errors
/// Why the file cannot be used, in one line.
pub fn open(file: Option<&Path>) -> Result<Database, String> {
    match file {
        None => Database::memory().map_err(|error| error.to_string()),
        Some(file) => {
            let path = file.to_str().ok_or_else(|| format!("{}: not a UTF-8 path", file.display()))?;
            Database::new(path).map_err(|error| format!("{path}: {error}"))
        }
    }
}

/// Serves a database in the background, and answers where.
///
/// # Errors
/// When the listener has no address.
pub fn serve(listener: TcpListener, database: Database) -> Result<String, String> {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(format!("http://{address}"))
}
