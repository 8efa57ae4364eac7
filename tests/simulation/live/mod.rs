//! Live delivery: the stream of the table, the connections, and clients that follow a conversation
//! through them.
//!
//! - [`stream`]: delivers the records of the stream in batches
//! - [`sockets`]: opens connections, and carries frames both ways, unreliably
//! - [`listener`]: the clients, which follow the documented rule
//! - [`checks`]: what was sent to whom

pub(crate) mod checks;
pub(crate) mod listener;
pub(crate) mod sockets;
pub(crate) mod stream;
