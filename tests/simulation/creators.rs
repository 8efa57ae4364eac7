//! Clients that create profiles and conversations, and delete some of them immediately.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::requests::{Answer, Ask, USERS};
use crate::standing::{Candidate, MemberChange, change_member};
use crate::world::{Creation, World};

/// Creates a resource with this body, however long it takes. Returns its id.
pub(crate) async fn create(
    world: &World,
    rng: &mut Rng,
    function: &'static str,
    user: usize,
    body: Value,
) -> String {
    let name = body["first_name"].as_str().or(body["subject"].as_str()).unwrap_or_default();
    let (name, keyed) = (name.to_owned(), rng.u32(..3) == 0);
    let key = keyed.then(|| format!("create-{}", name.replace(' ', "-")));
    let mut undecided = 0;
    loop {
        let (user, key, body) = (Some(user), key.clone(), body.clone());
        let ask = Ask { function, user, key, body, ..Ask::default() };
        let answers = match rng.u32(..4) {
            0 if keyed => {
                let mut later = rng.fork();
                let (one, other) = tokio::join!(world.ask(ask.clone()), async {
                    world.pause(&mut later, 150).await;
                    world.ask(ask).await
                });
                vec![one, other]
            }
            _ => vec![world.ask(ask).await],
        };
        let mut id: Option<String> = None;
        for Answer { status, body, .. } in answers {
            match status {
                201 => {
                    let created = body["id"].as_str().expect("an id").to_owned();
                    if id.get_or_insert(created.clone()) != &created {
                        world.violation(format!("{function}: one key, two resources"));
                    }
                }
                500 => undecided += 1,
                503 => {}
                status => panic!("{function} answered {status}: {name}"),
            }
        }
        if let Some(id) = id {
            let creation = Creation { id: id.clone(), name, keyed, undecided, deleted: None };
            world.known().creations.push(creation);
            return id;
        }
        sleep(Duration::from_secs(1) / world.haste).await;
    }
}

/// Creates profiles and deletes each of them immediately, until that is confirmed.
pub(crate) async fn creator(world: Arc<World>, mut rng: Rng) {
    for number in 0..rng.usize(2..8) {
        world.pause(&mut rng, 500).await;
        let name = format!("Visitor {number}");
        let body = json!({ "first_name": name });
        let owner = rng.usize(..USERS);
        let id = create(&world, &mut rng, "create-profile", owner, body).await;
        let path = vec![("profile_id", id.clone())];
        let visitor = Candidate { id: id.clone(), owner };
        // A membership of a moment before may be missing in the index.
        let joins = join(world.clone(), rng.fork(), visitor);
        if rng.bool() {
            joins.await;
        } else {
            tokio::spawn(joins);
        }
        world.begin_deletion(&id);
        let confirmed = delete(&world, &mut rng, "delete-profile", Some(owner), path.clone()).await;
        world.mark_deleted(&id, confirmed);
        let ask = Ask { function: "get-profile", path, ..Ask::default() };
        let status = world.ask(ask).await.status;
        if confirmed && !matches!(status, 404 | 500 | 503) {
            world.violation(format!("a deleted profile answered {status}"));
        }
    }
}

/// Makes a profile a member of some conversations.
async fn join(world: Arc<World>, mut rng: Rng, visitor: Candidate) {
    for _ in 0..rng.u32(0..3) {
        let conversation = rng.usize(..world.conversations.len());
        let put = MemberChange::Put(None);
        change_member(&world, None, conversation, &visitor, put).await;
    }
}

/// Sends DELETE until the response confirms it. Returns whether it did.
///
/// 404 confirms only an earlier request whose outcome was unknown. No request answers 404 for its
/// own success.
pub(crate) async fn delete(
    world: &World,
    rng: &mut Rng,
    function: &'static str,
    user: Option<usize>,
    path: Vec<(&'static str, String)>,
) -> bool {
    let mut undecided = false;
    for _ in 0..8 {
        let ask = Ask { function, user, path: path.clone(), ..Ask::default() };
        match world.ask(ask).await.status {
            204 => return true,
            404 if undecided => return true,
            500 => undecided = true,
            503 => {}
            status => world.violation(format!("{function} answered {status}")),
        }
        world.pause(rng, 1000).await;
    }
    false
}
