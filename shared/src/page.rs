//! How lists are cut into pages.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

/// One page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What stands on it.
    pub results: Vec<T>,
    /// Path and query of the following page; `None` when this one reached the end.
    #[schema(required)]
    pub next: Option<String>,
}

/// How many results a page may have: 1–100, 50 unless asked otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(minimum = 1, maximum = 100, default = 50)]
pub struct Limit(u8);

impl Limit {
    /// The limit as a number.
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
        match text.parse() {
            Ok(number @ 1..=100) if text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') => Ok(Self(number)),
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
