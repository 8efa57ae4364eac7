//! The domain of the chat API and its one DynamoDB table.
//!
//! - [`profile`], [`conversation`], [`member`], [`message`]: the resources; each value is checked
//!   by its type's constructor
//! - [`access`]: the caller, and the one place that decides who may see and change what
//! - [`page`]: how lists are split; [`version`]: `If-Match` and cursors; [`rate`]: the rate limit
//! - [`live`]: tickets, connections and frames
//! - [`error`]: the errors of the domain
//! - [`table`]: storage; the only code that uses the DynamoDB SDK
//! - [`id`], [`time`], [`text`], [`json`]: the values that the others are made of

pub mod access;
pub mod conversation;
pub mod error;
pub mod id;
pub mod json;
pub mod live;
pub mod member;
pub mod message;
pub mod page;
pub mod profile;
pub mod rate;
pub mod table;
pub mod text;
pub mod time;
pub mod version;

pub use access::Caller;
pub use conversation::{Conversation, ConversationPatch, NewConversation, Subject, Visibility};
pub use error::{Error, Result};
pub use id::{ConversationId, IdempotencyKey, ProfileId, Seq};
pub use member::{
    ConversationSummary, InboxCursor, Member, Membership, NewMember, NewReadPosition, Role,
};
pub use message::{
    Changes, ConversationHead, Kind, Message, MessagePatch, Metadata, MetadataPatch, NewMessage,
    PostedMessage, Text,
};
pub use page::{Limit, MessageLimit, Page, PageStart};
pub use profile::{FirstName, Name, NewProfile, Profile, ProfilePatch};
pub use rate::{Quota, RateLimit};
pub use table::Table;
pub use time::Time;
pub use version::{Cursor, IfMatch};
