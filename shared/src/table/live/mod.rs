//! Live delivery.
//!
//! - [`connections`]: tickets and connections
//! - [`subscriptions`]: what a connection receives
//! - [`notices`]: what a batch of the table's stream says about a conversation
//! - [`delivery`]: which frames it sends to whom

mod connections;
mod delivery;
mod notices;
mod subscriptions;

pub use delivery::Parcel;
pub use notices::{Batch, Notice, parse_record};
pub use subscriptions::Subscriber;
