//! Pages: how lists are split.

use std::fmt;
use std::str::FromStr;

use utoipa::ToSchema;

use crate::Seq;

/// One page of a list, and where the following page starts.
#[derive(Clone, Debug)]
pub struct Page<T, C> {
    /// The resources on this page.
    pub results: Vec<T>,
    /// The cursor of the following page; `None` on the last page.
    pub next: Option<C>,
}

/// Where a page of messages starts, and its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// At the newest message, newest first.
    Newest,
    /// Below this `seq`, newest first.
    Before(Seq),
    /// Above this `seq`, oldest first: for clients that poll.
    After(Seq),
}

/// The largest number of results on a page: 1–100, 50 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(minimum = 1, maximum = 100, default = 50)]
pub struct Limit(u8);

/// The number of messages that come with a conversation: 0–100, 50 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = u8, minimum = 0, maximum = 100, default = 50)]
pub struct MessageLimit(pub Option<Limit>);

impl Default for MessageLimit {
    fn default() -> Self {
        Self(Some(Limit::default()))
    }
}

impl FromStr for MessageLimit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" => Ok(Self(None)),
            _ => {
                text.parse().map(Some).map(Self).map_err(|_| "must be a whole number from 0 to 100")
            }
        }
    }
}

impl Limit {
    /// The largest limit.
    pub const MAX: Self = Self(100);

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(number @ 1..=100) if plain => Ok(Self(number)),
            _ => Err("must be a whole number from 1 to 100"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_whole_number_from_1_to_100() {
        assert_eq!("100".parse(), Ok(Limit(100)));
        for text in ["0", "01", "101", "-1", "+1", "", "ten", "256", "1.5"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }
}
