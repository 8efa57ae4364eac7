//! Leftovers: what an earlier run created and did not delete, because it ended before its cleanup.
//!
//! The client's own profiles lead to its conversations, so a profile is deleted last.

use std::time::Duration;

use serde_json::Value;
use shared::Time;

use crate::client::Client;

/// The subject of the smoke test's conversation.
pub(crate) const SUBJECT: &str = "Smoke test";
/// The job title of the smoke test's profile.
pub(crate) const JOB_TITLE: &str = "Created by the smoke test";

/// Deletes the client's leftovers that are at least this old. Younger ones may belong to a run in
/// progress.
pub(crate) fn delete_leftovers(client: &Client<'_>, age: Duration) -> Result<(), String> {
    for profile in list(client, "/profiles?owner=me&limit=100")? {
        if profile["job_title"] != JOB_TITLE || !is_old(&profile, age) {
            continue;
        }
        let profile = format!("/profiles/{}", profile["id"].as_str().unwrap_or_default());
        for entry in list(client, &format!("{profile}/conversations?limit=100"))? {
            if entry["conversation"]["subject"] == SUBJECT {
                let id = entry["conversation_id"].as_str().unwrap_or_default();
                delete(client, &format!("/conversations/{id}"))?;
            }
        }
        delete(client, &profile)?;
    }
    Ok(())
}

/// Returns the results of a page. An absent list is empty: another run may have been faster.
fn list(client: &Client<'_>, path: &str) -> Result<Vec<Value>, String> {
    let page = client.send("GET", path)?;
    if page.status == 404 {
        return Ok(Vec::new());
    }
    let page = page.expect_status(200)?;
    Ok(page.body["results"].as_array().cloned().unwrap_or_default())
}

fn delete(client: &Client<'_>, path: &str) -> Result<(), String> {
    let deleted = client.send("DELETE", path)?;
    // Another run may have been faster.
    if deleted.status != 404 {
        deleted.expect_status(204)?;
    }
    Ok(())
}

fn is_old(resource: &Value, age: Duration) -> bool {
    let created_at = resource["created_at"].as_str().unwrap_or_default().to_owned();
    Time::try_from(created_at).is_ok_and(|created_at| Time::now().since(created_at) >= age)
}
