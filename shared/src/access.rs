//! Access: who the caller is, and the one place that decides who may see and change what.
//!
//! - A profile: everyone may see it. Only its owner or an administrator may change it or act as it.
//!   The owner is the caller who created it.
//! - A conversation, and everything in it: [`Caller::judge`] decides every [`Action`]. A public
//!   conversation is visible to everyone, a private one to the owners of its members, its own owner
//!   and administrators.

use crate::conversation::Visibility;
use crate::member::Role;
use crate::{Error, Result};

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Any caller: authentication is disabled (local development).
    Anyone,
    /// A signed-in caller, by the `sub` claim of the access token.
    User(String),
    /// A signed-in caller who may see and change everyone's resources.
    Admin(String),
}

/// The facts about a profile or a conversation that decide access to it.
#[derive(Clone, Copy, Debug)]
pub struct Protected<'r> {
    /// The kind of resource, as the text of a 404 names it.
    pub kind: &'static str,
    /// The `sub` of its owner.
    pub owner: &'r str,
    /// True if it is marked deleted.
    pub deleted: bool,
}

/// What the caller's profiles are in a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// None of them is a member.
    #[default]
    Stranger,
    /// At least one is a member, and none is a moderator.
    Member,
    /// At least one is a moderator. The conversation's owner counts as a moderator in any case.
    Moderator,
}

/// What a caller wants to do in a conversation. `owner` is the owner of the message or profile that
/// the action is about.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Read the conversation, its messages, changes and members.
    Read,
    /// Post as a profile.
    Post {
        /// The owner of the profile.
        owner: &'a str,
        /// True if the profile is a member. Irrelevant if the conversation is public.
        is_member: bool,
    },
    /// Edit a message.
    EditMessage {
        /// The owner of its author.
        owner: &'a str,
    },
    /// Delete a message.
    DeleteMessage {
        /// The owner of its author.
        owner: &'a str,
    },
    /// Change the conversation.
    Rename,
    /// Delete the conversation.
    DeleteConversation,
    /// Add a profile, or change its role.
    PutMember {
        /// The owner of the profile.
        owner: &'a str,
        /// The role, if the request names one.
        role: Option<Role>,
        /// True if the profile is a member already.
        is_member: bool,
    },
    /// Remove a member.
    RemoveMember {
        /// The owner of the profile.
        owner: &'a str,
    },
    /// Move a member's read position.
    MarkRead {
        /// The owner of the profile.
        owner: &'a str,
    },
}

/// The decision about an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller may do it.
    Allowed,
    /// To this caller the conversation does not exist.
    Hidden,
    /// Only the owner may do it, perhaps also an administrator.
    NotOwner,
    /// Only a moderator may do it.
    NotModerator,
    /// Only members may post.
    NotAMember,
}

impl Verdict {
    /// Returns the verdict as a result; `kind` is the kind of resource that a 404 names.
    pub fn into_result(self, kind: &'static str) -> Result<()> {
        match self {
            Self::Allowed => Ok(()),
            Self::Hidden => Err(Error::NotFound(kind)),
            Self::NotOwner => Err(Error::Forbidden),
            Self::NotModerator => Err(Error::NotModerator),
            Self::NotAMember => Err(Error::NotAMember),
        }
    }
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

    /// Returns whether the caller may act for the owner of a resource.
    #[must_use]
    pub fn acts_for(&self, owner: &str) -> bool {
        self.required_owner().is_none_or(|subject| subject == owner)
    }

    /// Returns whether the caller is the owner of a resource; administrators act for other owners,
    /// but are not them. If authentication is disabled, every caller is.
    #[must_use]
    pub fn is_owner(&self, owner: &str) -> bool {
        *self == Self::Anyone || self.subject() == owner
    }

    /// Checks that the caller may see a profile. Errors: [`Error::NotFound`].
    pub fn check_see(&self, resource: &Protected<'_>) -> Result<()> {
        if resource.deleted { Err(Error::NotFound(resource.kind)) } else { Ok(()) }
    }

    /// Checks that the caller may change a profile, or act as it. Errors: [`Error::NotFound`] if it
    /// is deleted, otherwise [`Error::Forbidden`].
    pub fn check_change(&self, resource: &Protected<'_>) -> Result<()> {
        self.check_see(resource)?;
        if self.acts_for(resource.owner) { Ok(()) } else { Err(Error::Forbidden) }
    }

