//! Scheduled work.

use shared::{Error, Result, Table};

/// Scheduled function `purge-deleted`: removes the items of conversations that were deleted at least
/// 10 minutes ago. Fails if a conversation could not be purged: Lambda counts the failed invocation in
/// the metric `Errors`, which has an alarm.
pub async fn purge_deleted(table: Table) -> Result<()> {
    let purged = table.purge_deleted().await?;
    let (removed, failed) = (purged.removed, purged.failed);
    tracing::info!(removed, failed, "deleted conversations purged");
    match failed {
        0 => Ok(()),
        _ => Err(Error::internal(format!("{failed} conversations could not be purged"))),
    }
}
