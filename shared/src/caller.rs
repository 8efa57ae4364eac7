//! Who asks, and the one rule of who may change what.

use crate::{Error, Result};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody asks who it is: the service runs open, as on a developer's machine.
    Anyone,
    /// Someone signed in, by the `sub` claim of their token.
    User(String),
    /// Someone signed in who may act for everyone.
    Admin(String),
}

impl Caller {
    /// What is written on everything that this caller creates. Empty when the service runs open, which no token's `sub` is.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Anyone => "",
            Self::User(subject) | Self::Admin(subject) => subject,
        }
    }

    /// Whether a profile that this caller creates is shown as an administrator's.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Admin(_))
    }

    /// The owner that a resource must have for this caller to change it; `None` where any will do.
    ///
    /// This is the whole rule: everything belongs to whoever created the profile behind it, only its owner or an administrator
    /// changes it or posts as that profile, and everyone reads.
    #[must_use]
    pub fn must_own(&self) -> Option<&str> {
        match self {
            Self::User(subject) => Some(subject),
            Self::Anyone | Self::Admin(_) => None,
        }
    }

    /// Refuses a caller who may not change what `owner` owns.
    pub fn check(&self, owner: &str) -> Result<()> {
        match self.must_own() {
            Some(subject) if subject != owner => Err(Error::Forbidden),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_or_an_admin_may_change_a_thing() {
        assert!(Caller::User("ada".into()).check("ada").is_ok());
        assert!(Caller::User("eve".into()).check("ada").is_err());
        assert!(Caller::User("eve".into()).check("").is_err());
        assert!(Caller::Admin("eve".into()).check("ada").is_ok());
        assert!(Caller::Anyone.check("ada").is_ok());
    }
}