    /// Decides whether the caller may act in a conversation.
    #[must_use]
    pub fn judge(
        &self,
        conversation: &Protected<'_>,
        visibility: Visibility,
        standing: Standing,
        action: Action<'_>,
    ) -> Verdict {
        let owns = self.acts_for(conversation.owner);
        let private = visibility == Visibility::Private;
        let shared = !private || owns || standing >= Standing::Member;
        // Who may act as a member needs no other proof.
        let as_member = matches!(action, Action::Post { owner, is_member: true }
            if self.acts_for(owner));
        if conversation.deleted || !(shared || as_member) {
            return Verdict::Hidden;
        }
        let moderates = owns || standing == Standing::Moderator;
        let allowed_if = |allowed, otherwise| if allowed { Verdict::Allowed } else { otherwise };
        match action {
            Action::Read => Verdict::Allowed,
            Action::Post { owner, .. } if !self.acts_for(owner) => Verdict::NotOwner,
            Action::Post { is_member, .. } => {
                allowed_if(!private || is_member, Verdict::NotAMember)
            }
            Action::EditMessage { owner } => allowed_if(self.acts_for(owner), Verdict::NotOwner),
            Action::DeleteMessage { owner } | Action::RemoveMember { owner } => {
                allowed_if(moderates || self.acts_for(owner), Verdict::NotModerator)
            }
            Action::Rename => allowed_if(moderates, Verdict::NotModerator),
            Action::DeleteConversation => allowed_if(owns, Verdict::NotOwner),
            Action::PutMember { owner, role, is_member } => {
                let joins = self.acts_for(owner) && role.is_none() && (!private || is_member);
                allowed_if(moderates || joins, Verdict::NotModerator)
            }
            Action::MarkRead { owner } => allowed_if(self.is_owner(owner), Verdict::NotOwner),
        }
    }

    /// Decides as [`Caller::judge`] does, but without the caller's standing; `None` if that
    /// matters.
    #[must_use]
    pub fn judge_early(
        &self,
        conversation: &Protected<'_>,
        visibility: Visibility,
        action: Action<'_>,
    ) -> Option<Verdict> {
        // A higher standing allows no less.
        let least = self.judge(conversation, visibility, Standing::Stranger, action);
        let most = self.judge(conversation, visibility, Standing::Moderator, action);
        (least == most).then_some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Visibility::{Private, Public};

    fn of_ada(deleted: bool) -> Protected<'static> {
        Protected { kind: "profile", owner: "ada", deleted }
    }

    /// Returns the verdict about a caller in a conversation of Ada.
    fn verdict(
        caller: &Caller,
        visibility: Visibility,
        standing: Standing,
        action: Action<'_>,
    ) -> Verdict {
        caller.judge(&of_ada(false), visibility, standing, action)
    }

    fn user(subject: &str) -> Caller {
        Caller::User(subject.into())
    }

