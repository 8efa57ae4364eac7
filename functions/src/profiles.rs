//! The handlers of profiles.

use shared::{Limit, NewProfile, Page, Profile, ProfileId, ProfilePatch, Result};

use crate::Reply;
use crate::body::Fields;
use crate::http::{Invocation, created, no_content, ok};

/// Create a profile.
///
/// It belongs to whoever is signed in.
#[utoipa::path(post, path = "/profiles", tag = "profiles", request_body = NewProfile, responses((status = 201, body = Profile)))]
pub async fn create_profile(invocation: Invocation) -> Reply {
    invocation.query(&[])?;
    let idempotency = invocation.idempotency("create-profile", &[])?;
    let input = invocation.fields().and_then(new_profile);
    let profile = invocation.table.create_profile(&invocation.caller, input, idempotency.as_ref()).await?;
    created(&profile, |profile| format!("/profiles/{}", profile.id))
}

/// List profiles, newest first.
///
/// A profile created just now may be missing for a moment.
#[utoipa::path(
    get, path = "/profiles", tag = "profiles",
    params(("limit" = Option<Limit>, Query), ("before" = Option<ProfileId>, Query)),
    responses((status = 200, body = Page<Profile>)),
)]
pub async fn list_profiles(invocation: Invocation) -> Reply {
    let query = invocation.query(&["limit", "before"])?;
    let limit = query.get("limit")?.unwrap_or_default();
    ok(&invocation.table.list_profiles(limit, query.get("before")?).await?)
}

/// Get a profile.
#[utoipa::path(
    get, path = "/profiles/{profile_id}", tag = "profiles",
    params(("profile_id" = ProfileId, Path)),
    responses((status = 200, body = Profile)),
)]
pub async fn get_profile(invocation: Invocation) -> Reply {
    let id: ProfileId = invocation.path("profile_id")?;
    invocation.query(&[])?;
    ok(&invocation.table.get_profile(id).await?)
}

/// Change a profile.
#[utoipa::path(
    patch, path = "/profiles/{profile_id}", tag = "profiles",
    params(("profile_id" = ProfileId, Path)),
    request_body = ProfilePatch,
    responses((status = 200, body = Profile)),
)]
pub async fn update_profile(invocation: Invocation) -> Reply {
    let id: ProfileId = invocation.path("profile_id")?;
    invocation.query(&[])?;
    let patch = profile_patch(invocation.fields()?)?;
    ok(&invocation.table.update_profile(&invocation.caller, id, patch).await?)
}

/// Delete a profile.
///
/// Its messages stay, with `author: null`.
#[utoipa::path(
    delete, path = "/profiles/{profile_id}", tag = "profiles",
    params(("profile_id" = ProfileId, Path)),
    responses((status = 204)),
)]
pub async fn delete_profile(invocation: Invocation) -> Reply {
    let id: ProfileId = invocation.path("profile_id")?;
    invocation.query(&[])?;
    invocation.table.delete_profile(&invocation.caller, id).await?;
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
