//! Times as clients see them: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A time with millisecond precision, such as `2026-01-31T12:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(value_type = String, format = DateTime)]
#[serde(try_from = "String", into = "String")]
pub struct Time(Timestamp);

impl Time {
    /// Returns the current time.
    #[must_use]
    pub fn now() -> Self {
        let now = Timestamp::now();
        Self(now.round(Unit::Millisecond).unwrap_or(now))
    }

    /// Returns the time from `earlier` to this time; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or_default()
    }

    /// Returns the time `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.checked_add(duration).unwrap_or(self.0))
    }

    /// Returns the milliseconds since 1970.
    #[must_use]
    pub fn as_millisecond(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Returns the time this many milliseconds after 1970 began; `None` if it is out of range.
    #[must_use]
    pub fn from_millisecond(milliseconds: i64) -> Option<Self> {
        Timestamp::from_millisecond(milliseconds).ok().map(Self)
    }

    /// Returns the time this many seconds after 1970 began; `None` if it is out of range.
    #[must_use]
    pub fn from_second(seconds: i64) -> Option<Self> {
        Timestamp::from_second(seconds).ok().map(Self)
    }

    /// Returns the whole seconds since 1970, the unit of DynamoDB's TTL.
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
