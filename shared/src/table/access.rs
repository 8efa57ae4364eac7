//! Checking access to a conversation. [`crate::access`] decides; this module reads what the
//! decision needs.
//!
//! What the caller's profiles are in a conversation is one item, `ACCESS#…`, however many they are.
//! It is read only if it matters: not in public conversations, except for what moderators may do,
//! and not for the conversation's owner or an administrator.
//!
//! A read checks access last: after everything that it shows was read. So it shows nothing that was
//! posted after the caller's removal was answered. [`Table::show`] is the only way to render what
//! was read, and it checks access in the request that reads the authors.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use super::client::Table;
use super::items::{AccessItem, ConversationItem};
use super::keys::Key;
use crate::access::{Action, Standing, Verdict};
use crate::{Caller, Error, Profile, ProfileId, Result};

/// A conversation that was read for a caller, who may not be allowed to see it.
pub(super) struct View<'c> {
    pub(super) caller: &'c Caller,
    pub(super) conversation: ConversationItem,
    /// Set once the caller was allowed to see it.
    seen: OnceLock<()>,
}

impl<'c> View<'c> {
    /// Errors: [`Error::NotFound`] if the conversation is absent or marked deleted.
    pub(super) fn new(found: Option<ConversationItem>, caller: &'c Caller) -> Result<Self> {
        let not_found = Error::NotFound(ConversationItem::KIND);
        let live = found.filter(|item| item.deleted_at.is_none());
        Ok(Self { caller, conversation: live.ok_or(not_found)?, seen: OnceLock::new() })
    }

    /// Decides an action without reading more; `None` if that is not possible.
    pub(super) fn judge_early(&self, action: Action<'_>) -> Option<Verdict> {
        let ConversationItem { visibility, .. } = self.conversation;
        self.caller.judge_early(&self.conversation.protected(), visibility, action)
    }

    /// Checks an action by what the caller's profiles are.
    pub(super) fn check(&self, standing: Standing, action: Action<'_>) -> Result<()> {
        let ConversationItem { visibility, .. } = self.conversation;
        let protected = self.conversation.protected();
        let verdict = self.caller.judge(&protected, visibility, standing, action);
        verdict.into_result(ConversationItem::KIND)
    }

    /// The key of what the caller's profiles are in this conversation.
    pub(super) fn access_key(&self) -> Key {
        Key::access(self.conversation.id, self.caller.subject())
    }
}

impl Table {
    /// Checks that the caller may do this. Reads what the caller's profiles are, if that matters.
    pub(super) async fn check(&self, view: &View<'_>, action: Action<'_>) -> Result<()> {
        if let Some(verdict) = view.judge_early(action) {
            return verdict.into_result(ConversationItem::KIND);
        }
        let item: Option<AccessItem> = self.get_one(view.access_key()).await?;
        view.check(item.unwrap_or_default().standing(), action)
    }

    /// Checks, once for each view, that the caller may see the conversation. Whoever may not causes
    /// no write and no wait.
    pub(super) async fn check_once(&self, view: &View<'_>) -> Result<()> {
        if view.seen.get().is_none() {
            self.check(view, Action::Read).await?;
            let _ = view.seen.set(());
        }
        Ok(())
    }

    /// Returns the profiles of authors, and checks that the caller may see the conversation: the
    /// last read of a request that shows it. Deleted profiles are absent.
    pub(super) async fn show(
        &self,
        view: &View<'_>,
        authors: impl IntoIterator<Item = ProfileId>,
    ) -> Result<HashMap<ProfileId, Profile>> {
        let ids: HashSet<ProfileId> = authors.into_iter().collect();
        let profiles = ids.iter().map(|id| Key::profile(*id));
        let matters = view.judge_early(Action::Read).is_none();
        let access = view.access_key();
        let mut found = self.get(profiles.chain(matters.then(|| access.clone()))).await?;
        let item: Option<AccessItem> = found.take(&access)?;
        view.check(item.unwrap_or_default().standing(), Action::Read)?;
        found.take_profiles(ids)
    }
}
