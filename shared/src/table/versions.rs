//! Changing profiles and conversations: only the version that was read is replaced, so a late attempt
//! can never undo a later change.

use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::attempts::Written;
use super::client::Table;
use super::items::{ConversationItem, ProfileItem, from_attributes};
use super::keys::Key;
use super::requests::number;
use crate::access::Protected;
use crate::{Error, IfMatch, Result};

/// An item with a version.
pub(super) trait Versioned: DeserializeOwned {
    fn version(&self) -> u64;
    /// The request that last changed it.
    fn written_by(&self) -> Uuid;
    fn protected(&self) -> Protected<'_>;
}

impl Versioned for ProfileItem {
    fn version(&self) -> u64 {
        self.version
    }

    fn written_by(&self) -> Uuid {
        self.written_by
    }

    fn protected(&self) -> Protected<'_> {
        self.protected()
    }
}

impl Versioned for ConversationItem {
    fn version(&self) -> u64 {
        self.version
    }

    fn written_by(&self) -> Uuid {
        self.written_by
    }

    fn protected(&self) -> Protected<'_> {
        self.protected()
    }
}

impl Table {
    /// Sets attributes of an item if `check` allows it, and adds 1 to its version. Sets nothing if
    /// `sets` is empty. If another change was stored first, it is applied to the changed item.
    ///
    /// # Errors
    /// Not found, those of `check`, 412, or unknown if an undecided attempt may have been replaced
    /// since.
    pub(super) async fn update_versioned<T: Versioned>(
        &self,
        key: Key,
        mut current: T,
        sets: &[(&str, String)],
        if_match: &IfMatch,
        check: impl Fn(&T) -> Result<()>,
    ) -> Result<T> {
        let written_by = Uuid::new_v4();
        let condition =
            "attribute_exists(pk) AND attribute_not_exists(deleted_at) AND version = :read";
        loop {
            check(&current)?;
            if_match.check(current.version())?;
            if sets.is_empty() {
                return Ok(current);
            }
            let written = ("written_by", written_by.to_string());
            let sets = sets.iter().cloned().chain([written]).collect();
            let request = self.update(key.clone(), condition, sets);
            let sets = request.get_update_expression().clone().unwrap_or_default();
            let request = request
                .update_expression(format!("{sets}, version = :new"))
                .expression_attribute_values(":read", number(current.version()))
                .expression_attribute_values(":new", number(current.version() + 1));
            let (reason, undecided) = match self.send_update(request).await? {
                Written::Stored(item) => return from_attributes(item),
                Written::Refused { reason, undecided } => (reason, undecided),
            };
            let absent = Error::NotFound(current.protected().kind);
            let found: T = from_attributes(reason.ok_or(absent)?)?;
            if found.written_by() == written_by {
                return Ok(found);
            }
            // A deletion keeps the version, but not who wrote it: that may have been this request.
            let known = current.version() + u64::from(!found.protected().deleted);
            if undecided && found.version() > known {
                return Err(Error::OutcomeUnknown("replaced by later changes".into()));
            }
            current = found;
        }
    }
}
