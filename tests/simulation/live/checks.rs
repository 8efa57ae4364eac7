//! What the service has posted to connections: nothing that its receiver may not see, and nothing after
//! the end of the connection.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::sockets::Posted;
use crate::looks::newest;
use crate::standing::Standings;

/// Returns everything that is wrong with the frames that were posted.
///
/// `places` has, for each conversation, when the post at each `seq` began.
pub(crate) fn violations(
    posted: &[Posted],
    standings: &Standings<'_>,
    places: &[BTreeMap<u64, Instant>],
    begun: &BTreeMap<String, Instant>,
) -> Vec<String> {
    let world = standings.world;
    let deleted = world.known().ended_conversations.clone();
    let mut violations = Vec::new();
    for Posted { user, started, started_at, ended, expires_at, frame } in posted {
        let mut found = |what: &str| {
            violations.push(format!("{what}: {frame} to {user:?}, {started:?} to {ended:?}"));
        };
        if started_at >= expires_at && frame["type"] != "error" {
            found("posted after the end of the connection");
        }
        let id = frame["conversation_id"].as_str();
        let conversation = world.conversations.iter().position(|known| Some(&**known) == id);
        let Some(conversation) = conversation else { continue };
        let shows = matches!(frame["type"].as_str(), Some("changes" | "activity"));
        if shows && deleted.get(&conversation).is_some_and(|deleted| deleted < started) {
            found("posted after the conversation was deleted");
        }
        let Some(user) = *user else { continue };
        if !world.may_hide(conversation, Some(user)) {
            continue;
        }
        match frame["type"].as_str() {
            _ if shows => {
                let is_out = |from| standings.is_out(conversation, user, (from, *ended), *started);
                if is_out(*started) {
                    found("posted to someone who may not see it");
                } else if is_out(newest(frame, *started, begun, &places[conversation])) {
                    found("written after the removal was answered, but posted");
                }
            }
            Some("ended") if frame["reason"] == "removed" => {
                let times = (*started, *ended);
                if !world.is_deleted(conversation) && standings.is_in(conversation, user, times) {
                    found("the end of a member's subscription");
                }
            }
            _ => {}
        }
    }
    violations
}
