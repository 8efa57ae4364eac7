//! Times as clients see them: RFC 3339, UTC, milliseconds.

use std::fmt;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A moment, to the millisecond, written `2026-01-31T12:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(value_type = String, format = DateTime, pattern = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
#[serde(try_from = "String", into = "String")]
pub struct Time(Timestamp);

impl Time {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let now = Timestamp::now();
        Self(now.round(Unit::Millisecond).unwrap_or(now))
    }

    /// Whole seconds since 1970, as DynamoDB's TTL counts.
    #[must_use]
    pub fn as_second(self) -> i64 {
        self.0.as_second()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl TryFrom<String> for Time {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_always_has_three_decimals() {
        let time = Time::try_from("2026-01-31T12:00:00Z".to_owned()).expect("RFC 3339");
        assert_eq!(time.to_string(), "2026-01-31T12:00:00.000Z");
    }
}
