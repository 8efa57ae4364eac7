//! The one DynamoDB table, and the only code that knows it.
//!
//! [`Table`] has one method for each operation, spread over one file per resource. Every request to
//! DynamoDB goes through [`attempts`], the one retry loop.
//!
//! - [`client`]: connecting; what a request used
//! - [`keys`], [`items`]: the keys and attributes of the items
//! - [`attempts`], [`backoff`], [`transactions`], [`requests`]: sending, retrying, and what an answer
//!   means
//! - [`idempotency`]: the keys that make a repeated POST harmless
//! - [`access`]: reading what decides access to a conversation
//! - [`profiles`], [`conversations`], [`members`], [`messages`]: the operations
//! - [`changes`], [`versions`]: the change feed; changes that never undo later ones
//! - [`live`]: tickets, connections, subscriptions, and what is delivered to them
//! - [`deletion`]: how a deleted conversation or profile is removed
//! - [`schema`]: creating the table on a development engine

mod access;
mod attempts;
mod backoff;
mod changes;
mod client;
mod conversations;
mod deletion;
mod idempotency;
mod items;
mod keys;
mod live;
mod members;
mod messages;
mod profiles;
mod requests;
pub mod schema;
mod transactions;
mod versions;

pub use backoff::{Backoff, SHORTEST_ATTEMPT, Setback, backoff};
pub use client::{Access, Table, Usage, client_config, variable};
pub use deletion::Purged;
pub use idempotency::Created;
pub use live::{Batch, Notice, Parcel, Subscriber, parse_record};
pub use members::PutMember;
pub use messages::Posted;
