//! The handlers of profiles.

use std::str::FromStr;

use shared::{Limit, NewProfile, Profile, ProfileId, ProfilePatch, Result};
use utoipa::ToSchema;

use super::body::Fields;
use super::invocation::Invocation;
use super::page::Page;
use super::reply::{self, Reply, created, no_content, ok};

/// Whose profiles a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Owner {
    /// The caller's.
    Me,
}

impl FromStr for Owner {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "me" { Ok(Self::Me) } else { Err("must be me") }
    }
}

/// Create a profile.
///
/// Its owner is the caller.
#[utoipa::path(
    post, path = "/profiles", tag = "profiles",
    request_body = NewProfile,
    responses((status = 201, body = Profile)),
)]
pub async fn create_profile(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let key = invocation.idempotency_key()?;
    let input = new_profile(invocation.json()?)?;
    let profile = table.create_profile(caller, input, key.as_ref()).await?;
    created(&profile, |profile| format!("/profiles/{}", profile.id))
}

/// List profiles, newest first.
///
/// A profile created a moment ago may still be missing, except among the caller's own.
#[utoipa::path(
    get, path = "/profiles", tag = "profiles",
    params(
        ("limit" = Option<Limit>, Query, description = "The largest number of results."),
        ("before" = Option<ProfileId>, Query, description = "Only older profiles."),
        ("owner" = Option<Owner>, Query, description = "Only the caller's own profiles."),
    ),
    responses((status = 200, body = Page<Profile>)),
)]
pub async fn list_profiles(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (limit, before) = (invocation.limit()?, invocation.query("before")?);
    let (page, owner) = match invocation.query("owner")? {
        Some(Owner::Me) => (table.list_own_profiles(caller, limit, before).await?, "&owner=me"),
        None => (table.list_profiles(caller, limit, before).await?, ""),
    };
    reply::page(&Page::render(page, |before| {
        format!("/profiles?limit={limit}&before={before}{owner}")
    }))
}

/// Get a profile.
#[utoipa::path(
    get, path = "/profiles/{profile_id}", tag = "profiles",
    params(("profile_id" = ProfileId, Path)),
    responses((status = 200, body = Profile)),
)]
pub async fn get_profile(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    ok(&table.get_profile(caller, invocation.path("profile_id")?).await?)
}

/// Change a profile.
#[utoipa::path(
    patch, path = "/profiles/{profile_id}", tag = "profiles",
    params(("profile_id" = ProfileId, Path)),
    request_body = ProfilePatch,
    responses((status = 200, body = Profile)),
)]
pub async fn update_profile(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let id = invocation.path("profile_id")?;
    let if_match = invocation.if_match()?;
    let patch = profile_patch(invocation.merge_patch()?)?;
    ok(&table.update_profile(caller, id, patch, &if_match).await?)
}

/// Delete a profile.
///
/// Its messages stay, with `author: null`. It leaves its conversations.
#[utoipa::path(
    delete, path = "/profiles/{profile_id}", tag = "profiles",
    params(("profile_id" = ProfileId, Path)),
    responses((status = 204)),
)]
pub async fn delete_profile(invocation: Invocation) -> Reply {
    let Invocation { table, caller, .. } = &invocation;
    let (id, if_match) = (invocation.path("profile_id")?, invocation.if_match()?);
    table.delete_profile(caller, id, &if_match).await?;
    no_content()
}

fn new_profile(mut fields: Fields) -> Result<NewProfile> {
    let first_name = fields.required("first_name");
    let last_name = fields.optional("last_name");
    let job_title = fields.optional("job_title");
    fields.finish()?;
    Ok(NewProfile { first_name: first_name?, last_name: last_name?, job_title: job_title? })
}

fn profile_patch(mut fields: Fields) -> Result<ProfilePatch> {
    let first_name = fields.change("first_name");
    let last_name = fields.change_or_reset("last_name");
    let job_title = fields.change_or_reset("job_title");
    fields.finish()?;
    Ok(ProfilePatch { first_name: first_name?, last_name: last_name?, job_title: job_title? })
}
