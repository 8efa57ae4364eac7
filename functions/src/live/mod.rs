//! Live delivery: the functions of the WebSocket API and of the table's stream.
//!
//! - [`event`]: the events of the WebSocket API, and answering the frames of clients
//! - [`connections`]: `connect` and `disconnect`
//! - [`frames`]: `subscribe`, `unsubscribe` and `watch`
//! - [`deliver`](mod@deliver): `deliver`, which gets the records of the stream
//! - [`publisher`]: sends frames to connections; the only code that uses that SDK

pub mod connections;
pub mod deliver;
pub mod event;
pub mod frames;
pub mod publisher;

pub use connections::{connect, disconnect};
pub use deliver::{StreamEvent, deliver};
pub use event::SocketEvent;
pub use frames::{subscribe, unsubscribe, watch};
pub use publisher::Publisher;
