//! Messages in the table: pages without holes, editing, deleting. How they are posted is in `posting.rs`.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::attempts::{Effect, Failure};
use super::conversations::{self, ConversationItem};
use super::keys::{Key, conversation_pk, message_sk, seq_of};
use super::{Table, owned, read};
use crate::{
    Caller, ConversationId, Error, Kind, Limit, Message, MessagePatch, Metadata, Page, Profile, ProfileId, Result, Seq, Time,
};

/// The item of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MessageItem {
    #[serde(flatten)]
    pub(super) key: Key,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) author_id: Option<ProfileId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    pub(super) text: String,
    /// As JSON text: DynamoDB's own types refuse empty keys, deep nesting and long numbers.
    pub(super) metadata: String,
    pub(super) points: u64,
    /// Whose post this is: an id of the request that posted it, by which it knows its own when an answer was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) posted_by: Option<Uuid>,
    pub(super) created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edited_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<Time>,
}

impl MessageItem {
    pub(super) fn seq(&self) -> Seq {
        seq_of(&self.key.sk).unwrap_or(Seq::new(0))
    }

    pub(super) fn into_message(self, conversation_id: ConversationId, authors: &HashMap<ProfileId, Profile>) -> Result<Message> {
        Ok(Message {
            conversation_id,
            seq: self.seq(),
            kind: self.kind,
            author_id: self.author_id,
            author: self.author_id.and_then(|id| authors.get(&id).cloned()),
            text: self.text,
            metadata: Metadata::from_json(self.metadata).map_err(Error::internal)?,
            points: self.points,
            created_at: self.created_at,
            edited_at: self.edited_at,
            deleted_at: self.deleted_at,
        })
    }
}

/// Where a page of messages starts, and which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// From the newest message back.
    Newest,
    /// From this place back, itself excluded.
    Before(Seq),
    /// From this place on, itself excluded: for clients that poll.
    After(Seq),
}

const NOT_FOUND: Error = Error::NotFound("message");

impl Table {
    /// A page of messages, strongly consistent.
    pub async fn list_messages(&self, conversation_id: ConversationId, cursor: Cursor, limit: Limit) -> Result<Page<Message>> {
        let (_, items, next) = self.message_items(conversation_id, cursor, limit).await?;
        let authors = self.profiles(items.iter().filter_map(|item| item.author_id)).await?;
        let results = items.into_iter().map(|item| item.into_message(conversation_id, &authors)).collect::<Result<_>>()?;
        Ok(Page { results, next })
    }

    /// The conversation, a page of its messages, and the path of the following page.
    ///
    /// Even a strongly consistent Query can see one item of a transaction and not yet another. A page shows nothing that stands
    /// beyond such a hole: on the way back it is read again; on the way on it ends there, and the rest comes with the next poll.
    pub(super) async fn message_items(
        &self,
        id: ConversationId,
        cursor: Cursor,
        limit: Limit,
    ) -> Result<(ConversationItem, Vec<MessageItem>, Option<String>)> {
        let mut attempts = self.attempts(Effect::Read);
        let (conversation, mut items) = loop {
            // Both each time: a conversation may be deleted, and its messages with it, while it is read.
            let (conversation, items) = tokio::join!(self.conversation_item(id), self.query_messages(id, cursor, limit));
            let (conversation, items) = (conversation?.ok_or(conversations::NOT_FOUND)?, items?);
            if matches!(cursor, Cursor::After(_)) || is_whole(&items, cursor, limit, conversation.last_seq) {
                break (conversation, items);
            }
            attempts.after(Failure::Refused("a page of messages with a hole".into())).await?;
        };
        let next = match cursor {
            Cursor::After(after) => {
                let unbroken = items.iter().zip(after.get() + 1..).take_while(|(item, seq)| item.seq().get() == *seq).count();
                items.truncate(unbroken);
                let full = items.len() == limit.get();
                let last = items.last().filter(|last| full && last.seq() < conversation.last_seq);
                last.map(|last| format!("after={}", last.seq()))
            }
            Cursor::Newest | Cursor::Before(_) => {
                items.last().filter(|last| last.seq() > Seq::FIRST).map(|last| format!("before={}", last.seq()))
            }
        };
        Ok((conversation, items, next.map(|from| format!("/conversations/{id}/messages?limit={limit}&{from}"))))
    }

