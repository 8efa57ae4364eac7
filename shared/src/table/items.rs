//! The items of the table, as DynamoDB stores them.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{Attributes, Key, seq_of};
use crate::access::Protected;
use crate::profile::full_name;
use crate::rate::Bucket;
use crate::{
    Caller, Conversation, ConversationId, Error, Kind, Message, Metadata, Profile, ProfileId,
    Result, Seq, Time,
};

/// Parses an item. One that does not parse is a bug: only this code writes to the table.
pub(super) fn from_attributes<T: DeserializeOwned>(attributes: Attributes) -> Result<T> {
    serde_dynamo::from_item(attributes).map_err(Error::internal)
}

/// Renders an item.
pub(super) fn to_attributes(item: &impl Serialize) -> Result<Attributes> {
    serde_dynamo::to_item(item).map_err(Error::internal)
}

/// A profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ProfileItem {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) id: ProfileId,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) job_title: String,
    pub(super) points: u64,
    pub(super) is_admin: bool,
    pub(super) owner: String,
    /// The tokens of the rate limit, and when the profile had this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tokens_at: Option<Time>,
    pub(super) version: u64,
    /// The request that last changed the profile.
    pub(super) written_by: Uuid,
    pub(super) created_at: Time,
    pub(super) listing: String,
}

impl ProfileItem {
    pub(super) const KIND: &str = "profile";

    pub(super) fn protected(&self) -> Protected<'_> {
        Protected { kind: Self::KIND, owner: &self.owner, deleted: false }
    }

    pub(super) fn bucket(&self) -> Option<Bucket> {
        Some(Bucket { tokens: self.tokens?, at: self.tokens_at? })
    }

    /// Returns the profile of an author who may act for the caller. Errors: 422 `author_id`,
    /// [`Error::Forbidden`].
    pub(super) fn author(found: Option<Self>, caller: &Caller) -> Result<Self> {
        let author =
            found.ok_or_else(|| Error::invalid("author_id", "is not the id of a profile"))?;
        caller.check_change(&author.protected())?;
        Ok(author)
    }
}

impl From<ProfileItem> for Profile {
    fn from(item: ProfileItem) -> Self {
        Self {
            id: item.id,
            full_name: full_name(&item.first_name, &item.last_name),
            first_name: item.first_name,
            last_name: item.last_name,
            job_title: item.job_title,
            points: item.points,
            is_admin: item.is_admin,
            version: item.version,
            created_at: item.created_at,
        }
    }
}

/// A conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConversationItem {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) id: ConversationId,
    pub(super) subject: String,
    pub(super) author_id: ProfileId,
    /// The highest reserved `seq`. Messages up to it may still be in flight.
    pub(super) last_seq: Seq,
    /// The second of the last admitted post (seconds since 1970), and `last_seq` when that second began.
    pub(super) window: i64,
    pub(super) window_seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_message_at: Option<Time>,
    pub(super) owner: String,
    pub(super) version: u64,
    /// The request that last changed or deleted the conversation.
    pub(super) written_by: Uuid,
    pub(super) created_at: Time,
    /// When it was marked deleted. Its items are removed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<Time>,
    pub(super) listing: String,
}

impl ConversationItem {
    pub(super) const KIND: &str = "conversation";

    pub(super) fn protected(&self) -> Protected<'_> {
        let deleted = self.deleted_at.is_some();
        Protected { kind: Self::KIND, owner: &self.owner, deleted }
    }

    /// Returns a conversation that the caller may see. Errors: [`Error::NotFound`].
    pub(super) fn visible(found: Option<Self>, caller: &Caller) -> Result<Self> {
        let item = found.ok_or(Error::NotFound(Self::KIND))?;
        caller.check_see(&item.protected())?;
        Ok(item)
    }

    pub(super) fn into_conversation(self, authors: &HashMap<ProfileId, Profile>) -> Conversation {
        Conversation {
            author: authors.get(&self.author_id).cloned(),
            id: self.id,
            subject: self.subject,
            author_id: self.author_id,
            last_seq: self.last_seq,
            last_message_at: self.last_message_at,
            version: self.version,
            created_at: self.created_at,
        }
    }
}

/// A message.
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
    /// JSON text: DynamoDB's own types refuse empty keys, deep nesting and long numbers.
    pub(super) metadata: String,
    pub(super) points: u64,
    /// The number of the conversation's change that last modified it; 0 as posted.
    pub(super) change: u64,
    /// The request that posted it. A request recognizes its own message by this id after an attempt
    /// that was not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) posted_by: Option<Uuid>,
    pub(super) created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edited_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<Time>,
}

impl MessageItem {
    pub(super) const KIND: &str = "message";

    /// Returns the void that closes the gap at `seq`.
    pub(super) fn void(conversation_id: ConversationId, seq: Seq, now: Time) -> Self {
        Self {
            key: Key::message(conversation_id, seq),
            kind: Kind::Void,
            author_id: None,
            owner: None,
            text: String::new(),
            metadata: Metadata::default().as_json().to_owned(),
            points: 0,
            change: 0,
            posted_by: None,
            created_at: now,
            edited_at: None,
            deleted_at: Some(now),
        }
    }

    pub(super) fn seq(&self) -> Seq {
        seq_of(&self.key.sk).unwrap_or(Seq::new(0))
    }

    pub(super) fn into_message(
        self,
        conversation_id: ConversationId,
        authors: &HashMap<ProfileId, Profile>,
    ) -> Result<Message> {
        Ok(Message {
            conversation_id,
            seq: self.seq(),
            kind: self.kind,
            author_id: self.author_id,
            author: self.author_id.and_then(|id| authors.get(&id).cloned()),
            text: self.text,
            metadata: Metadata::from_json(self.metadata).map_err(Error::internal)?,
            points: self.points,
            change: self.change,
            created_at: self.created_at,
            edited_at: self.edited_at,
            deleted_at: self.deleted_at,
        })
    }
}

/// The counter of a conversation's changes. Absent until the first change.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ChangesItem {
    pub(super) last_change: u64,
    /// Every change up to this number has been seen in its message.
    pub(super) settled_change: u64,
}

/// One change of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChangeItem {
    #[serde(flatten)]
    pub(super) key: Key,
    /// The message that changed; `None` for a rename.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<Seq>,
}
