//! Conversations: where messages stand in one order.

use serde::Serialize;
use utoipa::ToSchema;

use crate::text::{check_printable, text};
use crate::{ConversationId, Message, Page, Profile, ProfileId, Seq, Time};

/// A conversation as clients see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// 1–200 characters.
    #[schema(value_type = Subject)]
    pub subject: String,
    /// Who opened it.
    pub author_id: ProfileId,
    /// Who opened it, in full; `None` once that profile is deleted.
    #[schema(required)]
    pub author: Option<Profile>,
    /// The place of its newest message; 0 when it has none.
    pub last_seq: Seq,
    /// When it was opened.
    pub created_at: Time,
    /// Its newest messages, only where one conversation is asked for.
    #[schema(value_type = Page<Message>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Page<Message>>,
}

text! {
    /// A subject: 1–200 characters, no control characters; kept as sent.
    Subject, 1..=200, r"^[^\x00-\x08\x0B-\x1F\x7F-\x9F]*$", "Engines", |text| {
        check_printable(&text)?;
        Ok(text)
    }
}

/// What a client sends to open a conversation.
#[derive(Clone, Debug, ToSchema)]
pub struct NewConversation {
    /// What it is about.
    pub subject: Subject,
    /// Who opens it.
    pub author_id: ProfileId,
}

/// What a client sends to change a conversation; a field that is not there stays as it is.
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
    fn a_subject_has_1_to_200_characters_and_no_control_characters() {
        assert!(Subject::try_from("ü".repeat(200)).is_ok());
        for subject in ["", "\u{1b}[31m", &"s".repeat(201)] {
            assert!(Subject::try_from(subject.to_owned()).is_err(), "{subject:?}");
        }
    }
}
