//! What the records of the table's stream say. A record has the key of an item and what happened to it.

use std::collections::BTreeMap;

use crate::table::keys::{CONVERSATION_PREFIX, seq_of};
use crate::{ConversationId, ProfileId, Seq};

/// What one record says about a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A message was stored.
    Place(Seq),
    /// A change was stored.
    Change(u64),
    /// A profile was added (`true`) or removed.
    Member(ProfileId, bool),
    /// The last profile of a caller was removed.
    Access,
    /// The conversation was deleted.
    Ended,
}

/// What a batch of records says about one conversation.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The lowest place that was stored.
    pub(super) place: Option<Seq>,
    /// The lowest change that was stored.
    pub(super) change: Option<u64>,
    /// Profiles that were added (`true`) or removed.
    pub(super) members: BTreeMap<ProfileId, bool>,
    /// True if a caller may have lost access.
    pub(super) access: bool,
    /// True if the conversation was deleted.
    pub(super) ended: bool,
}

impl Batch {
    /// Returns whether the subscribers of the conversation may receive something.
    pub(super) fn is_for_subscribers(&self) -> bool {
        self.place.is_some() || self.change.is_some() || self.access || self.ended
    }

    /// Adds a notice.
    pub fn add(&mut self, notice: Notice) {
        let lowest = |old: Option<u64>, new: u64| Some(old.map_or(new, |old| old.min(new)));
        match notice {
            Notice::Place(seq) => self.place = Some(self.place.map_or(seq, |old| old.min(seq))),
            Notice::Change(number) => self.change = lowest(self.change, number),
            Notice::Member(id, added) => drop(self.members.insert(id, added)),
            Notice::Access => self.access = true,
            Notice::Ended => self.ended = true,
        }
    }
}

/// Returns what a record says: the kind of its event (`INSERT`, `MODIFY` or `REMOVE`), and the key of
/// its item. `None` if it says nothing to deliver.
///
/// # Errors
/// The key has no form that this table uses.
pub fn parse_record(
    event: &str,
    pk: &str,
    sk: &str,
) -> Result<Option<(ConversationId, Notice)>, &'static str> {
    let number = |text: &str| text.parse().map_err(|_| "a key without a number");
    let member = |text: &str, added| Ok::<_, &str>(Notice::Member(text.parse()?, added));
    let (kind, rest) = sk.split_once('#').unwrap_or((sk, ""));
    let notice = match (event, kind) {
        ("INSERT", "MESSAGE") => {
            let place = seq_of(sk).filter(|seq| *seq >= Seq::FIRST);
            Notice::Place(place.ok_or("a message without a place")?)
        }
        ("INSERT", "CHANGE") => Notice::Change(number(rest)?),
        ("INSERT", "ENDED") => Notice::Ended,
        ("INSERT", "MEMBER") => member(rest, true)?,
        ("REMOVE", "MEMBER") => member(rest, false)?,
        ("REMOVE", "ACCESS") => Notice::Access,
        _ => return Ok(None),
    };
    let id = pk.strip_prefix(CONVERSATION_PREFIX).ok_or("not in a conversation")?;
    Ok(Some((id.parse()?, notice)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PK: &str = "CONVERSATION#01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_batch_keeps_the_lowest_place_and_change() {
        let mut batch = Batch::default();
        for sk in ["MESSAGE#000000000007", "MESSAGE#000000000006", "CHANGE#000000000003"] {
            let (_, notice) = parse_record("INSERT", PK, sk).expect("a key").expect("a notice");
            batch.add(notice);
        }
        assert_eq!((batch.place, batch.change), (Some(Seq::new(6)), Some(3)));
        assert!(!batch.ended && !batch.access && batch.members.is_empty());
    }

    #[test]
    fn other_records_say_nothing_and_broken_ones_are_errors() {
        for (event, sk) in [
            ("MODIFY", "MESSAGE#000000000007"),
            ("REMOVE", "MESSAGE#000000000007"),
            ("INSERT", "CHANGES"),
            ("INSERT", "ACCESS#x"),
            ("MODIFY", "CONVERSATION"),
        ] {
            assert_eq!(parse_record(event, PK, sk), Ok(None), "{event} {sk}");
        }
        for (pk, sk) in
            [(PK, "MESSAGE#x"), (PK, "MESSAGE#0"), (PK, "MEMBER#x"), ("CONVERSATION#x", "ENDED")]
        {
            assert!(parse_record("INSERT", pk, sk).is_err(), "{pk} {sk}");
        }
    }
}
