//! Everything that can go wrong, in the words of the domain. Which status a client sees is decided elsewhere.

use std::collections::BTreeMap;

/// What the domain's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause that is logged and never shown.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is wrong with each field of a request.
pub type FieldErrors = BTreeMap<String, Vec<String>>;

/// Why a request was not carried out. The text of each error is for the client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be read: its syntax, an id, or its query is wrong.
    #[error("{0}")]
    Malformed(String),
    /// The caller did not say who they are.
    #[error("This request needs a valid access token.")]
    Unauthenticated,
    /// The caller may not change what belongs to someone else.
    #[error("This belongs to someone else; only its owner or an administrator may change it.")]
    Forbidden,
    /// The caller's token does not allow this kind of request; the text is the scope that it lacks.
    #[error("This request needs an access token with the scope {0}.")]
    MissingScope(&'static str),
    /// There is no such thing; the text says which.
    #[error("There is no such {0}.")]
    NotFound(&'static str),
    /// The resource is in a state that does not allow this.
    #[error("{0}")]
    Conflict(&'static str),
    /// The idempotency key was used, and what it created has been deleted since.
    #[error("What this Idempotency-Key created has been deleted.")]
    Gone,
    /// The body is larger than [`crate::text::MAX_BODY`] bytes.
    #[error("The body is larger than {} bytes.", crate::text::MAX_BODY)]
    TooLarge,
    /// The body is not of a media type that the operation reads.
    #[error("{0}")]
    MediaType(&'static str),
    /// The request is well-formed, but fields of it are not valid.
    #[error("The request is well-formed but not valid; see errors.")]
    Invalid(FieldErrors),
    /// The idempotency key was used for another request.
    #[error("This Idempotency-Key was used with another request; use a new key for a new request.")]
    KeyReused,
    /// The table refused or could not be reached, and this request wrote nothing.
    #[error("The service cannot answer right now and has changed nothing; send the request again.")]
    Unavailable(#[source] Cause),
    /// The deadline came before it was known whether the request was carried out.
    #[error("The outcome of this request is unknown; look before you send it again, or repeat it with its Idempotency-Key.")]
    Unknown(#[source] Cause),
    /// A bug of ours.
    #[error("Something went wrong on our side.")]
    Internal(#[source] Cause),
}

impl Error {
    /// One field that is not valid, and why.
    #[must_use]
    pub fn invalid(field: &str, why: impl Into<String>) -> Self {
        Self::Invalid(FieldErrors::from([(field.to_owned(), vec![why.into()])]))
    }

    /// The error and its causes in one line, for the log.
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

    /// The same error, of a request that has written something: it cannot claim that nothing was changed.
    #[must_use]
    pub fn after_a_write(self) -> Self {
        match self {
            Self::Unavailable(cause) => Self::Unknown(cause),
            error => error,
        }
    }

    /// A bug of ours, with its cause for the log.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }
}
