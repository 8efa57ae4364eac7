//! Editing and deleting messages. Each is one transaction that also counts the change, so that
//! followers learn of it and a late attempt can never undo a later change.

use aws_sdk_dynamodb::types::{Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use uuid::Uuid;

use crate::access::Action;
use crate::error::Conflict;
use crate::table::access::View;
use crate::table::attempts::Effect;
use crate::table::changes::{MAX_THROTTLED, MAX_TRANSACTIONS};
use crate::table::client::Table;
use crate::table::items::{ChangesItem, MessageItem, to_attributes};
use crate::table::keys::Key;
use crate::table::requests::number;
use crate::table::transactions::{Decision, Slot};
use crate::{
    Caller, ConversationId, Error, IfMatch, Kind, Message, MessagePatch, Metadata, Result, Seq,
};

impl Table {
    /// Changes the text or metadata of a message that a profile posted.
    pub async fn update_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        seq: Seq,
        patch: MessagePatch,
        if_match: &IfMatch,
    ) -> Result<Message> {
        let unchanged = patch.text.is_none() && patch.metadata.is_none();
        let edit = |item: &MessageItem| {
            if item.deleted_at.is_some() {
                return Err(Error::Conflict(Conflict::DeletedMessage));
            }
            if_match.check(item.change)?;
            if unchanged {
                return Ok(None);
            }
            let mut edited = MessageItem { edited_at: Some(self.now()), ..item.clone() };
            if let Some(text) = &patch.text {
                edited.text = text.clone().into();
            }
            if let Some(patch) = &patch.metadata {
                let current =
                    Metadata::from_json(item.metadata.clone()).map_err(Error::internal)?;
                let merged = patch.apply(&current);
                let merged = merged.map_err(|reason| Error::invalid("metadata", reason))?;
                edited.metadata = merged.as_json().to_owned();
            }
            Ok(Some(edited))
        };
        let change = self.change_message(
            caller,
            conversation_id,
            seq,
            |owner| Action::EditMessage { owner },
            edit,
        );
        let (item, written) = change.await?;
        let authors = self.authors(item.author_id).await;
        let authors =
            authors.map_err(|error| if written { error.after_a_write() } else { error })?;
        item.into_message(conversation_id, &authors)
    }

    /// Deletes the text and metadata of a message that a profile posted. The message keeps its `seq`,
    /// and its author keeps the point.
    pub async fn delete_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        seq: Seq,
        if_match: &IfMatch,
    ) -> Result<()> {
        let delete = |item: &MessageItem| {
            if item.deleted_at.is_some() {
                return Ok(None);
            }
            if_match.check(item.change)?;
            Ok(Some(MessageItem {
                text: String::new(),
                metadata: Metadata::default().as_json().to_owned(),
                deleted_at: Some(self.now()),
                ..item.clone()
            }))
        };
        let change = self.change_message(
            caller,
            conversation_id,
            seq,
            |owner| Action::DeleteMessage { owner },
            delete,
        );
        change.await.map(drop)
    }

    /// Changes a message if the caller may do this to the messages of its owner. `change` returns
    /// the message to store; `None` if nothing changes. It is called again if another change was
    /// stored first. Returns the message, and whether it was stored.
    async fn change_message(
        &self,
        caller: &Caller,
        id: ConversationId,
        seq: Seq,
        action: fn(&str) -> Action<'_>,
        change: impl Fn(&MessageItem) -> Result<Option<MessageItem>>,
    ) -> Result<(MessageItem, bool)> {
        let (mut item, mut last_change) =
            self.read_message_to_change(caller, id, seq, action).await?;
        let attempts = self.attempts(Effect::Transaction).limited(MAX_TRANSACTIONS);
        let mut attempts = attempts.throttled_at_most(MAX_THROTTLED);
        loop {
            let Some(changed) = change(&item)? else { return Ok((item, false)) };
            let changed = MessageItem { change: last_change + 1, ..changed };
            let put = Put::builder()
                .table_name(&*self.name)
                .set_item(Some(to_attributes(&changed)?))
                .condition_expression("attribute_exists(pk) AND #change = :read")
                .expression_attribute_names("#change", "change")
                .expression_attribute_values(":read", number(item.change))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            let put = put.build().map_err(Error::internal)?;
            let mut writes = self.change_writes(id, last_change, Some(seq))?;
            writes.push((Slot::Message, TransactWriteItem::builder().put(put).build()));
            match attempts.transact(writes, Uuid::new_v4()).await? {
                Decision::Committed => return Ok((changed, true)),
                // The returned values are current, so the next attempt follows immediately.
                Decision::Refused(reasons) => {
                    if let Some(counter) = reasons.refused::<ChangesItem>(Slot::Counter)? {
                        last_change = counter.unwrap_or_default().last_change;
                    }
                    if let Some(current) = reasons.refused(Slot::Message)? {
                        item = current.ok_or(Error::NotFound(MessageItem::KIND))?;
                    }
                }
                Decision::Conflict(reasons) => {
                    attempts.pause_after(reasons.into_failure()).await?;
                    let read = self.read_message_to_change(caller, id, seq, action);
                    (item, last_change) = read.await?;
                }
            }
        }
    }

    /// Reads a message that the caller may change, and the conversation's last change. Only
    /// messages that a profile posted can be changed.
    async fn read_message_to_change(
        &self,
        caller: &Caller,
        id: ConversationId,
        seq: Seq,
        action: fn(&str) -> Action<'_>,
    ) -> Result<(MessageItem, u64)> {
        let keys = [Key::conversation(id), Key::message(id, seq), Key::changes(id)];
        let mut found = self.get(keys.clone()).await?;
        let view = View::new(found.take(&keys[0])?, caller)?;
        let item: Option<MessageItem> = found.take(&keys[1])?;
        let owner = item.as_ref().and_then(|item| item.owner.as_deref());
        self.check(&view, owner.map_or(Action::Read, action)).await?;
        let item = item.ok_or(Error::NotFound(MessageItem::KIND))?;
        match item.kind {
            Kind::Text => {}
            Kind::Action => return Err(Error::Conflict(Conflict::Congratulation)),
            Kind::Void => return Err(Error::Conflict(Conflict::Void)),
        }
        let counter: Option<ChangesItem> = found.take(&keys[2])?;
        Ok((item, counter.unwrap_or_default().last_change))
    }
}
