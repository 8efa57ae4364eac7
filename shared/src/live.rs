//! Live delivery: tickets, connections, and the frames that the service sends to them.
//!
//! Frames only make [`Table::list_changes`](crate::Table::list_changes) faster. They may be lost,
//! repeated, late, and in any order; what a client ends with is the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::Changes;
use crate::{Caller, ConversationHead, ConversationId, Cursor, Message, ProfileId, Seq, Time};

/// The time in which a ticket opens a connection.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(60);
/// The longest time that a connection lasts. Source: API Gateway's quotas for WebSocket APIs.
pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
/// The largest frame, in bytes. Source: as above.
pub const MAX_FRAME: usize = 32 * 1024;
/// The most subscriptions of a connection. A watch counts as one.
pub const MAX_SUBSCRIPTIONS: u64 = 100;
/// The most conversations of a watch.
pub const MAX_WATCHED: usize = 50;
/// The most connections that receive the frames of one conversation.
pub const MAX_CONNECTIONS: usize = 1000;

/// The right to open one connection.
#[derive(Clone)]
pub struct Ticket {
    /// The secret that opens it.
    pub secret: String,
    /// Until when it opens it.
    pub expires_at: Time,
    /// When the connection ends.
    pub connection_expires_at: Time,
}

/// The id of a connection, which API Gateway gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ConnectionId(String);

impl ConnectionId {
    /// Returns the id as API Gateway writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ConnectionId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // It is part of a key, whose parts `#` separates.
        let valid = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        match (1..=128).contains(&text.len()) && text.bytes().all(valid) {
            true => Ok(Self(text.to_owned())),
            false => Err("must be the id of a connection"),
        }
    }
}

impl TryFrom<String> for ConnectionId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// An open connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The id.
    pub id: ConnectionId,
    /// The caller who got the ticket.
    pub caller: Caller,
    /// When it was opened.
    pub connected_at: Time,
    /// When it ends.
    pub expires_at: Time,
}

/// The body of a frame that watches the conversations of a profile.
#[derive(Clone, Debug)]
pub struct NewWatch {
    /// The profile.
    pub profile_id: ProfileId,
    /// At most [`MAX_WATCHED`] conversations.
    pub conversation_ids: Vec<ConversationId>,
}

/// A frame that the service sends.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Frame {
    /// What is new in a conversation, and the answer to `subscribe`.
    Changes {
        /// The conversation.
        conversation_id: ConversationId,
        /// Its subject and version.
        conversation: ConversationHead,
        /// The cursor that `results` continue.
        after: Cursor,
        /// The cursor at their end.
        cursor: Cursor,
        /// The messages that are new or changed, as they are now; `None` if they do not fit.
        results: Option<Vec<Message>>,
    },
    /// A watched conversation has new messages.
    Activity {
        /// The conversation.
        conversation_id: ConversationId,
        /// The `seq` of its newest message.
        last_seq: Seq,
    },
    /// A watched profile was added to a conversation or removed.
    Membership {
        /// The profile.
        profile_id: ProfileId,
        /// The conversation.
        conversation_id: ConversationId,
    },
    /// The answer to `watch`.
    Watching {
        /// The profile.
        profile_id: ProfileId,
    },
    /// The subscription has ended.
    Ended {
        /// The conversation.
        conversation_id: ConversationId,
        /// Why.
        reason: EndReason,
    },
    /// A frame of the client had no effect, or a subscription was removed.
    Error {
        /// The stable name of the cause.
        code: &'static str,
        /// The cause, for a person.
        detail: String,
        /// The conversation that it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        conversation_id: Option<ConversationId>,
    },
}

/// Why a subscription has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// The conversation was deleted.
    Deleted,
    /// The caller may no longer see it.
    Removed,
}

impl Frame {
    /// Returns the frame with the changes after a cursor.
    #[must_use]
    pub fn changes(after: Cursor, changes: Changes) -> Self {
        let Changes { conversation, results, cursor, .. } = changes;
        let conversation_id = conversation.id;
        Self::Changes { conversation_id, conversation, after, cursor, results: Some(results) }
    }

    /// Returns the frame without its results, which the client must ask for.
    #[must_use]
    pub fn without_results(self) -> Self {
        match self {
            Self::Changes { conversation_id, conversation, after, cursor, .. } => {
                Self::Changes { conversation_id, conversation, after, cursor, results: None }
            }
            frame => frame,
        }
    }

    /// Renders the frame, without results that do not fit.
    ///
    /// # Errors
    /// It cannot be rendered, which is a bug.
    pub fn into_json(self) -> crate::Result<String> {
        let json = serde_json::to_string(&self).map_err(crate::Error::internal)?;
        if json.len() <= MAX_FRAME {
            return Ok(json);
        }
        serde_json::to_string(&self.without_results()).map_err(crate::Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_connection_can_be_part_of_a_key() {
        for id in ["L0SM9cOFvHcCIhw=", "a_b-c+d/e"] {
            assert!(id.parse::<ConnectionId>().is_ok(), "{id}");
        }
        for id in ["", "a#b", "a b", "é", &"x".repeat(129)] {
            assert!(id.parse::<ConnectionId>().is_err(), "{id}");
        }
    }
}
