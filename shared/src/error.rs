//! The errors of the domain. HTTP decides their status.

use std::collections::BTreeMap;

use crate::rate::Quota;

/// The result of the domain's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause that is logged and never sent to a client.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The errors of each invalid field of a request.
pub type FieldErrors = BTreeMap<String, Vec<String>>;

/// Why a request failed. The text of each error is for the client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another caller owns the resource or the profile.
    #[error("Another caller owns this resource or profile, and only its owner may do this.")]
    Forbidden,
    /// The caller is not a moderator of the conversation.
    #[error("Only a moderator of this conversation may do this.")]
    NotModerator,
    /// The conversation is private, and the profile is not a member.
    #[error("Only members may post in this conversation. A moderator can add this profile.")]
    NotAMember,
    /// The resource does not exist, or the caller may not see it. The text names its kind.
    #[error("There is no such {0}.")]
    NotFound(&'static str),
    /// The state of the resource does not allow the request.
    #[error("{0}")]
    Conflict(Conflict),
    /// The resource that this idempotency key created has been deleted since.
    #[error("The resource that this Idempotency-Key created has been deleted.")]
    Gone,
    /// The resource has none of the versions in `If-Match`.
    #[error("The resource has changed. Read it again, and repeat the request with its new ETag.")]
    PreconditionFailed,
    /// The cursor is beyond the conversation's last message.
    #[error("This cursor is unknown. Read the conversation again and follow it from its cursor.")]
    CursorUnknown,
    /// The connection has ended, or its time is over.
    #[error("This connection has ended. Get a ticket and open another one.")]
    ConnectionEnded,
    /// The connection has as many subscriptions as it can have.
    #[error("This connection has 100 subscriptions. End one, or open another connection.")]
    TooManySubscriptions,
    /// The profile posts faster than its rate limit allows.
    #[error("This profile posts too fast. Wait as long as Retry-After says.")]
    RateLimited {
        /// Seconds to wait.
        retry_after: u32,
        /// The posts that are left.
        quota: Quota,
    },
    /// The conversation receives more posts than it can store.
    #[error("This conversation is busy and nothing was stored. Wait as long as Retry-After says.")]
    ConversationBusy,
    /// Fields are invalid.
    #[error("Correct the fields listed in errors.")]
    Invalid(FieldErrors),
    /// The idempotency key was used for another request.
    #[error(
        "This Idempotency-Key was used for another request. If this is a new request, use a new key."
    )]
    KeyReused,
    /// The table refused the request or could not be reached. Nothing was stored.
    #[error("The service is busy and has stored nothing. Send the request again.")]
    Unavailable(#[source] Cause),
    /// The deadline passed while it was undecided whether the request was committed.
    #[error(
        "The outcome of this request is unknown. Repeat it with the same Idempotency-Key, or check \
         whether it was stored before you send it again."
    )]
    OutcomeUnknown(#[source] Cause),
    /// A bug.
    #[error("The service has failed. The request_id identifies this failure in the service's log.")]
    Internal(#[source] Cause),
}

/// A state that does not allow a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A congratulation can be neither edited nor deleted.
    #[error("A congratulation cannot be edited or deleted.")]
    Congratulation,
    /// A void has no author, so it can be neither edited nor deleted.
    #[error("This message was never posted, so it cannot be edited or deleted.")]
    Void,
    /// A deleted message cannot be edited.
    #[error("A deleted message cannot be edited.")]
    DeletedMessage,
}

impl Conflict {
    /// Returns the stable snake_case name of the conflict.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Congratulation => "congratulation",
            Self::Void => "void",
            Self::DeletedMessage => "message_deleted",
        }
    }
}

impl Error {
    /// Creates the error of one invalid field.
    #[must_use]
    pub fn invalid(field: &str, reason: impl Into<String>) -> Self {
        Self::Invalid(FieldErrors::from([(field.to_owned(), vec![reason.into()])]))
    }

    /// Returns the error and its causes in one line, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            line.push_str(": ");
            line.push_str(&cause.to_string());
            source = cause.source();
        }
        line
    }

    /// Returns the error of a request that may have stored something: "nothing was stored" becomes
    /// "the outcome is unknown".
    #[must_use]
    pub fn after_a_write(self) -> Self {
        match self {
            Self::Unavailable(cause) => Self::OutcomeUnknown(cause),
            error => error,
        }
    }

    /// Returns the error of a repeated request: what the caller cannot see is gone.
    #[must_use]
    pub fn or_gone(self) -> Self {
        match self {
            Self::NotFound(_) => Self::Gone,
            error => error,
        }
    }

    /// Creates the error of a bug, with its cause for the log.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }
}