    /// The message items of a page, as the table shows them.
    async fn query_messages(&self, id: ConversationId, cursor: Cursor, limit: Limit) -> Result<Vec<MessageItem>> {
        let (first, last) = match cursor {
            Cursor::Newest => (1, Seq::MAX),
            Cursor::Before(before) => (1, before.get().saturating_sub(1)),
            Cursor::After(after) => (after.get() + 1, Seq::MAX),
        };
        let mut items = Vec::new();
        if first > last {
            return Ok(items);
        }
        let mut request = self
            .client
            .query()
            .table_name(&*self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", AttributeValue::S(conversation_pk(id)))
            .expression_attribute_values(":first", AttributeValue::S(message_sk(Seq::new(first))))
            .expression_attribute_values(":last", AttributeValue::S(message_sk(Seq::new(last))))
            .scan_index_forward(matches!(cursor, Cursor::After(_)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        loop {
            // A Query ends at 1 MB, which may be less than the page.
            request = request.limit(i32::try_from(limit.get() - items.len()).unwrap_or(i32::MAX));
            let output = self.send_read(|| request.clone().send()).await?;
            self.count_read(output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                items.push(read::<MessageItem>(item)?);
            }
            match output.last_evaluated_key {
                Some(key) if items.len() < limit.get() => request = request.set_exclusive_start_key(Some(key)),
                _ => return Ok(items),
            }
        }
    }

    /// A message, strongly consistent.
    pub async fn get_message(&self, conversation_id: ConversationId, seq: Seq) -> Result<Message> {
        let item = self.message_item(conversation_id, seq).await?;
        let authors = self.profiles(item.author_id).await?;
        item.into_message(conversation_id, &authors)
    }

    /// The item of a message, unless its conversation is deleted.
    async fn message_item(&self, conversation_id: ConversationId, seq: Seq) -> Result<MessageItem> {
        let keys = [Key::conversation(conversation_id), Key::message(conversation_id, seq)];
        let mut found = self.get(keys.clone()).await?;
        found.take::<ConversationItem>(&keys[0])?.and_then(ConversationItem::live).ok_or(conversations::NOT_FOUND)?;
        found.take(&keys[1])?.ok_or(NOT_FOUND)
    }

    /// Changes what the patch names, if the caller may: the text or metadata of a message that someone posted and nobody deleted.
    pub async fn update_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        seq: Seq,
        patch: MessagePatch,
    ) -> Result<Message> {
        let item = self.message_item(conversation_id, seq).await?;
        editable(&item, caller)?;
        let mut sets: Vec<(&str, String)> = Vec::new();
        sets.extend(patch.text.map(|text| ("text", text.into())));
        sets.extend(patch.metadata.map(|metadata| ("metadata", metadata.as_json().to_owned())));
        let written = !sets.is_empty();
        let item = if !written {
            item
        } else {
            sets.push(("edited_at", Time::now().to_string()));
            let condition = "attribute_exists(pk) AND attribute_not_exists(deleted_at)";
            let request = self.update(Key::message(conversation_id, seq), condition, sets);
            match self.send_update(owned(request, caller)).await? {
                Ok(item) => read(item)?,
                Err(Some(item)) => {
                    return editable(&read(item)?, caller).and(Err(Error::internal("an edit was refused without a reason")));
                }
                Err(None) => return Err(NOT_FOUND),
            }
        };
        let authors = self.profiles(item.author_id).await;
        let authors = authors.map_err(|error| if written { error.after_a_write() } else { error })?;
        item.into_message(conversation_id, &authors)
    }

    /// Empties a message that someone posted, if the caller may. It keeps its place, and its author the point.
    pub async fn delete_message(&self, caller: &Caller, conversation_id: ConversationId, seq: Seq) -> Result<()> {
        let item = self.message_item(conversation_id, seq).await?;
        changeable(&item, caller)?;
        if item.deleted_at.is_some() {
            return Ok(());
        }
        let sets = vec![
            ("text", String::new()),
            ("metadata", Metadata::default().as_json().to_owned()),
            ("deleted_at", Time::now().to_string()),
        ];
        let condition = "attribute_exists(pk) AND attribute_not_exists(deleted_at)";
        let request = self.update(Key::message(conversation_id, seq), condition, sets);
        match self.send_update(owned(request, caller)).await? {
            Ok(_) => Ok(()),
            Err(Some(item)) => changeable(&read(item)?, caller),
            Err(None) => Err(NOT_FOUND),
        }
    }
}

/// Refuses to change a congratulation, or what belongs to someone else.
fn changeable(item: &MessageItem, caller: &Caller) -> Result<()> {
    match (item.kind, &item.owner) {
        (Kind::Text, Some(owner)) => caller.check(owner),
        _ => Err(Error::Conflict("A congratulation cannot be edited or deleted.")),
    }
}

/// Refuses to edit what may not be changed, or is deleted.
fn editable(item: &MessageItem, caller: &Caller) -> Result<()> {
    changeable(item, caller)?;
    if item.deleted_at.is_some() {
        return Err(Error::Conflict("A deleted message cannot be edited."));
    }
    Ok(())
}

/// Whether a page on the way back has no hole: it starts no lower than it must, goes down by one, and ends at its limit or at
/// the first message.
fn is_whole(items: &[MessageItem], cursor: Cursor, limit: Limit, last_seq: Seq) -> bool {
    let highest = match cursor {
        Cursor::Before(before) => last_seq.get().min(before.get().saturating_sub(1)),
        Cursor::Newest | Cursor::After(_) => last_seq.get(),
    };
    let (Some(first), Some(last)) = (items.first(), items.last()) else { return highest == 0 };
    let by_one = items.windows(2).all(|pair| pair[0].seq() == pair[1].seq().next());
    first.seq().get() >= highest && by_one && (items.len() == limit.get() || last.seq() == Seq::FIRST)
}
