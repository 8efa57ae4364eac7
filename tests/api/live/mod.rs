//! Live delivery.
//!
//! - this file: from a post to the frame, through the development server
//! - [`sockets`]: tickets, and the limits of connections
//! - [`frames`]: the frames that clients send
//! - [`delivery`]: what is delivered to whom, over a [`world`] whose records a test chooses

mod delivery;
mod frames;
mod sockets;
mod world;

use local::live::Limits;
use tests::follower::Follower;
use tests::service::{Api, Setup, Value, json};
use tests::socket::Socket;

async fn start() -> Api {
    Setup::new().start_live(Limits::default()).await.api
}

#[tokio::test]
async fn a_post_its_congratulation_an_edit_a_deletion_and_a_rename_arrive() {
    let api = start().await;
    let (ada, conversation) = api.profile_and_conversation().await;
    for _ in 0..9 {
        api.say(&conversation, &ada, "before").await;
    }
    let mut socket = Socket::open(&api).await;
    let mut client = Follower::new(&api, &conversation);
    client.subscribe(&mut socket).await;
    assert_eq!(client.messages.len(), 9, "the answer has what was posted before");

    api.say(&conversation, &ada, "the tenth").await;
    client.until(&mut socket, |client| client.messages.len() == 11).await;
    assert_eq!(client.messages[&10]["text"], "the tenth");
    assert_eq!(client.messages[&10]["author"]["points"], 10);
    assert_eq!(client.messages[&11]["type"], "action");

    let message = format!("/conversations/{conversation}/messages/3");
    api.patch(&message, &json!({ "text": "edited" })).await.expect(200);
    client.until(&mut socket, |client| client.messages[&3]["text"] == "edited").await;
    api.delete(&message).await.expect(204);
    client.until(&mut socket, |client| !client.messages[&3]["deleted_at"].is_null()).await;
    let path = format!("/conversations/{conversation}");
    api.patch(&path, &json!({ "subject": "Renamed" })).await.expect(200);
    client.until(&mut socket, |client| client.conversation["subject"] == "Renamed").await;
    assert_eq!(client.asked, 0, "every frame fitted");
    assert_eq!(client.cursor(), "11.3");
    // Authors are as they were when the frame was made.
    let bare = |mut message: Value| {
        message["author"] = Value::Null;
        message
    };
    let stored: Vec<Value> = api.messages(&conversation).await.into_iter().map(bare).collect();
    assert_eq!(client.messages.into_values().map(bare).collect::<Vec<_>>(), stored);

    api.delete(&path).await.expect(204);
    let ended = json!({ "type": "ended", "conversation_id": conversation, "reason": "deleted" });
    assert_eq!(socket.next().await, ended);
}
