//! The handlers of members: the members of a conversation, and the conversations of a profile.

use shared::table::PutMember;
use shared::{
    ConversationId, InboxCursor, Limit, Member, Membership, NewMember, NewReadPosition, ProfileId,
    Result,
};

use super::body::Fields;
use super::invocation::Invocation;
use super::page::Page;
use super::reply::{self, Reply, no_content};

/// List the conversations of a profile, most recent activity first: its inbox.
///
/// Only for the profile's owner. `unread` says how many messages are new at most. Covers the 1,000
/// newest conversations. An entry that moves between two pages may be missed or repeated.
#[utoipa::path(
    get, path = "/profiles/{profile_id}/conversations", tag = "members",
    params(
        ("profile_id" = ProfileId, Path),
        ("limit" = Option<Limit>, Query, description = "The largest number of results."),
        ("after" = Option<String>, Query,
            description = "Where the page starts: as in `next` of the page before it."),
    ),
    responses((status = 200, body = Page<Membership>)),
)]
pub async fn list_memberships(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, limit) = (invocation.path("profile_id")?, invocation.limit()?);
    let after: Option<InboxCursor> = invocation.query("after")?;
    let page = table.list_memberships(caller, id, limit, after).await?;
    reply::page(&Page::render(page, |after| {
        format!("/profiles/{id}/conversations?limit={limit}&after={after}")
    }))
}

/// List the members of a conversation, by profile id.
#[utoipa::path(
    get, path = "/conversations/{conversation_id}/members", tag = "members",
    params(
        ("conversation_id" = ConversationId, Path),
        ("limit" = Option<Limit>, Query, description = "The largest number of results."),
        ("after" = Option<ProfileId>, Query, description = "Only members above this profile id."),
    ),
    responses((status = 200, body = Page<Member>)),
)]
pub async fn list_members(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, limit) = (invocation.path("conversation_id")?, invocation.limit()?);
    let page = table.list_members(caller, id, limit, invocation.query("after")?).await?;
    reply::page(&Page::render(page, |after| {
        format!("/conversations/{id}/members?limit={limit}&after={after}")
    }))
}

/// Add a member, or set its role.
///
/// Moderators add and change every member. Everyone may join a public conversation with a profile
/// of their own, without naming a role. Adding a member again changes nothing.
#[utoipa::path(
    put, path = "/conversations/{conversation_id}/members/{profile_id}", tag = "members",
    params(("conversation_id" = ConversationId, Path), ("profile_id" = ProfileId, Path)),
    request_body = NewMember,
    responses((status = 200, body = Member), (status = 201, body = Member)),
)]
pub async fn put_member(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, profile_id) = (invocation.path("conversation_id")?, invocation.path("profile_id")?);
    let input = new_member(invocation.json_or_nothing()?)?;
    match table.put_member(caller, id, profile_id, input).await? {
        PutMember::Added(member) => reply::added(&member),
        PutMember::Present(member) => reply::page(&member),
    }
}

/// Remove a member.
///
/// Moderators remove every member, and everyone may leave with a profile of their own. Removing a
/// profile that is no member has no effect.
#[utoipa::path(
    delete, path = "/conversations/{conversation_id}/members/{profile_id}", tag = "members",
    params(("conversation_id" = ConversationId, Path), ("profile_id" = ProfileId, Path)),
    responses((status = 204)),
)]
pub async fn delete_member(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, profile_id) = (invocation.path("conversation_id")?, invocation.path("profile_id")?);
    table.delete_member(caller, id, profile_id).await?;
    no_content()
}

/// Mark the messages up to a `seq` as read.
///
/// Only for the profile's owner. The read position never moves back.
#[utoipa::path(
    put, path = "/conversations/{conversation_id}/members/{profile_id}/read", tag = "members",
    params(("conversation_id" = ConversationId, Path), ("profile_id" = ProfileId, Path)),
    request_body = NewReadPosition,
    responses((status = 200, body = Member)),
)]
pub async fn mark_read(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, profile_id) = (invocation.path("conversation_id")?, invocation.path("profile_id")?);
    let input = new_read_position(invocation.json()?)?;
    reply::page(&table.mark_read(caller, id, profile_id, input).await?)
}

fn new_member(mut fields: Fields) -> Result<NewMember> {
    let role = fields.change("role");
    fields.finish()?;
    Ok(NewMember { role: role? })
}

fn new_read_position(mut fields: Fields) -> Result<NewReadPosition> {
    let seq = fields.required_number("seq");
    fields.finish()?;
    Ok(NewReadPosition { seq: seq? })
}