    /// Every action, about a message or a profile of Bob.
    fn actions() -> Vec<Action<'static>> {
        let (owner, member) = ("bob", Some(Role::Member));
        let mut actions = vec![
            Action::Read,
            Action::EditMessage { owner },
            Action::DeleteMessage { owner },
            Action::Rename,
            Action::DeleteConversation,
            Action::RemoveMember { owner },
            Action::MarkRead { owner },
        ];
        for is_member in [false, true] {
            actions.push(Action::Post { owner, is_member });
            actions.extend([None, member].map(|role| Action::PutMember { owner, role, is_member }));
        }
        actions
    }

    #[test]
    fn only_the_owner_or_an_administrator_may_change_a_profile() {
        assert!(user("ada").check_change(&of_ada(false)).is_ok());
        assert!(Caller::Admin("eve".into()).check_change(&of_ada(false)).is_ok());
        assert!(Caller::Anyone.check_change(&of_ada(false)).is_ok());
        for stranger in ["eve", "", "ada "] {
            let checked = user(stranger).check_change(&of_ada(false));
            assert!(matches!(checked, Err(Error::Forbidden)), "{stranger}");
        }
    }

    #[test]
    fn what_is_deleted_is_absent_for_every_caller() {
        for caller in [Caller::Anyone, user("eve"), user("ada"), Caller::Admin("ada".into())] {
            assert!(matches!(caller.check_see(&of_ada(true)), Err(Error::NotFound("profile"))));
            assert!(matches!(caller.check_change(&of_ada(true)), Err(Error::NotFound("profile"))));
            for action in actions() {
                let verdict = caller.judge_early(&of_ada(true), Public, action);
                assert_eq!(verdict, Some(Verdict::Hidden), "{caller:?} {action:?}");
            }
        }
    }

    #[test]
    fn a_private_conversation_is_hidden_from_strangers_whatever_they_ask() {
        for action in actions() {
            let verdict = verdict(&user("eve"), Private, Standing::Stranger, action);
            assert_eq!(verdict, Verdict::Hidden, "{action:?}");
        }
        // Bob's profile is no member, so Bob is a stranger too.
        let post = Action::Post { owner: "bob", is_member: false };
        assert_eq!(verdict(&user("bob"), Private, Standing::Stranger, post), Verdict::Hidden);
    }

    #[test]
    fn the_owner_and_administrators_need_no_member_except_to_post() {
        for caller in [user("ada"), Caller::Admin("eve".into()), Caller::Anyone] {
            for action in [Action::Read, Action::Rename, Action::DeleteConversation] {
                let early = caller.judge_early(&of_ada(false), Private, action);
                assert_eq!(early, Some(Verdict::Allowed), "{caller:?} {action:?}");
            }
            let post = Action::Post { owner: "ada", is_member: false };
            let early = caller.judge_early(&of_ada(false), Private, post);
            assert_eq!(early, Some(Verdict::NotAMember), "{caller:?}");
        }
    }

    #[test]
    fn a_member_reads_posts_and_leaves_and_a_moderator_does_more() {
        let bob = user("bob");
        let (own, ada) = ("bob", "ada");
        let post = Action::Post { owner: own, is_member: true };
        let join = Action::PutMember { owner: own, role: None, is_member: false };
        let allowed = [Action::Read, post, Action::RemoveMember { owner: own }];
        let moderator = [
            join,
            Action::PutMember { owner: own, role: Some(Role::Moderator), is_member: true },
            Action::PutMember { owner: ada, role: None, is_member: true },
            Action::RemoveMember { owner: ada },
            Action::DeleteMessage { owner: ada },
            Action::Rename,
        ];
        for action in allowed {
            assert_eq!(verdict(&bob, Private, Standing::Member, action), Verdict::Allowed);
        }
        for action in moderator {
            let judge = |standing| verdict(&bob, Private, standing, action);
            assert_eq!(judge(Standing::Member), Verdict::NotModerator, "{action:?}");
            assert_eq!(judge(Standing::Moderator), Verdict::Allowed, "{action:?}");
        }
        let edit = Action::EditMessage { owner: ada };
        assert_eq!(verdict(&bob, Private, Standing::Moderator, edit), Verdict::NotOwner);
        let end = Action::DeleteConversation;
        assert_eq!(verdict(&bob, Private, Standing::Moderator, end), Verdict::NotOwner);
        assert_eq!(verdict(&bob, Public, Standing::Stranger, join), Verdict::Allowed);
    }

    #[test]
    fn nobody_moves_the_read_position_of_another_caller() {
        let mark = Action::MarkRead { owner: "bob" };
        for caller in [user("ada"), Caller::Admin("eve".into())] {
            let verdict = verdict(&caller, Public, Standing::Moderator, mark);
            assert_eq!(verdict, Verdict::NotOwner, "{caller:?}");
        }
        assert_eq!(verdict(&user("bob"), Public, Standing::Member, mark), Verdict::Allowed);
    }

    #[test]
    fn a_higher_standing_never_allows_less() {
        let standings = [Standing::Stranger, Standing::Member, Standing::Moderator];
        for caller in [user("ada"), user("bob"), user("eve"), Caller::Anyone] {
            for (visibility, action) in
                actions().into_iter().flat_map(|action| [(Public, action), (Private, action)])
            {
                let allowed = standings.map(|standing| {
                    verdict(&caller, visibility, standing, action) == Verdict::Allowed
                });
                assert!(allowed.is_sorted(), "{caller:?} {visibility:?} {action:?}");
            }
        }
    }
}
