//! The functions `subscribe`, `unsubscribe` and `watch`: the frames that clients send.

use shared::live::{Frame, MAX_WATCHED, NewWatch};
use shared::{ConversationId, Cursor, Table};

use super::event::{Answer, SocketEvent, answer};
use super::publisher::Publisher;
use crate::http::body::Fields;
use crate::http::error::Error;

/// Subscribes the connection to a conversation. Answers with what is new since the client's cursor.
pub async fn subscribe(table: Table, publisher: Publisher, event: SocketEvent) -> u16 {
    let mut conversation_id = None;
    let result = async {
        let mut fields = event.fields()?;
        let id = fields.required::<ConversationId>("conversation_id");
        let after = fields.required::<Cursor>("after");
        conversation_id = id.as_ref().ok().copied();
        fields.finish()?;
        Ok(Some(table.subscribe(event.connection(), id?, after?).await?))
    };
    let result = result.await;
    answer(&publisher, &event, Answer { conversation_id, result }).await
}

/// Ends the connection's subscription to a conversation. Only an error is answered.
pub async fn unsubscribe(table: Table, publisher: Publisher, event: SocketEvent) -> u16 {
    let result = async {
        let mut fields = event.fields()?;
        let id = fields.required::<ConversationId>("conversation_id");
        fields.finish()?;
        table.unsubscribe(event.connection(), id?).await?;
        Ok(None)
    };
    let answered = Answer { conversation_id: None, result: result.await };
    answer(&publisher, &event, answered).await
}

/// Watches the conversations of a profile.
pub async fn watch(table: Table, publisher: Publisher, event: SocketEvent) -> u16 {
    let result = async {
        let input = new_watch(event.fields()?)?;
        Ok::<Option<Frame>, Error>(Some(table.watch(event.connection(), input).await?))
    };
    let answered = Answer { conversation_id: None, result: result.await };
    answer(&publisher, &event, answered).await
}

fn new_watch(mut fields: Fields) -> shared::Result<NewWatch> {
    let profile_id = fields.required("profile_id");
    let conversation_ids = fields.required::<Vec<ConversationId>>("conversation_ids");
    if conversation_ids.as_ref().is_ok_and(|ids| ids.len() > MAX_WATCHED) {
        fields.reject("conversation_ids", format!("must have at most {MAX_WATCHED} ids"));
    }
    fields.finish()?;
    Ok(NewWatch { profile_id: profile_id?, conversation_ids: conversation_ids? })
}
