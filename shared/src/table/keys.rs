//! Every key of the table, and the access patterns behind them.
//!
//! | access pattern | request |
//! | --- | --- |
//! | one profile, conversation, member or message, by id | `BatchGetItem` on its key |
//! | a page of profiles, or of conversations, newest first | `Query` on the index `listing` (keys only), then `BatchGetItem` |
//! | the profiles of one caller, newest first | `Query` on `pk = OWNER#…`, then `BatchGetItem` |
//! | the members of a conversation | `Query` on `pk`, `sk` between two members, then `BatchGetItem` |
//! | what the caller's profiles are in a conversation | `BatchGetItem` on `ACCESS#…` |
//! | the conversations of a profile | `Query` on the index, `listing = "MEMBER#…"`, then `BatchGetItem` of conversations and members |
//! | a page of messages, either way | `Query` on `pk`, `sk` between two messages |
//! | the authors on a page | one `BatchGetItem` of the distinct ones |
//! | post: author, conversation and idempotency key | one `BatchGetItem` |
//! | post: a place, with `last_message_at` | one `UpdateItem` on the conversation |
//! | post: the message, its point and its idempotency key | one `TransactWriteItems` |
//! | the resource of a repeated POST | `BatchGetItem` on the idempotency key, then on the resource |
//! | a ticket, a connection | `DeleteItem`, `BatchGetItem` on its key |
//! | the subscriptions to a conversation or a profile | `Query` on `pk = LIVE#…` |
//! | deleted conversations and profiles | `Query` on the index, `listing = "DELETED"`, then `Query` on `pk` |

use std::collections::HashMap;
use std::fmt::Display;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::live::{Connection, ConnectionId};
use crate::text::hash;
use crate::{Caller, ConversationId, Error, IdempotencyKey, ProfileId, Result, Seq};

/// The index behind every list: partition key `listing`, sort key `id`, keys only.
pub(super) const LISTING_INDEX: &str = "listing";
/// `listing` of every profile.
pub(super) const PROFILES: &str = "PROFILES";
/// `listing` of every other public conversation. Private ones have none.
pub(super) const CONVERSATIONS: &str = "CONVERSATIONS";
/// `listing` of conversations and profiles that are marked deleted.
pub(super) const DELETED: &str = "DELETED";

/// The sort key of every profile.
pub(super) const PROFILE_SK: &str = "PROFILE";

/// The start of the partition key of everything in a conversation.
pub(super) const CONVERSATION_PREFIX: &str = "CONVERSATION#";

