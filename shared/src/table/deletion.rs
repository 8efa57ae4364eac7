//! Deletion of conversations and profiles: each is marked first, and its items are removed later.
//!
//! While requests that started before the mark may still write, nothing is removed. Otherwise a
//! late transaction could store a message in a conversation that has been removed, or a member of a
//! profile that has been.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, DeleteRequest, Put, ReturnConsumedCapacity,
    TransactWriteItem, WriteRequest,
};
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::access::View;
use super::attempts::{Effect, Failure, Written, classify};
use super::client::Table;
use super::items::{ConversationItem, ProfileItem, from_attributes};
use super::keys::{Attributes, DELETED, Key, PROFILE_SK, conversation_pk};
use super::requests::{Entry, if_owned, if_version};
use super::transactions::{Decision, Slot, Writes};
use crate::access::Action;
use crate::{Caller, ConversationId, Error, IfMatch, Result, Time};

/// The time from a deletion to the removal of the items. No request lasts that long.
pub(super) const RETENTION: Duration = Duration::from_secs(10 * 60);

/// The deletions that one query of the index returns.
const PAGE: usize = 50;

/// The result of one run of `purge-deleted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Conversations and profiles that were removed completely.
    pub removed: usize,
    /// Conversations and profiles that failed, which the next run tries again.
    pub failed: usize,
}

impl Table {
    /// Deletes a conversation: marks it, so that no caller can see it. Its items are removed by
    /// [`Table::purge_deleted`], at the earliest after 10 minutes.
    pub async fn delete_conversation(
        &self,
        caller: &Caller,
        id: ConversationId,
        if_match: &IfMatch,
    ) -> Result<()> {
        let written_by = Uuid::new_v4();
        let request = if_owned(self.mark_deleted(Key::conversation(id), written_by), caller);
        let found: Option<ConversationItem> =
            match self.send_update(if_version(request, if_match)).await? {
                Written::Stored(_) => None,
                Written::Refused { reason, .. } => {
                    let found: Option<ConversationItem> =
                        reason.map(from_attributes).transpose()?;
                    Some(found.ok_or(Error::NotFound(ConversationItem::KIND))?)
                }
            };
        let Some(found) = found.filter(|found| found.written_by != written_by) else {
            self.put_ended(id).await;
            return Ok(());
        };
        // Later the purge may be removing the conversation, and would leave this item behind.
        let recent = |deleted_at| !self.is_due(deleted_at, RETENTION / 2);
        if caller.acts_for(&found.owner) && found.deleted_at.is_some_and(recent) {
            self.put_ended(id).await;
        }
        let view = View::new(Some(found), caller)?;
        self.check(&view, Action::DeleteConversation).await?;
        if_match.check(view.conversation.version)?;
        Err(Error::internal("a deletion was refused without a reason"))
    }

    /// Builds the update that marks a conversation or a profile deleted, unless it is.
    pub(super) fn mark_deleted(&self, key: Key, written_by: Uuid) -> UpdateItemFluentBuilder {
        let sets = vec![
            ("deleted_at", self.now().to_string()),
            ("listing", DELETED.into()),
            ("written_by", written_by.to_string()),
        ];
        let condition = "attribute_exists(pk) AND attribute_not_exists(deleted_at)";
        self.update(key, condition, sets)
    }

    /// Returns whether a deletion is at least this long ago.
    fn is_due(&self, deleted_at: Time, age: Duration) -> bool {
        self.now().since(deleted_at) >= age
    }

    /// Records that a conversation has ended, unless that is recorded. Best effort: a repeated deletion
    /// and the purge do it again.
    async fn put_ended(&self, id: ConversationId) {
        let request = self
            .client
            .put_item()
            .table_name(&*self.name)
            .set_item(Some(Key::ended(id).into_attributes()))
            .condition_expression("attribute_not_exists(pk)")
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match self.attempts(Effect::Write).send(request.send()).await {
            Ok(output) => self.count_written(output.consumed_capacity()),
            Err(error) if is_recorded(&error) => {}
            Err(error) => {
                let error = Error::Unavailable(error.into());
                tracing::warn!(error = error.chain(), "end not recorded");
            }
        }
    }

    /// Removes the conversations and profiles that were deleted at least 10 minutes ago, until the
    /// deadline. One that fails does not stop the others. One that is unfinished at the deadline has
    /// not failed, unless the run has removed nothing at all.
    ///
    /// # Errors
    /// If the list of what is deleted cannot be read.
    pub async fn purge_deleted(&self) -> Result<Purged> {
        let (mut purged, mut before) = (Purged::default(), None);
        loop {
            let listed = self.list(DELETED, PAGE, before).await?;
            for Entry { key, .. } in listed.entries {
                let purge = async {
                    match key.sk == PROFILE_SK {
                        true => self.purge_profile(key).await,
                        false => self.purge_conversation(key).await,
                    }
                };
                match purge.await {
                    Ok(removed) => purged.removed += usize::from(removed),
                    Err(_) if self.is_out_of_time() && self.usage().write_units > 0.0 => {
                        return Ok(purged);
                    }
                    Err(error) => {
                        tracing::warn!(error = error.chain(), "deletion not completed");
                        purged.failed += 1;
                        if self.is_out_of_time() {
                            return Ok(purged);
                        }
                    }
                }
            }
            if listed.next.is_none() {
                return Ok(purged);
            }
            before = listed.next;
        }
    }

