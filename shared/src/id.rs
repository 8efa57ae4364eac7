//! Ids as types: of profiles, of conversations, of messages within a conversation, and the idempotency
//! keys of requests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// A UUIDv7 in lower case; read in either case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[schema(value_type = String, format = "uuid", pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// Generates an id: a UUIDv7, so ids sort by creation time.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_uuid(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

uuid_id! {
    /// The id of a profile.
    ProfileId
}

impl ProfileId {
    /// The first of all ids in order.
    pub(crate) const FIRST: Self = Self(Uuid::nil());

    /// The last of all ids in order.
    pub(crate) const LAST: Self = Self(Uuid::max());

    /// Returns the id before this one in order.
    pub(crate) fn previous(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().saturating_sub(1)))
    }

    /// Returns the id after this one in order.
    pub(crate) fn next(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
    }
}

uuid_id! {
    /// The id of a conversation.
    ConversationId
}

/// Parses a UUID. Accepts only the hyphenated form, in either case (RFC 9562, section 4).
fn parse_uuid(text: &str) -> Result<Uuid, &'static str> {
    const WRONG: &str = "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057";
    if text.len() != 36 {
        return Err(WRONG);
    }
    Uuid::try_parse(text).map_err(|_| WRONG)
}

/// The number of a message in its conversation: 1, 2, 3 … without a gap.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[schema(minimum = 0, maximum = 999_999_999_999_u64)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// The `seq` of the first message.
    pub const FIRST: Self = Self(1);

    /// The largest `seq`: twelve digits, as in the sort key.
    pub const MAX: u64 = 999_999_999_999;

    /// Wraps a number; 0 precedes the first message.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the next `seq`.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Seq {
    type Err = &'static str;

    /// Parses `0`, `1`, … up to twelve digits, without sign or leading zero.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain =
            text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        match text.parse() {
            Ok(number) if plain && number <= Self::MAX => Ok(Self(number)),
            _ => Err("must be a whole number from 0 to 999999999999"),
        }
    }
}

/// The key that a client sends so that a repeated POST has no second effect: 1–255 visible ASCII
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must have 1 to 255 visible ASCII characters")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_accepted_in_either_case_and_shown_in_lower_case() {
        let id: ProfileId =
            "01890A5D-AC96-774B-BCCE-B302099A8057".parse().expect("RFC 9562 accepts both cases");
        assert_eq!(id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        for text in [
            "",
            "x",
            "01890a5dac96774bbcceb302099a8057",
            "{01890a5d-ac96-774b-bcce-b302099a8057}",
            "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
            "01890a5d-ac96-774b-bcce-b302099a805é",
        ] {
            assert!(text.parse::<ProfileId>().is_err(), "{text}");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids: Vec<String> = (0..1000).map(|_| ConversationId::generate().to_string()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn a_seq_is_a_whole_number_without_sign_or_leading_zero() {
        assert_eq!("999999999999".parse(), Ok(Seq::new(Seq::MAX)));
        for text in ["", "-1", "+1", "01", "1.0", "1e3", "1000000000000", " 1", "١"] {
            assert!(text.parse::<Seq>().is_err(), "{text}");
        }
    }
}
