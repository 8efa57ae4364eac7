//! The handlers of conversations.

use serde::Serialize;
use shared::{
    Conversation, ConversationId, ConversationPatch, Cursor, Limit, Message, MessageLimit,
    NewConversation, Result,
};
use utoipa::ToSchema;

use super::body::Fields;
use super::invocation::Invocation;
use super::messages;
use super::page::Page;
use super::reply::{self, Reply, Versioned, created, no_content, ok};

/// A conversation with its newest messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationDetails {
    /// The conversation.
    #[serde(flatten)]
    conversation: Conversation,
    /// Its newest messages, newest first.
    messages: Page<Message>,
    /// Where a client that has these messages starts to follow the changes.
    #[schema(value_type = String, example = "12.3")]
    cursor: Cursor,
}

impl Versioned for ConversationDetails {
    fn version(&self) -> u64 {
        self.conversation.version
    }
}

/// Create a conversation.
///
/// Its author becomes the first member, a moderator. A private conversation is visible to the
/// owners of its members only.
#[utoipa::path(
    post, path = "/conversations", tag = "conversations",
    request_body = NewConversation,
    responses((status = 201, body = Conversation)),
)]
pub async fn create_conversation(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let key = invocation.idempotency_key()?;
    let input = new_conversation(invocation.json()?)?;
    let conversation = table.create_conversation(caller, input, key.as_ref()).await?;
    created(&conversation, |conversation| format!("/conversations/{}", conversation.id))
}

/// List public conversations, newest first.
///
/// A conversation created a moment ago may still be missing.
#[utoipa::path(
    get, path = "/conversations", tag = "conversations",
    params(
        ("limit" = Option<Limit>, Query, description = "The largest number of results."),
        ("before" = Option<ConversationId>, Query, description = "Only older conversations."),
    ),
    responses((status = 200, body = Page<Conversation>)),
)]
pub async fn list_conversations(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (limit, before) = (invocation.limit()?, invocation.query("before")?);
    let page = table.list_conversations(caller, limit, before).await?;
    reply::page(&Page::render(page, |before| {
        format!("/conversations?limit={limit}&before={before}")
    }))
}

/// Get a conversation with its newest messages.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}", tag = "conversations",
    params(
        ("conversation_id" = ConversationId, Path),
        ("limit" = Option<MessageLimit>, Query, description = "The largest number of messages."),
    ),
    responses((status = 200, body = ConversationDetails)),
)]
pub async fn get_conversation(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let id = invocation.path("conversation_id")?;
    let limit: MessageLimit = invocation.query("limit")?.unwrap_or_default();
    let (conversation, page, cursor) = table.get_conversation(caller, id, limit).await?;
    let messages = messages::render(id, limit.0.unwrap_or_default(), page);
    ok(&ConversationDetails { conversation, messages, cursor })
}

/// Change a conversation.
#[utoipa::path(
    patch, path = "/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    request_body = ConversationPatch,
    responses((status = 200, body = Conversation)),
)]
pub async fn update_conversation(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let id = invocation.path("conversation_id")?;
    let if_match = invocation.if_match()?;
    let patch = conversation_patch(invocation.merge_patch()?)?;
    ok(&table.update_conversation(caller, id, patch, &if_match).await?)
}

/// Delete a conversation and its messages.
///
/// It is unreachable immediately, and removed after 10 minutes.
#[utoipa::path(
    delete, path = "/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 204)),
)]
pub async fn delete_conversation(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, if_match) = (invocation.path("conversation_id")?, invocation.if_match()?);
    table.delete_conversation(caller, id, &if_match).await?;
    no_content()
}

fn new_conversation(mut fields: Fields) -> Result<NewConversation> {
    let subject = fields.required("subject");
    let author_id = fields.required("author_id");
    let visibility = fields.optional("visibility");
    fields.finish()?;
    Ok(NewConversation { subject: subject?, author_id: author_id?, visibility: visibility? })
}

fn conversation_patch(mut fields: Fields) -> Result<ConversationPatch> {
    let subject = fields.change("subject");
    fields.finish()?;
    Ok(ConversationPatch { subject: subject? })
}