    /// Removes a conversation's items, and at last the conversation. Returns whether it was removed.
    async fn purge_conversation(&self, key: Key) -> Result<bool> {
        let Some(item) = self.get_one::<ConversationItem>(key.clone()).await? else {
            return Ok(false);
        };
        let Some(deleted_at) = item.deleted_at else { return Ok(false) };
        let ended = Key::ended(item.id);
        if self.get_one::<IgnoredAny>(ended.clone()).await?.is_none() {
            self.record_end(key.clone(), ended.clone()).await?;
        }
        if !self.is_due(deleted_at, RETENTION) {
            return Ok(false);
        }
        let request = self
            .client
            .query()
            .table_name(&*self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(conversation_pk(item.id)))
            .projection_expression("pk, sk")
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let last = [key.into_attributes(), ended.into_attributes()];
        loop {
            // The items found are removed before the next query, so each query starts at the first.
            let page = self.send_read(|| request.clone().send()).await?;
            self.count_read(page.consumed_capacity());
            let others = page.items().iter().filter(|item| !last.contains(item));
            let others: Vec<Attributes> = others.cloned().collect();
            for keys in others.chunks(25) {
                self.remove(keys).await?;
            }
            if others.is_empty() && page.last_evaluated_key().is_none() {
                break;
            }
        }
        self.remove_last(last).await?;
        Ok(true)
    }

    /// Removes a profile's memberships, and the profile once the index shows none. Returns whether
    /// it was removed.
    ///
    /// A membership that was added a moment before the deletion may be missing in the index at
    /// first. It has appeared there 10 minutes later.
    async fn purge_profile(&self, key: Key) -> Result<bool> {
        let Some(item) = self.get_one::<ProfileItem>(key.clone()).await? else {
            return Ok(false);
        };
        let Some(deleted_at) = item.deleted_at else { return Ok(false) };
        let due = self.is_due(deleted_at, RETENTION);
        let forgotten = self.forget_profile(item.id, &item.owner).await?;
        if due && forgotten {
            self.remove(&[key.into_attributes()]).await?;
        }
        Ok(due && forgotten)
    }

    /// Records that a conversation has ended, unless that is recorded or the conversation is gone.
    ///
    /// Another run may be removing the conversation. So this is a transaction that needs it, and
    /// [`Table::remove_last`] removes both together: a late attempt leaves nothing behind.
    async fn record_end(&self, conversation: Key, ended: Key) -> Result<()> {
        let check = ConditionCheck::builder()
            .table_name(&*self.name)
            .set_key(Some(conversation.into_attributes()))
            .condition_expression("attribute_exists(pk)");
        let put = Put::builder()
            .table_name(&*self.name)
            .set_item(Some(ended.into_attributes()))
            .condition_expression("attribute_not_exists(pk)");
        let (check, put) =
            (check.build().map_err(Error::internal)?, put.build().map_err(Error::internal)?);
        let writes = vec![
            (Slot::Conversation, TransactWriteItem::builder().condition_check(check).build()),
            (Slot::Ended, TransactWriteItem::builder().put(put).build()),
        ];
        self.transact_surely(writes).await
    }

    /// Removes the last two items of a conversation.
    async fn remove_last(&self, [conversation, ended]: [Attributes; 2]) -> Result<()> {
        let delete = |key| {
            let delete = Delete::builder().table_name(&*self.name).set_key(Some(key)).build();
            let delete = delete.map_err(Error::internal)?;
            Ok::<_, Error>(TransactWriteItem::builder().delete(delete).build())
        };
        let writes =
            vec![(Slot::Conversation, delete(conversation)?), (Slot::Ended, delete(ended)?)];
        self.transact_surely(writes).await
    }

    /// Sends a transaction until it is stored or a condition fails.
    async fn transact_surely(&self, writes: Writes) -> Result<()> {
        let token = Uuid::new_v4();
        let mut attempts = self.attempts(Effect::Transaction);
        loop {
            match attempts.transact(writes.clone(), token).await? {
                Decision::Committed | Decision::Refused(_) => return Ok(()),
                Decision::Conflict(reasons) => attempts.pause_after(reasons.into_failure()).await?,
            }
        }
    }

    /// Removes up to 25 items.
    pub(super) async fn remove(&self, keys: &[Attributes]) -> Result<()> {
        let mut wanted = Vec::new();
        for key in keys {
            let delete = DeleteRequest::builder().set_key(Some(key.clone()));
            let delete = delete.build().map_err(Error::internal)?;
            wanted.push(WriteRequest::builder().delete_request(delete).build());
        }
        self.write_batch(wanted).await
    }

    /// Puts and removes up to 25 items, without conditions.
    pub(super) async fn write_batch(&self, mut wanted: Vec<WriteRequest>) -> Result<()> {
        let mut attempts = self.attempts(Effect::Write);
        loop {
            let request = self
                .client
                .batch_write_item()
                .request_items(&*self.name, wanted.clone())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let failure = match attempts.send(request.send()).await {
                Err(error) => classify(error),
                Ok(output) => {
                    self.count_written(output.consumed_capacity());
                    let tables = output.unprocessed_items;
                    match tables.and_then(|mut tables| tables.remove(&*self.name)) {
                        Some(left) if !left.is_empty() => wanted = left,
                        _ => return Ok(()),
                    }
                    Failure::Refused("unprocessed items".into())
                }
            };
            attempts.pause_after(failure).await?;
        }
    }
}

/// Returns whether a record was refused because it exists.
fn is_recorded<R>(error: &SdkError<PutItemError, R>) -> bool {
    matches!(error.as_service_error(), Some(PutItemError::ConditionalCheckFailedException(_)))
}
