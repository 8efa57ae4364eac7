//! The handlers of conversations.

use shared::{Conversation, ConversationId, ConversationPatch, Limit, NewConversation, Page, Result, Table};

use crate::Reply;
use crate::body::Fields;
use crate::http::{Invocation, created, no_content, ok};

/// Open a conversation.
#[utoipa::path(
    post, path = "/conversations", tag = "conversations",
    request_body = NewConversation,
    responses((status = 201, body = Conversation)),
)]
pub async fn create_conversation(invocation: Invocation) -> Reply {
    invocation.query(&[])?;
    let idempotency = invocation.idempotency("create-conversation", &[])?;
    let input = invocation.fields().and_then(new_conversation);
    let conversation = invocation.table.create_conversation(&invocation.caller, input, idempotency.as_ref()).await?;
    created(&conversation, |conversation| format!("/conversations/{}", conversation.id))
}

/// List conversations, newest first.
///
/// A conversation opened just now may be missing for a moment.
#[utoipa::path(
    get, path = "/conversations", tag = "conversations",
    params(("limit" = Option<Limit>, Query), ("before" = Option<ConversationId>, Query)),
    responses((status = 200, body = Page<Conversation>)),
)]
pub async fn list_conversations(invocation: Invocation) -> Reply {
    let query = invocation.query(&["limit", "before"])?;
    let limit = query.get("limit")?.unwrap_or_default();
    ok(&invocation.table.list_conversations(limit, query.get("before")?).await?)
}

/// Get a conversation with its newest messages.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 200, body = Conversation)),
)]
pub async fn get_conversation(invocation: Invocation) -> Reply {
    let id: ConversationId = invocation.path("conversation_id")?;
    invocation.query(&[])?;
    ok(&invocation.table.get_conversation(id).await?)
}

/// Change a conversation.
#[utoipa::path(
    patch, path = "/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    request_body = ConversationPatch,
    responses((status = 200, body = Conversation)),
)]
pub async fn update_conversation(invocation: Invocation) -> Reply {
    let id: ConversationId = invocation.path("conversation_id")?;
    invocation.query(&[])?;
    let patch = conversation_patch(invocation.fields()?)?;
    ok(&invocation.table.update_conversation(&invocation.caller, id, patch).await?)
}

/// Delete a conversation and its messages.
#[utoipa::path(
    delete, path = "/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 204)),
)]
pub async fn delete_conversation(invocation: Invocation) -> Reply {
    let id: ConversationId = invocation.path("conversation_id")?;
    invocation.query(&[])?;
    invocation.table.delete_conversation(&invocation.caller, id).await?;
    no_content()
}

/// The scheduled function `purge-deleted`: goes on with deletions that found no time to remove everything.
pub async fn purge_deleted(table: Table) -> Result<()> {
    let purged = table.purge_deleted().await?;
    tracing::info!(purged, "purged");
    Ok(())
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
