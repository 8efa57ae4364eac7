//! Members: profiles that take part in a conversation, with their roles and read positions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::Visibility;
use crate::{ConversationId, Profile, ProfileId, Seq, Time};

/// The role of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Role {
    /// Adds and removes members, sets roles, renames the conversation, and deletes messages of
    /// others.
    Moderator,
    /// Reads and posts.
    #[default]
    Member,
}

impl TryFrom<String> for Role {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match &*name {
            "moderator" => Ok(Self::Moderator),
            "member" => Ok(Self::Member),
            _ => Err("must be moderator or member"),
        }
    }
}

/// A member of a conversation as clients see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Member {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The id of the profile.
    pub profile_id: ProfileId,
    /// The profile.
    pub profile: Profile,
    /// The role.
    pub role: Role,
    /// The profile has read the messages up to this `seq`. `None` to everyone but its owner.
    #[schema(required)]
    pub read_seq: Option<Seq>,
    /// `last_seq` of the conversation minus `read_seq`: an upper bound of the unread messages.
    /// `None` to everyone but the profile's owner.
    #[schema(required)]
    pub unread: Option<u64>,
    /// When the profile became a member.
    pub joined_at: Time,
}

/// A member together with its conversation: an entry of an inbox.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Membership {
    /// The member.
    #[serde(flatten)]
    pub member: Member,
    /// The conversation.
    pub conversation: ConversationSummary,
}

/// A conversation as an inbox shows it: without the profile of its author.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConversationSummary {
    /// The id.
    pub id: ConversationId,
    /// 1–200 characters.
    pub subject: String,
    /// Who may see it.
    pub visibility: Visibility,
    /// The profile that created it.
    pub author_id: ProfileId,
    /// The `seq` of its newest message; 0 if it has none.
    pub last_seq: Seq,
    /// When the newest message was accepted; `None` before the first.
    #[schema(required)]
    pub last_message_at: Option<Time>,
    /// The version, as in the conversation's `ETag`.
    pub version: u64,
    /// When it was created.
    pub created_at: Time,
}

/// The body of a request that adds a member or sets its role.
#[derive(Clone, Copy, Debug, Default, ToSchema)]
pub struct NewMember {
    /// The role. If absent, a new member is a `member`, and a present one keeps its role.
    #[schema(value_type = Role, required = false)]
    pub role: Option<Role>,
}

/// The body of a request that moves a member's read position.
#[derive(Clone, Copy, Debug, ToSchema)]
pub struct NewReadPosition {
    /// The last message that was read. A lower number than the current one changes nothing.
    pub seq: Seq,
}

/// Where a page of an inbox starts: after this entry. The most recent activity comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InboxCursor {
    /// When the conversation received its newest message, or was created.
    pub active_at: Time,
    /// The conversation.
    pub id: ConversationId,
}

impl fmt::Display for InboxCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.active_at.as_millisecond(), self.id)
    }
}

impl FromStr for InboxCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |(time, id): (&str, &str)| {
            let active_at = Time::from_millisecond(time.parse().ok()?)?;
            Some(Self { active_at, id: id.parse().ok()? })
        };
        text.split_once('.').and_then(parse).ok_or("must be the cursor of a previous page")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_of_an_inbox_keeps_time_and_conversation() {
        let cursor = InboxCursor { active_at: Time::now(), id: ConversationId::generate() };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", ".", "1", "x.01890a5d-ac96-774b-bcce-b302099a8057", "1.x"] {
            assert!(text.parse::<InboxCursor>().is_err(), "{text}");
        }
    }
}
