//! The handlers of conversations.

use serde::Serialize;
use shared::{
    Conversation, ConversationId, ConversationPatch, Limit, Message, NewConversation, Result,
};
use utoipa::ToSchema;

use super::body::Fields;
use super::invocation::Invocation;
use super::messages;
use super::page::Page;
use super::reply::{Reply, created, no_content, ok};

/// A conversation with its newest messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationDetails {
    /// The conversation.
    #[serde(flatten)]
    conversation: Conversation,
    /// Its newest messages, newest first.
    messages: Page<Message>,
}

/// Create a conversation.
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

/// List conversations, newest first.
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
    ok(&Page::render(page, |before| format!("/conversations?limit={limit}&before={before}")))
}

/// Get a conversation with its newest messages.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 200, body = ConversationDetails)),
)]
pub async fn get_conversation(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, limit) = (invocation.path("conversation_id")?, Limit::default());
    let (conversation, page) = table.get_conversation(caller, id, limit).await?;
    ok(&ConversationDetails { conversation, messages: messages::render(id, limit, page) })
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
    let patch = conversation_patch(invocation.merge_patch()?)?;
    ok(&table.update_conversation(caller, id, patch).await?)
}

/// Delete a conversation and its messages.
#[utoipa::path(
    delete, path = "/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 204)),
)]
pub async fn delete_conversation(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    table.delete_conversation(caller, invocation.path("conversation_id")?).await?;
    no_content()
}

fn new_conversation(mut fields: Fields) -> Result<NewConversation> {
    let subject = fields.required("subject");
    let author_id = fields.required("author_id");
    fields.finish()?;
    Ok(NewConversation { subject: subject?, author_id: author_id? })
}

fn conversation_patch(mut fields: Fields) -> Result<ConversationPatch> {
    let subject = fields.change("subject");
    fields.finish()?;
    Ok(ConversationPatch { subject: subject? })
}
