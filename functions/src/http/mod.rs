//! HTTP: what an operation receives and what it returns.
//!
//! - [`event`]: API Gateway's event → request
//! - [`auth`]: the caller, from the verified claims
//! - [`invocation`], [`body`]: what a handler reads: path, query, headers, fields of the body
//! - [`reply`], [`page`], [`quota`]: what a handler returns
//! - [`error`]: every error, with the one match from error to status
//! - [`profiles`], [`conversations`], [`members`], [`messages`], [`tickets`]: the handlers

pub mod auth;
pub mod body;
pub mod conversations;
pub mod error;
pub mod event;
pub mod invocation;
pub mod members;
pub mod messages;
pub mod operation;
pub mod page;
pub mod profiles;
pub mod quota;
pub mod reply;
pub mod tickets;

pub use auth::Auth;
pub use error::Error;
pub use invocation::Invocation;
pub use operation::{Operation, respond_public};
pub use reply::Reply;
