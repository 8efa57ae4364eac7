//! Versions: optimistic concurrency with `If-Match`, and the cursor of the change feed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Seq};

/// The version that a client expects of the resource that it changes or deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IfMatch {
    /// No expectation, or only that the resource exists.
    #[default]
    Any,
    /// One of these versions.
    Versions(Vec<u64>),
}

impl IfMatch {
    /// Checks the current version. Errors: [`Error::PreconditionFailed`].
    pub fn check(&self, version: u64) -> Result<()> {
        match self {
            Self::Versions(versions) if !versions.contains(&version) => {
                Err(Error::PreconditionFailed)
            }
            _ => Ok(()),
        }
    }
}

/// The part of a conversation that a client has read: all messages up to `seq`, and all changes up to
/// `change`. Written `12.3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cursor {
    /// The last message.
    pub seq: Seq,
    /// The last change.
    pub change: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.change)
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |(seq, change): (&str, &str)| {
            let change: Seq = change.parse().ok()?;
            Some(Self { seq: seq.parse().ok()?, change: change.get() })
        };
        text.split_once('.').and_then(parse).ok_or("must be a cursor such as 12.3")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_two_whole_numbers() {
        let cursor = Cursor { seq: Seq::new(12), change: 3 };
        assert_eq!(("12.3".parse(), cursor.to_string().as_str()), (Ok(cursor), "12.3"));
        for text in ["", "1", "1.", ".1", "01.1", "1.1.1", "-1.0", "1e3.0", "1,0"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_version_must_be_among_the_expected_ones() {
        assert!(IfMatch::Any.check(7).is_ok());
        assert!(IfMatch::Versions(vec![1, 7]).check(7).is_ok());
        assert!(IfMatch::Versions(vec![]).check(7).is_err());
    }
}
