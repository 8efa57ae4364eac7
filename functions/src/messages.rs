//! The handlers of messages.

use shared::table::Cursor;
use shared::{ConversationId, Error, Limit, Message, MessagePatch, NewMessage, Page, PostedMessage, Result, Seq};

use crate::Reply;
use crate::body::Fields;
use crate::http::{Invocation, created, no_content, ok};

/// Post a message.
///
/// It earns its author a point. When the total reaches a multiple of ten, a congratulation follows at the next place.
#[utoipa::path(
    post, path = "/conversations/{conversation_id}/messages", tag = "messages",
    params(("conversation_id" = ConversationId, Path)),
    request_body = NewMessage,
    responses((status = 201, body = PostedMessage)),
)]
pub async fn create_message(invocation: Invocation) -> Reply {
    let id: ConversationId = invocation.path("conversation_id")?;
    invocation.query(&[])?;
    let idempotency = invocation.idempotency("create-message", &[id.to_string()])?;
    let input = invocation.fields().and_then(new_message);
    let posted = invocation.table.create_message(&invocation.caller, id, input, idempotency.as_ref()).await?;
    created(&posted, |posted| format!("/conversations/{id}/messages/{}", posted.message.seq))
}

/// List messages, newest first, or those after a place, oldest first.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}/messages", tag = "messages",
    params(
        ("conversation_id" = ConversationId, Path),
        ("limit" = Option<Limit>, Query),
        ("before" = Option<Seq>, Query, description = "Back in history: what stands before this place, newest first."),
        ("after" = Option<Seq>, Query, description = "To poll: all that stands after this place, oldest first. Excludes `before`."),
    ),
    responses((status = 200, body = Page<Message>)),
)]
pub async fn list_messages(invocation: Invocation) -> Reply {
    let id: ConversationId = invocation.path("conversation_id")?;
    let query = invocation.query(&["limit", "before", "after"])?;
    let limit = query.get("limit")?.unwrap_or_default();
    let cursor = match (query.get("before")?, query.get("after")?) {
        (None, None) => Cursor::Newest,
        (Some(before), None) => Cursor::Before(before),
        (None, Some(after)) => Cursor::After(after),
        (Some(_), Some(_)) => return Err(Error::Malformed("before and after exclude each other".into())),
    };
    ok(&invocation.table.list_messages(id, cursor, limit).await?)
}

/// Get a message.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}/messages/{seq}", tag = "messages",
    params(("conversation_id" = ConversationId, Path), ("seq" = Seq, Path)),
    responses((status = 200, body = Message)),
)]
pub async fn get_message(invocation: Invocation) -> Reply {
    let (id, seq): (ConversationId, Seq) = (invocation.path("conversation_id")?, invocation.path("seq")?);
    invocation.query(&[])?;
    ok(&invocation.table.get_message(id, seq).await?)
}

/// Edit a message.
///
/// `metadata` is replaced whole. A congratulation or a deleted message cannot be edited.
#[utoipa::path(
    patch, path = "/conversations/{conversation_id}/messages/{seq}", tag = "messages",
    params(("conversation_id" = ConversationId, Path), ("seq" = Seq, Path)),
    request_body = MessagePatch,
    responses((status = 200, body = Message), (status = 409)),
)]
pub async fn update_message(invocation: Invocation) -> Reply {
    let (id, seq): (ConversationId, Seq) = (invocation.path("conversation_id")?, invocation.path("seq")?);
    invocation.query(&[])?;
    let patch = message_patch(invocation.fields()?)?;
    ok(&invocation.table.update_message(&invocation.caller, id, seq, patch).await?)
}

/// Delete a message.
///
/// It keeps its place, emptied. Deleting it again does nothing; a congratulation cannot be deleted.
#[utoipa::path(
    delete, path = "/conversations/{conversation_id}/messages/{seq}", tag = "messages",
    params(("conversation_id" = ConversationId, Path), ("seq" = Seq, Path)),
    responses((status = 204), (status = 409)),
)]
pub async fn delete_message(invocation: Invocation) -> Reply {
    let (id, seq): (ConversationId, Seq) = (invocation.path("conversation_id")?, invocation.path("seq")?);
    invocation.query(&[])?;
    invocation.table.delete_message(&invocation.caller, id, seq).await?;
    no_content()
}

fn new_message(mut fields: Fields) -> Result<NewMessage> {
    let author_id = fields.required("author_id");
    let text = fields.required("text");
    let metadata = fields.optional("metadata");
    fields.finish()?;
    Ok(NewMessage { author_id: author_id?, text: text?, metadata: metadata? })
}

fn message_patch(mut fields: Fields) -> Result<MessagePatch> {
    let text = fields.change("text");
    let metadata = fields.change_or_reset("metadata");
    fields.finish()?;
    Ok(MessagePatch { text: text?, metadata: metadata? })
}
