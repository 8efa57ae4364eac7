//! The handlers of messages.

use shared::{
    ConversationId, Limit, Message, MessagePatch, NewMessage, PageStart, PostedMessage, Result, Seq,
};

use super::body::Fields;
use super::error::Error;
use super::invocation::Invocation;
use super::page::Page;
use super::reply::{Reply, created, no_content, ok};

/// Post a message.
///
/// It earns its author a point. If the total becomes a multiple of ten, a congratulation follows at
/// the next `seq`.
#[utoipa::path(
    post, path = "/conversations/{conversation_id}/messages", tag = "messages",
    params(("conversation_id" = ConversationId, Path)),
    request_body = NewMessage,
    responses((status = 201, body = PostedMessage)),
)]
pub async fn create_message(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let id = invocation.path("conversation_id")?;
    let key = invocation.idempotency_key()?;
    let input = new_message(invocation.json()?)?;
    let posted = table.create_message(caller, id, input, key.as_ref()).await?;
    created(&posted, |posted| format!("/conversations/{id}/messages/{}", posted.message.seq))
}

/// List messages: newest first, or those after a `seq`, oldest first.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}/messages", tag = "messages",
    params(
        ("conversation_id" = ConversationId, Path),
        ("limit" = Option<Limit>, Query, description = "The largest number of results."),
        ("before" = Option<Seq>, Query,
            description = "Older messages: below this `seq`, newest first."),
        ("after" = Option<Seq>, Query,
            description = "New messages: above this `seq`, oldest first. Excludes `before`."),
    ),
    responses((status = 200, body = Page<Message>)),
)]
pub async fn list_messages(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, limit) = (invocation.path("conversation_id")?, invocation.limit()?);
    let start = match (invocation.query("before")?, invocation.query("after")?) {
        (None, None) => PageStart::Newest,
        (Some(before), None) => PageStart::Before(before),
        (None, Some(after)) => PageStart::After(after),
        (Some(_), Some(_)) => {
            return Err(Error::Malformed("Send before or after, not both.".into()));
        }
    };
    ok(&render(id, limit, table.list_messages(caller, id, start, limit).await?))
}

/// Get a message.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}/messages/{seq}", tag = "messages",
    params(("conversation_id" = ConversationId, Path), ("seq" = Seq, Path)),
    responses((status = 200, body = Message)),
)]
pub async fn get_message(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, seq) = (invocation.path("conversation_id")?, invocation.path("seq")?);
    ok(&table.get_message(caller, id, seq).await?)
}

/// Edit a message.
///
/// `metadata` is replaced. A congratulation or a deleted message cannot be edited.
#[utoipa::path(
    patch, path = "/conversations/{conversation_id}/messages/{seq}", tag = "messages",
    params(("conversation_id" = ConversationId, Path), ("seq" = Seq, Path)),
    request_body = MessagePatch,
    responses((status = 200, body = Message), (status = 409)),
)]
pub async fn update_message(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, seq) = (invocation.path("conversation_id")?, invocation.path("seq")?);
    let patch = message_patch(invocation.merge_patch()?)?;
    ok(&table.update_message(caller, id, seq, patch).await?)
}

/// Delete a message.
///
/// It keeps its `seq`, without text and metadata. Deleting it again has no effect. A congratulation
/// cannot be deleted.
#[utoipa::path(
    delete, path = "/conversations/{conversation_id}/messages/{seq}", tag = "messages",
    params(("conversation_id" = ConversationId, Path), ("seq" = Seq, Path)),
    responses((status = 204), (status = 409)),
)]
pub async fn delete_message(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, seq) = (invocation.path("conversation_id")?, invocation.path("seq")?);
    table.delete_message(caller, id, seq).await?;
    no_content()
}

/// Renders a page of a conversation's messages.
pub(super) fn render(
    id: ConversationId,
    limit: Limit,
    page: shared::Page<Message, PageStart>,
) -> Page<Message> {
    Page::render(page, |start| {
        let start = match start {
            PageStart::Newest => String::new(),
            PageStart::Before(before) => format!("&before={before}"),
            PageStart::After(after) => format!("&after={after}"),
        };
        format!("/conversations/{id}/messages?limit={limit}{start}")
    })
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
