//! The file of a database, and the format of what this program stores in it.

use std::path::Path;

use dynoxide::Database;
use rusqlite::Connection;

/// The format of the items. Increase it when a new version cannot read what an older one has
/// stored. It is in SQLite's `user_version`; a database without one is older than format 2.
const FORMAT: i64 = 3;

/// Opens a database file. Creates it if absent.
///
/// # Errors
/// The file cannot be used, in one line that names it.
pub(crate) fn open(file: &Path) -> Result<Database, String> {
    let named = |error: String| format!("{}: {}", file.display(), one_line(&error));
    let path = file.to_str().ok_or_else(|| named("the path is not UTF-8".into()))?;
    if file.is_dir() {
        return Err(named("is a directory, not a database file".into()));
    }
    let unusable = |error: rusqlite::Error| format!("not a usable database file: {error}");
    claim_format(path).map_err(unusable).and_then(check).map_err(named)?;
    Database::new(path).map_err(|error| named(format!("not a usable database file: {error}")))
}

/// Returns the format of a database. An empty one gets the format of this version.
fn claim_format(path: &str) -> rusqlite::Result<i64> {
    let connection = Connection::open(path)?;
    let number = |query| connection.query_row(query, [], |row| row.get::<_, i64>(0));
    if number("SELECT count(*) FROM sqlite_master")? == 0 {
        connection.pragma_update(None, "user_version", FORMAT)?;
    }
    number("PRAGMA user_version")
}

fn check(format: i64) -> Result<(), String> {
    if format == FORMAT {
        return Ok(());
    }
    let age = if format < FORMAT { "an older" } else { "a newer" };
    Err(format!(
        "was written by {age} version of this program: move it away, or pass another file with \
         --database"
    ))
}

/// Returns a text in one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
