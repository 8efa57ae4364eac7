//! The handlers of conversations.

use shared::{ConversationId, ConversationPatch, NewConversation, Result, Table};

use crate::Reply;
use crate::body::Fields;
use crate::http::{Invocation, created, no_content, ok};

/// `POST /conversations`
pub async fn create_conversation(invocation: Invocation) -> Reply {
    invocation.query(&[])?;
    let idempotency = invocation.idempotency("create-conversation", &[])?;
    let input = invocation.fields().and_then(new_conversation);
    let conversation = invocation.table.create_conversation(&invocation.caller, input, idempotency.as_ref()).await?;
    created(&conversation, |conversation| format!("/conversations/{}", conversation.id))
}

/// `GET /conversations`
pub async fn list_conversations(invocation: Invocation) -> Reply {
    let query = invocation.query(&["limit", "before"])?;
    let limit = query.get("limit")?.unwrap_or_default();
    ok(&invocation.table.list_conversations(limit, query.get("before")?).await?)
}

/// `GET /conversations/{conversation_id}`
pub async fn get_conversation(invocation: Invocation) -> Reply {
    let id: ConversationId = invocation.path("conversation_id")?;
    invocation.query(&[])?;
    ok(&invocation.table.get_conversation(id).await?)
}

/// `PATCH /conversations/{conversation_id}`
pub async fn update_conversation(invocation: Invocation) -> Reply {
    let id: ConversationId = invocation.path("conversation_id")?;
    invocation.query(&[])?;
    let patch = conversation_patch(invocation.fields()?)?;
    ok(&invocation.table.update_conversation(&invocation.caller, id, patch).await?)
}

/// `DELETE /conversations/{conversation_id}`
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
