//! Conversations: numbered sequences of messages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::visible_text;
use crate::{ConversationId, Profile, ProfileId, Seq, Time};

/// Who may see a conversation. It never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Visibility {
    /// Everyone; it is listed.
    #[default]
    Public,
    /// The owners of its members, its own owner, and administrators. It is in no list but theirs.
    Private,
}

impl TryFrom<String> for Visibility {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match &*name {
            "public" => Ok(Self::Public),
            "private" => Ok(Self::Private),
            _ => Err("must be public or private"),
        }
    }
}

/// A conversation as clients see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Conversation {
    /// The id.
    pub id: ConversationId,
    /// 1–200 characters.
    #[schema(value_type = Subject)]
    pub subject: String,
    /// Who may see it.
    pub visibility: Visibility,
    /// The profile that created it.
    pub author_id: ProfileId,
    /// That profile; `None` once it is deleted.
    #[schema(required)]
    pub author: Option<Profile>,
    /// The highest `seq` that a post has reserved; 0 before the first. Its message may still be in
    /// flight.
    pub last_seq: Seq,
    /// When a post last reserved a `seq`; `None` before the first.
    #[schema(required)]
    pub last_message_at: Option<Time>,
    /// The version, as in the conversation's `ETag`: 1, and 1 more with each change. Messages do not
    /// count.
    pub version: u64,
    /// When it was created.
    pub created_at: Time,
}

visible_text! {
    /// A subject: 1–200 characters, at least one of them visible, no control characters, no bidi
    /// overrides; stored as sent.
    Subject, 1..=200, "Engines", |text| text
}

/// The body of a request that creates a conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NewConversation {
    /// The subject.
    pub subject: Subject,
    /// The author: a profile of the caller. It becomes the first member, a moderator.
    pub author_id: ProfileId,
    /// Who may see it; `public` by default.
    #[schema(required = false)]
    pub visibility: Visibility,
}

/// The body of a request that changes a conversation. An absent field keeps its value.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct ConversationPatch {
    /// The new subject.
    #[schema(value_type = Subject, required = false)]
    pub subject: Option<Subject>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_visible_and_has_no_control_characters_or_bidi_overrides() {
        assert!(Subject::try_from("ü".repeat(200)).is_ok());
        let invisible = ["", " ", "\n", "\u{200B}"];
        for subject in invisible.into_iter().chain(["\u{1b}[31m", "a\u{2066}", &"s".repeat(201)]) {
            assert!(Subject::try_from(subject.to_owned()).is_err(), "{subject:?}");
        }
    }
}
