//! The handlers of messages.

use serde::Serialize;
use shared::table::Posted;
use shared::{
    Changes, ConversationHead, ConversationId, Cursor, Limit, Message, MessagePatch, NewMessage,
    PageStart, PostedMessage, Result, Seq,
};

use utoipa::ToSchema;

use super::body::Fields;
use super::error::Error;
use super::invocation::Invocation;
use super::page::Page;
use super::quota::insert_quota;
use super::reply::{self, Reply, created, no_content, ok};

/// What is new in a conversation since a cursor.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangesPage {
    /// The conversation.
    conversation: ConversationHead,
    /// The messages that are new or changed, as they are now, by `seq`.
    results: Vec<Message>,
    /// Where to continue.
    #[schema(value_type = String, example = "12.3")]
    cursor: Cursor,
    /// Path and query of the following page; `None` if nothing more is known.
    #[schema(required)]
    next: Option<String>,
}

/// Post a message.
///
/// It earns its author a point. If the total becomes a multiple of ten, a congratulation follows at
/// the next `seq`.
#[utoipa::path(
    post, path = "/conversations/{conversation_id}/messages", tag = "messages",
    params(("conversation_id" = ConversationId, Path)),
    request_body = NewMessage,
    responses((status = 201, body = PostedMessage), (status = 429)),
)]
pub async fn create_message(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let id = invocation.path("conversation_id")?;
    let key = invocation.idempotency_key()?;
    let input = new_message(invocation.json()?)?;
    let Posted { created: posted, quota } =
        table.create_message(caller, id, input, key.as_ref()).await?;
    let location =
        |posted: &PostedMessage| format!("/conversations/{id}/messages/{}", posted.message.seq);
    let mut response = created(&posted, location)?;
    if let Some(quota) = quota {
        insert_quota(response.headers_mut(), &quota);
    }
    Ok(response)
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
    reply::page(&render(id, limit, table.list_messages(caller, id, start, limit).await?))
}

/// List the changes of a conversation: what is new since a cursor.
///
/// Returns the messages that are new or changed, as they are now, and the conversation's subject. Start
/// with the `cursor` of the conversation, or `0.0` for everything. Keep for each `seq` the message with
/// the higher `change`.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}/changes", tag = "messages",
    params(
        ("conversation_id" = ConversationId, Path),
        ("limit" = Option<Limit>, Query, description = "The largest number of results."),
        ("after" = String, Query, pattern = r"^(0|[1-9]\d{0,11})\.(0|[1-9]\d{0,11})$",
            description = "The cursor of the previous response.", example = "0.0"),
    ),
    responses((status = 200, body = ChangesPage), (status = 410)),
)]
pub async fn list_changes(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, limit) = (invocation.path("conversation_id")?, invocation.limit()?);
    let after: Option<Cursor> = invocation.query("after")?;
    let missing = || Error::Malformed("Send the query parameter after, a cursor or 0.0.".into());
    let changes = table.list_changes(caller, id, after.ok_or_else(missing)?, limit).await?;
    let Changes { conversation, results, cursor, more } = changes;
    let next = more.then(|| format!("/conversations/{id}/changes?limit={limit}&after={cursor}"));
    reply::page(&ChangesPage { conversation, results, cursor, next })
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
/// `metadata` is a merge patch too. A congratulation or a deleted message cannot be edited.
#[utoipa::path(
    patch, path = "/conversations/{conversation_id}/messages/{seq}", tag = "messages",
    params(("conversation_id" = ConversationId, Path), ("seq" = Seq, Path)),
    request_body = MessagePatch,
    responses((status = 200, body = Message), (status = 409)),
)]
pub async fn update_message(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, seq) = (invocation.path("conversation_id")?, invocation.path("seq")?);
    let if_match = invocation.if_match()?;
    let patch = message_patch(invocation.merge_patch()?)?;
    ok(&table.update_message(caller, id, seq, patch, &if_match).await?)
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
    let if_match = invocation.if_match()?;
    table.delete_message(caller, id, seq, &if_match).await?;
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
    let metadata = fields.change("metadata");
    fields.finish()?;
    Ok(MessagePatch { text: text?, metadata: metadata? })
}
