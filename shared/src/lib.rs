//! The domain of the chat API: profiles, conversations and messages, their rules, and the one table they live in.
//!
//! - [`profile`], [`conversation`], [`message`]: the resources and their rules; every value is checked by its type's constructor
//! - [`page`]: how lists are cut into pages
//! - [`caller`]: who asks, and the one rule of who may change what
//! - [`table`]: DynamoDB; nothing else knows of it
//! - [`error`]: everything that can go wrong, in the words of the domain

pub mod caller;
pub mod conversation;
pub mod error;
pub mod id;
pub mod message;
pub mod page;
pub mod profile;
pub mod table;
pub mod text;
pub mod time;

pub use caller::Caller;
pub use conversation::{Conversation, ConversationPatch, NewConversation, Subject};
pub use error::{Error, Result};
pub use id::{ConversationId, ProfileId, Seq};
pub use message::{Kind, Message, MessagePatch, Metadata, NewMessage, PostedMessage, Text};
pub use page::{Limit, Page};
pub use profile::{FirstName, Name, NewProfile, Profile, ProfilePatch};
pub use table::{Idempotency, Table};
pub use time::Time;
