//! Every key of the table, and what each is for.
//!
//! | access pattern | request |
//! | --- | --- |
//! | one profile, conversation or message, by id | `BatchGetItem` on its key |
//! | a page of profiles, or of conversations, newest first | `Query` on the index `listing` (keys only), then `BatchGetItem` |
//! | a page of messages, either way | `Query` on `pk`, `sk` between two messages |
//! | the authors on a page | one `BatchGetItem` of the distinct ones |
//! | post: author, conversation and idempotency key | one `BatchGetItem`, then one `TransactWriteItems` |
//! | what a repeated POST created | `BatchGetItem` on the idempotency key, then on what it names |
//! | what is left of deleted conversations | `Query` on the index, `listing = "DELETED"`, then `Query` on `pk` |

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Item;
use crate::{Caller, ConversationId, Error, ProfileId, Result, Seq};

/// The index of what is listed: `listing`, then `id`; nothing but keys in it.
pub(super) const LISTING_INDEX: &str = "listing";
/// `listing` of every profile.
pub(super) const PROFILES: &str = "PROFILES";
/// `listing` of every conversation that is not deleted.
pub(super) const CONVERSATIONS: &str = "CONVERSATIONS";
/// `listing` of conversations whose messages are being removed.
pub(super) const DELETED: &str = "DELETED";

/// The primary key of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    pub(super) fn profile(id: ProfileId) -> Self {
        Self { pk: format!("PROFILE#{id}"), sk: "PROFILE".into() }
    }

    pub(super) fn conversation(id: ConversationId) -> Self {
        Self { pk: conversation_pk(id), sk: "CONVERSATION".into() }
    }

    pub(super) fn message(conversation_id: ConversationId, seq: Seq) -> Self {
        Self { pk: conversation_pk(conversation_id), sk: message_sk(seq) }
    }

    /// The caller is part of the key, so that nobody meets another's.
    pub(super) fn idempotency(caller: &Caller, key: Uuid) -> Self {
        Self { pk: format!("KEY#{}#{key}", caller.subject()), sk: "KEY".into() }
    }

    /// A key that no item has.
    pub(super) fn nothing() -> Self {
        Self { pk: "NOTHING".into(), sk: "NOTHING".into() }
    }

    /// The key of an item.
    pub(super) fn of(item: &Item) -> Result<Self> {
        let part = |name: &str| match item.get(name) {
            Some(AttributeValue::S(part)) => Ok(part.clone()),
            _ => Err(Error::internal("an item without its key")),
        };
        Ok(Self { pk: part("pk")?, sk: part("sk")? })
    }

    pub(super) fn into_attributes(self) -> HashMap<String, AttributeValue> {
        HashMap::from([("pk".into(), AttributeValue::S(self.pk)), ("sk".into(), AttributeValue::S(self.sk))])
    }
}

pub(super) fn conversation_pk(id: ConversationId) -> String {
    format!("CONVERSATION#{id}")
}

/// Twelve digits, so that the keys sort as the numbers do.
pub(super) fn message_sk(seq: Seq) -> String {
    format!("MESSAGE#{:012}", seq.get())
}

/// The place that a message's sort key names.
pub(super) fn seq_of(sk: &str) -> Option<Seq> {
    sk.strip_prefix("MESSAGE#")?.parse().ok().map(Seq::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_keys_sort_as_their_numbers_do() {
        let keys: Vec<String> = [1, 2, 9, 10, 99, 100, Seq::MAX].map(|n| message_sk(Seq::new(n))).into();
        assert!(keys.is_sorted());
        assert_eq!(seq_of(&keys[3]), Some(Seq::new(10)));
        assert_eq!(seq_of("CONVERSATION"), None);
    }
}
