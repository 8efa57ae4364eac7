//! Removals from a private conversation that meet other requests.
//!
//! - [`members`]: additions, removals, role changes, posts and read positions
//! - [`reads`]: reads that overlap a removal
//! - [`profiles`]: deletions of profiles, which remove memberships

mod members;
mod profiles;
mod reads;

use std::sync::atomic::{AtomicUsize, Ordering};

use shared::table::PutMember;
use shared::{
    Caller, ConversationId, Error, NewConversation, NewMember, NewMessage, NewProfile,
    NewReadPosition, ProfileId, Result, Role, Seq, Table, Visibility,
};
use tokio::task::JoinHandle;

use crate::stage::Stage;
use tests::recorder::{Fault, Gate};
use tests::service::Value;

/// A private conversation of Ada. Bob is a member.
struct Private {
    stage: Stage,
    id: ConversationId,
    ada: ProfileId,
    bob: ProfileId,
}

fn ada() -> Caller {
    Caller::User("ada".into())
}

fn bob() -> Caller {
    Caller::User("bob".into())
}

async fn profile(table: &Table, caller: &Caller) -> ProfileId {
    let first_name = "P".to_owned().try_into().expect("a name");
    let (last_name, job_title) = Default::default();
    let input = NewProfile { first_name, last_name, job_title };
    table.create_profile(caller, input, None).await.expect("a profile").resource.id
}

async fn conversation(table: &Table, caller: &Caller, author_id: ProfileId) -> ConversationId {
    let subject = "s".to_owned().try_into().expect("a subject");
    let input = NewConversation { subject, author_id, visibility: Visibility::Private };
    table.create_conversation(caller, input, None).await.expect("created").resource.id
}

fn message(author_id: ProfileId) -> NewMessage {
    let text = "secret".to_owned().try_into().expect("a text");
    NewMessage { author_id, text, metadata: Default::default() }
}

impl Private {
    async fn create() -> Self {
        let stage = Stage::start().await;
        let table = stage.table();
        let (a, b) = (profile(&table, &ada()).await, profile(&table, &bob()).await);
        let id = conversation(&table, &ada(), a).await;
        let private = Self { stage, id, ada: a, bob: b };
        private.put(Role::Member).await.expect("added");
        private.post(&ada(), private.ada).await.expect("posted");
        private
    }

    fn table(&self) -> Table {
        self.stage.table()
    }

    async fn put(&self, role: Role) -> Result<PutMember> {
        let input = NewMember { role: Some(role) };
        self.table().put_member(&ada(), self.id, self.bob, input).await
    }

    async fn remove(&self) -> Result<()> {
        self.table().delete_member(&ada(), self.id, self.bob).await
    }

    async fn post(&self, caller: &Caller, author: ProfileId) -> Result<()> {
        self.table().create_message(caller, self.id, message(author), None).await.map(drop)
    }

    async fn mark(&self, seq: u64) -> Result<()> {
        let seq = NewReadPosition { seq: Seq::new(seq) };
        self.table().mark_read(&bob(), self.id, self.bob, seq).await.map(drop)
    }

    /// Returns the counters of Bob and the number of Bob's members.
    fn counted(&self) -> (u64, u64, usize) {
        let items = self.stage.items(&self.id.to_string());
        let of_bob = |item: &&Value| item["owner"]["S"] == "bob" && item["role"].is_object();
        let members = items.iter().filter(of_bob).count();
        let number = |item: &Value, name: &str| -> u64 {
            item[name]["N"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let access: Vec<&Value> = items
            .iter()
            .filter(|item| item["sk"]["S"].as_str().is_some_and(|sk| sk.starts_with("ACCESS#")))
            .collect();
        // The other is Ada's, who has one moderator.
        let (members_counted, moderators) = access.iter().fold((0, 0), |sum, item| {
            (sum.0 + number(item, "members"), sum.1 + number(item, "moderators"))
        });
        (members_counted - 1, moderators - 1, members)
    }

    /// Starts a request, which is held at its request number `number` of this operation.
    async fn hold<T: Send + 'static>(
        &self,
        operation: &'static str,
        number: usize,
        request: impl Future<Output = T> + Send + 'static,
    ) -> (JoinHandle<T>, Gate) {
        let gate = Gate::default();
        let held = gate.clone();
        let made = AtomicUsize::new(1);
        self.stage.recorder.inject(move |sent, _| {
            let hold = sent == operation && made.fetch_add(1, Ordering::Relaxed) == number;
            if hold { Fault::Held(held.clone()) } else { Fault::None }
        });
        let request = tokio::spawn(request);
        gate.arrival().await;
        self.stage.recorder.clear();
        (request, gate)
    }
}

fn is_hidden<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::NotFound("conversation")))
}