/// The attributes of an item.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The primary key of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    pub(super) fn profile(id: ProfileId) -> Self {
        Self { pk: format!("PROFILE#{id}"), sk: PROFILE_SK.into() }
    }

    /// An entry in the list of an owner's profiles.
    pub(super) fn owned_profile(owner: &str, id: ProfileId) -> Self {
        Self { pk: owner_pk(owner), sk: owned_profile_sk(id) }
    }

    pub(super) fn conversation(id: ConversationId) -> Self {
        Self { pk: conversation_pk(id), sk: "CONVERSATION".into() }
    }

    pub(super) fn message(conversation_id: ConversationId, seq: Seq) -> Self {
        Self { pk: conversation_pk(conversation_id), sk: message_sk(seq) }
    }

    pub(super) fn member(conversation_id: ConversationId, profile_id: ProfileId) -> Self {
        Self { pk: conversation_pk(conversation_id), sk: member_listing(profile_id) }
    }

    /// What the profiles of one owner are in a conversation.
    pub(super) fn access(conversation_id: ConversationId, owner: &str) -> Self {
        Self::access_of_hashed(conversation_id, &hash(owner))
    }

    /// The same, by the hash of the owner's `sub`.
    pub(super) fn access_of_hashed(conversation_id: ConversationId, owner: &str) -> Self {
        Self { pk: conversation_pk(conversation_id), sk: format!("ACCESS#{owner}") }
    }

    pub(super) fn change(conversation_id: ConversationId, number: u64) -> Self {
        Self { pk: conversation_pk(conversation_id), sk: change_sk(number) }
    }

    /// The counter of a conversation's changes.
    pub(super) fn changes(conversation_id: ConversationId) -> Self {
        Self { pk: conversation_pk(conversation_id), sk: "CHANGES".into() }
    }

    /// Present once a conversation is deleted: an insert that followers are notified of.
    pub(super) fn ended(conversation_id: ConversationId) -> Self {
        Self { pk: conversation_pk(conversation_id), sk: "ENDED".into() }
    }

    /// Each caller has an own namespace. Both parts are hashed, so that no caller and key together
    /// equal another's, and no `sub` is part of a key.
    pub(super) fn idempotency(caller: &Caller, key: &IdempotencyKey) -> Self {
        let (caller, key) = (hash(caller.subject()), hash(key.as_str()));
        Self { pk: format!("KEY#{caller}#{key}"), sk: "KEY".into() }
    }

    /// A ticket, by its secret, which is stored hashed.
    pub(super) fn ticket(secret: &str) -> Self {
        Self { pk: format!("TICKET#{}", hash(secret)), sk: "TICKET".into() }
    }

    pub(super) fn connection(id: &ConnectionId) -> Self {
        Self { pk: format!("CONNECTION#{id}"), sk: "CONNECTION".into() }
    }

    /// A subscription of a connection to a conversation or to a profile.
    pub(super) fn subscription(topic: impl Display, connection: &Connection, kind: &str) -> Self {
        let (caller, id) = (hash(connection.caller.subject()), &connection.id);
        Self { pk: live_pk(topic), sk: format!("{caller}#{id}#{kind}") }
    }

    /// Returns a key that no item has.
    pub(super) fn absent() -> Self {
        Self { pk: "ABSENT".into(), sk: "ABSENT".into() }
    }

    /// Returns the key of an item.
    pub(super) fn of(item: &Attributes) -> Result<Self> {
        let part = |name: &str| match item.get(name) {
            Some(AttributeValue::S(part)) => Ok(part.clone()),
            _ => Err(Error::internal("an item without its key")),
        };
        Ok(Self { pk: part("pk")?, sk: part("sk")? })
    }

    pub(super) fn into_attributes(self) -> Attributes {
        HashMap::from([
            ("pk".into(), AttributeValue::S(self.pk)),
            ("sk".into(), AttributeValue::S(self.sk)),
        ])
    }
}

pub(super) fn conversation_pk(id: ConversationId) -> String {
    format!("{CONVERSATION_PREFIX}{id}")
}

/// The partition of the subscriptions to a conversation or to a profile.
pub(super) fn live_pk(topic: impl Display) -> String {
    format!("LIVE#{topic}")
}

/// The partition of an owner's profiles.
pub(super) fn owner_pk(owner: &str) -> String {
    format!("OWNER#{}", hash(owner))
}

/// The sort key of an owner's profile.
pub(super) fn owned_profile_sk(id: ProfileId) -> String {
    format!("PROFILE#{id}")
}

/// The sort key of a member, and `listing` of the conversations of a profile.
pub(super) fn member_listing(profile_id: ProfileId) -> String {
    format!("MEMBER#{profile_id}")
}

/// Twelve digits, so that the keys sort like the numbers.
pub(super) fn message_sk(seq: Seq) -> String {
    format!("MESSAGE#{:012}", seq.get())
}

/// Twelve digits, like [`message_sk`].
pub(super) fn change_sk(number: u64) -> String {
    format!("CHANGE#{number:012}")
}

/// Returns the `seq` in a message's sort key; `None` for other items.
pub(super) fn seq_of(sk: &str) -> Option<Seq> {
    sk.strip_prefix("MESSAGE#")?.parse().ok().map(Seq::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_keys_sort_like_their_numbers() {
        let keys: Vec<String> =
            [1, 2, 9, 10, 99, 100, Seq::MAX].map(|n| message_sk(Seq::new(n))).into();
        assert!(keys.is_sorted());
        assert_eq!(seq_of(&keys[3]), Some(Seq::new(10)));
        assert_eq!(seq_of("CONVERSATION"), None);
    }
}
