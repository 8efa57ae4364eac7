//! The items of the table, as DynamoDB stores them.

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{Attributes, Key, member_listing, seq_of};
use crate::access::{Protected, Standing};
use crate::conversation::Visibility;
use crate::member::{ConversationSummary, Member, Role};
use crate::profile::full_name;
use crate::rate::Bucket;
use crate::{
    Caller, Conversation, ConversationHead, ConversationId, Error, Kind, Message, Metadata,
    Profile, ProfileId, Result, Seq, Time,
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
    /// When it was marked deleted. The item is removed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<Time>,
    pub(super) listing: String,
}

impl ProfileItem {
    pub(super) const KIND: &str = "profile";

    pub(super) fn protected(&self) -> Protected<'_> {
        let deleted = self.deleted_at.is_some();
        Protected { kind: Self::KIND, owner: &self.owner, deleted }
    }

    /// Returns the profile unless it is absent or marked deleted.
    pub(super) fn live(found: Option<Self>) -> Option<Self> {
        found.filter(|item| item.deleted_at.is_none())
    }

    /// The error of an `author_id` that is not the id of a profile.
    pub(super) fn unknown_author() -> Error {
        Error::invalid("author_id", "is not the id of a profile")
    }

    pub(super) fn bucket(&self) -> Option<Bucket> {
        Some(Bucket { tokens: self.tokens?, at: self.tokens_at? })
    }

    /// Returns the profile of an author who may act for the caller. Errors: 422 `author_id`,
    /// [`Error::Forbidden`].
    pub(super) fn author(found: Option<Self>, caller: &Caller) -> Result<Self> {
        let author = Self::live(found).ok_or_else(Self::unknown_author)?;
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
    pub(super) visibility: Visibility,
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
    /// None while the conversation is private: it is in no list until it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listing: Option<String>,
}

impl ConversationItem {
    pub(super) const KIND: &str = "conversation";

    pub(super) fn protected(&self) -> Protected<'_> {
        let deleted = self.deleted_at.is_some();
        Protected { kind: Self::KIND, owner: &self.owner, deleted }
    }

    /// Returns when it received its newest message, or was created.
    pub(super) fn active_at(&self) -> Time {
        self.last_message_at.unwrap_or(self.created_at)
    }

    pub(super) fn head(&self) -> ConversationHead {
        let (id, subject, version) = (self.id, self.subject.clone(), self.version);
        ConversationHead { id, subject, version }
    }

    pub(super) fn into_summary(self) -> ConversationSummary {
        ConversationSummary {
            id: self.id,
            subject: self.subject,
            visibility: self.visibility,
            author_id: self.author_id,
            last_seq: self.last_seq,
            last_message_at: self.last_message_at,
            version: self.version,
            created_at: self.created_at,
        }
    }

    pub(super) fn into_conversation(self, authors: &HashMap<ProfileId, Profile>) -> Conversation {
        Conversation {
            author: authors.get(&self.author_id).cloned(),
            id: self.id,
            subject: self.subject,
            visibility: self.visibility,
            author_id: self.author_id,
            last_seq: self.last_seq,
            last_message_at: self.last_message_at,
            version: self.version,
            created_at: self.created_at,
        }
    }
}

/// A member of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MemberItem {
    #[serde(flatten)]
    pub(super) key: Key,
    /// The conversation: the sort key in the index.
    pub(super) id: ConversationId,
    pub(super) owner: String,
    pub(super) role: Role,
    pub(super) read_seq: Seq,
    /// The request that added it or last changed its role. A late attempt at another change finds
    /// that this has changed.
    pub(super) written_by: Uuid,
    pub(super) joined_at: Time,
    pub(super) listing: String,
}

impl MemberItem {
    pub(super) const KIND: &str = "member";

    /// Returns a member that has read everything so far.
    pub(super) fn new(
        conversation: &ConversationItem,
        profile: &ProfileItem,
        role: Role,
        joined_at: Time,
    ) -> Self {
        Self {
            key: Key::member(conversation.id, profile.id),
            id: conversation.id,
            owner: profile.owner.clone(),
            role,
            read_seq: conversation.last_seq,
            written_by: Uuid::new_v4(),
            joined_at,
            listing: member_listing(profile.id),
        }
    }

    pub(super) fn profile_id(&self) -> Result<ProfileId> {
        let id = self.key.sk.strip_prefix("MEMBER#").unwrap_or_default();
        id.parse().map_err(Error::internal)
    }

    /// Returns the member as the caller sees it; the read position only to its owner.
    pub(super) fn into_member(self, caller: &Caller, profile: Profile, last_seq: Seq) -> Member {
        let read_seq = caller.is_owner(&self.owner).then_some(self.read_seq);
        Member {
            conversation_id: self.id,
            profile_id: profile.id,
            profile,
            role: self.role,
            read_seq,
            unread: read_seq.map(|read| last_seq.get().saturating_sub(read.get())),
            joined_at: self.joined_at,
        }
    }
}

/// What the profiles of one owner are in a conversation: how many members, and how many moderators
/// among them. Absent if there is none. It changes in the transactions that change the members.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct AccessItem {
    pub(super) members: u64,
    pub(super) moderators: u64,
}

impl AccessItem {
    pub(super) fn standing(self) -> Standing {
        match self {
            Self { moderators: 1.., .. } => Standing::Moderator,
            Self { members: 1.., .. } => Standing::Member,
            _ => Standing::Stranger,
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

/// A ticket. Its deletion opens the connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TicketItem {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) caller: String,
    pub(super) admin: bool,
    /// When the connection ends.
    pub(super) connection_expires_at: Time,
    /// Seconds since 1970 (TTL).
    pub(super) expires_at: i64,
}

/// An open connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConnectionItem {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) caller: String,
    pub(super) admin: bool,
    pub(super) connected_at: Time,
    /// What the connection is subscribed to. Absent if that is nothing.
    #[serde(default, skip_serializing_if = "HashSet::is_empty")]
    pub(super) topics: HashSet<String>,
    /// What its watch covers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) watched: Vec<String>,
    /// Seconds since 1970 (TTL).
    pub(super) expires_at: i64,
}

/// A subscription of a connection to a conversation or to a profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SubscriptionItem {
    #[serde(flatten)]
    pub(super) key: Key,
    /// True if the caller may see everything.
    pub(super) admin: bool,
    pub(super) connected_at: Time,
    /// Seconds since 1970 (TTL).
    pub(super) expires_at: i64,
}
