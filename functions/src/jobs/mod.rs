//! Scheduled work.

use shared::{Error, Result, Table};

/// Scheduled function `purge-deleted`: removes the items of conversations and profiles that were
/// deleted at least 10 minutes ago. Fails if one could not be purged: Lambda counts the failed
/// invocation in the metric `Errors`, which has an alarm.
pub async fn purge_deleted(table: Table) -> Result<()> {
    let purged = table.purge_deleted().await?;
    let (removed, failed) = (purged.removed, purged.failed);
    tracing::info!(removed, failed, "deletions purged");
    match failed {
        0 => Ok(()),
        _ => Err(Error::internal(format!("{failed} deletions could not be completed"))),
    }
}
