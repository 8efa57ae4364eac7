//! The handlers of profiles.

use shared::{NewProfile, ProfileId, ProfilePatch, Result};

use crate::Reply;
use crate::body::Fields;
use crate::http::{Invocation, created, no_content, ok};

/// `POST /profiles`
pub async fn create_profile(invocation: Invocation) -> Reply {
    invocation.query(&[])?;
    let idempotency = invocation.idempotency("create-profile", &[])?;
    let input = invocation.fields().and_then(new_profile);
    let profile = invocation.table.create_profile(&invocation.caller, input, idempotency.as_ref()).await?;
    created(&profile, |profile| format!("/profiles/{}", profile.id))
}

/// `GET /profiles`
pub async fn list_profiles(invocation: Invocation) -> Reply {
    let query = invocation.query(&["limit", "before"])?;
    let limit = query.get("limit")?.unwrap_or_default();
    ok(&invocation.table.list_profiles(limit, query.get("before")?).await?)
}

/// `GET /profiles/{profile_id}`
pub async fn get_profile(invocation: Invocation) -> Reply {
    let id: ProfileId = invocation.path("profile_id")?;
    invocation.query(&[])?;
    ok(&invocation.table.get_profile(id).await?)
}

/// `PATCH /profiles/{profile_id}`
pub async fn update_profile(invocation: Invocation) -> Reply {
    let id: ProfileId = invocation.path("profile_id")?;
    invocation.query(&[])?;
    let patch = profile_patch(invocation.fields()?)?;
    ok(&invocation.table.update_profile(&invocation.caller, id, patch).await?)
}

/// `DELETE /profiles/{profile_id}`
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
