//! Leftovers: what an earlier run created and did not delete, because it ended before its cleanup.
//!
//! The newest resources of the service are searched for those that look like the smoke test's. The
//! service refuses to delete another client's.

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
    for (list, field, mark) in
        [("/conversations", "subject", SUBJECT), ("/profiles", "job_title", JOB_TITLE)]
    {
        let page = client.send("GET", &format!("{list}?limit=100"))?.expect_status(200)?;
        let results = page.body["results"].as_array().into_iter().flatten();
        for resource in results.filter(|resource| resource[field] == mark && is_old(resource, age))
        {
            let id = resource["id"].as_str().unwrap_or_default();
            let deleted = client.send("DELETE", &format!("{list}/{id}"))?;
            // 403: another client's. 404: another run was faster.
            if ![403, 404].contains(&deleted.status) {
                deleted.expect_status(204)?;
            }
        }
    }
    Ok(())
}

fn is_old(resource: &Value, age: Duration) -> bool {
    let created_at = resource["created_at"].as_str().unwrap_or_default().to_owned();
    Time::try_from(created_at).is_ok_and(|created_at| Time::now().since(created_at) >= age)
}
