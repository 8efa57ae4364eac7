//! Editing and deleting messages.

use crate::access::Protected;
use crate::error::Conflict;
use crate::table::attempts::Written;
use crate::table::client::Table;
use crate::table::items::{MessageItem, from_attributes};
use crate::table::keys::Key;
use crate::table::requests::if_owned;
use crate::{Caller, ConversationId, Error, Kind, Message, MessagePatch, Metadata, Result, Seq};

/// The condition of every change: the message exists and is not deleted.
const UNDELETED: &str = "attribute_exists(pk) AND attribute_not_exists(deleted_at)";

impl Table {
    /// Changes the text or metadata of a message that a profile posted.
    pub async fn update_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        seq: Seq,
        patch: MessagePatch,
    ) -> Result<Message> {
        let item = self.message_item(caller, conversation_id, seq).await?;
        check_edit(&item, caller)?;
        let mut sets: Vec<(&str, String)> = Vec::new();
        sets.extend(patch.text.map(|text| ("text", text.into())));
        let metadata = patch.metadata.as_ref().map(Metadata::as_json);
        sets.extend(metadata.map(|metadata| ("metadata", metadata.to_owned())));
        if sets.is_empty() {
            let authors = self.authors(item.author_id).await?;
            return item.into_message(conversation_id, &authors);
        }
        sets.push(("edited_at", self.now().to_string()));
        let request = self.update(Key::message(conversation_id, seq), UNDELETED, sets);
        let item: MessageItem = match self.send_update(if_owned(request, caller)).await? {
            Written::Stored(item) => from_attributes(item)?,
            Written::Refused { reason: Some(item), .. } => {
                check_edit(&from_attributes(item)?, caller)?;
                return Err(Error::internal("an edit was refused without a reason"));
            }
            Written::Refused { reason: None, .. } => {
                return Err(Error::NotFound(MessageItem::KIND));
            }
        };
        let authors = self.authors(item.author_id).await.map_err(Error::after_a_write)?;
        item.into_message(conversation_id, &authors)
    }

    /// Deletes the text and metadata of a message that a profile posted. The message keeps its `seq`,
    /// and its author keeps the point.
    pub async fn delete_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        seq: Seq,
    ) -> Result<()> {
        let item = self.message_item(caller, conversation_id, seq).await?;
        check_change(&item, caller)?;
        if item.deleted_at.is_some() {
            return Ok(());
        }
        let sets = vec![
            ("text", String::new()),
            ("metadata", Metadata::default().as_json().to_owned()),
            ("deleted_at", self.now().to_string()),
        ];
        let request = self.update(Key::message(conversation_id, seq), UNDELETED, sets);
        match self.send_update(if_owned(request, caller)).await? {
            Written::Stored(_) => Ok(()),
            Written::Refused { reason: Some(item), .. } => {
                check_change(&from_attributes(item)?, caller)
            }
            Written::Refused { reason: None, .. } => Err(Error::NotFound(MessageItem::KIND)),
        }
    }
}

/// Checks that the caller may change the message. A congratulation has no owner and cannot be changed.
fn check_change(item: &MessageItem, caller: &Caller) -> Result<()> {
    match (item.kind, &item.owner) {
        (Kind::Text, Some(owner)) => {
            caller.check_change(&Protected { kind: MessageItem::KIND, owner, deleted: false })
        }
        _ => Err(Error::Conflict(Conflict::Congratulation)),
    }
}

/// Checks that the caller may edit the message.
fn check_edit(item: &MessageItem, caller: &Caller) -> Result<()> {
    check_change(item, caller)?;
    match item.deleted_at {
        Some(_) => Err(Error::Conflict(Conflict::DeletedMessage)),
        None => Ok(()),
    }
}
