//! Access: who the caller is, and the one rule that decides who may see and change what.
//!
//! Everyone may see every resource that is not deleted. Only its owner or an administrator may change
//! it, or post as a profile. The owner is the caller who created the profile behind the resource.

use crate::{Error, Result};

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Any caller: authentication is disabled (local development).
    Anyone,
    /// A signed-in caller, by the `sub` claim of the access token.
    User(String),
    /// A signed-in caller who may change everyone's resources.
    Admin(String),
}

/// The facts about a resource that decide access to it.
#[derive(Clone, Copy, Debug)]
pub struct Protected<'r> {
    /// The kind of resource, as the text of a 404 names it.
    pub kind: &'static str,
    /// The `sub` of its owner.
    pub owner: &'r str,
    /// True if it is marked deleted.
    pub deleted: bool,
}

impl Caller {
    /// Returns the `sub` that owns what this caller creates. It is empty if authentication is disabled,
    /// which no token's `sub` is.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Anyone => "",
            Self::User(subject) | Self::Admin(subject) => subject,
        }
    }

    /// Returns whether the caller is an administrator.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Admin(_))
    }

    /// Returns the owner that a resource must have for this caller to change it; `None` if any owner
    /// will do.
    #[must_use]
    pub fn required_owner(&self) -> Option<&str> {
        match self {
            Self::User(subject) => Some(subject),
            Self::Anyone | Self::Admin(_) => None,
        }
    }

    /// Checks that the caller may see a resource. Errors: [`Error::NotFound`].
    pub fn check_see(&self, resource: &Protected<'_>) -> Result<()> {
        if resource.deleted { Err(Error::NotFound(resource.kind)) } else { Ok(()) }
    }

    /// Checks that the caller may change a resource, or act as a profile. Errors: [`Error::NotFound`] if
    /// the caller may not see it, otherwise [`Error::Forbidden`].
    pub fn check_change(&self, resource: &Protected<'_>) -> Result<()> {
        self.check_see(resource)?;
        match self.required_owner() {
            Some(subject) if subject != resource.owner => Err(Error::Forbidden),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ada(deleted: bool) -> Protected<'static> {
        Protected { kind: "profile", owner: "ada", deleted }
    }

    #[test]
    fn only_the_owner_or_an_administrator_may_change_a_resource() {
        assert!(Caller::User("ada".into()).check_change(&of_ada(false)).is_ok());
        assert!(Caller::Admin("eve".into()).check_change(&of_ada(false)).is_ok());
        assert!(Caller::Anyone.check_change(&of_ada(false)).is_ok());
        for stranger in ["eve", "", "ada "] {
            let checked = Caller::User(stranger.into()).check_change(&of_ada(false));
            assert!(matches!(checked, Err(Error::Forbidden)), "{stranger}");
        }
    }

    #[test]
    fn a_deleted_resource_is_absent_for_every_caller() {
        for caller in [Caller::Anyone, Caller::User("eve".into()), Caller::Admin("ada".into())] {
            assert!(matches!(caller.check_see(&of_ada(true)), Err(Error::NotFound("profile"))));
            assert!(matches!(caller.check_change(&of_ada(true)), Err(Error::NotFound("profile"))));
        }
    }
}
