//! Conversations in the table, and how one is removed with all that stands in it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, ReturnConsumedCapacity, WriteRequest};
use serde::{Deserialize, Serialize};

use super::attempts::{Effect, Failure, classify};
use super::keys::{CONVERSATIONS, DELETED, Key, conversation_pk};
use super::messages::Cursor;
use super::{Created, Idempotency, Item, Table, owned, read};
use crate::{
    Caller, Conversation, ConversationId, ConversationPatch, Error, Limit, NewConversation, Page, Profile, ProfileId, Result, Seq,
    Time,
};

/// The item of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConversationItem {
    #[serde(flatten)]
    key: Key,
    id: ConversationId,
    subject: String,
    author_id: ProfileId,
    pub(super) last_seq: Seq,
    owner: String,
    created_at: Time,
    listing: String,
}

impl ConversationItem {
    /// Nothing where the conversation is marked deleted: from then on it is out of everyone's reach.
    pub(super) fn live(self) -> Option<Self> {
        (self.listing != DELETED).then_some(self)
    }

    fn into_conversation(self, authors: &HashMap<ProfileId, Profile>) -> Conversation {
        Conversation {
            author: authors.get(&self.author_id).cloned(),
            id: self.id,
            subject: self.subject,
            author_id: self.author_id,
            last_seq: self.last_seq,
            created_at: self.created_at,
            messages: None,
        }
    }
}

pub(super) const NOT_FOUND: Error = Error::NotFound("conversation");

impl Table {
    /// Opens a conversation that belongs to its author's owner. `input` may be an error: the idempotency key is judged before it.
    pub async fn create_conversation(
        &self,
        caller: &Caller,
        input: Result<NewConversation>,
        idempotency: Option<&Idempotency>,
    ) -> Result<Created<Conversation>> {
        if let Some(id) = self.find_key(caller, idempotency).await? {
            return self.replay_conversation(id).await;
        }
        let input = input?;
        let author = self.profile_item(input.author_id).await?;
        let author = author.ok_or_else(|| Error::invalid("author_id", "there is no such profile"))?;
        caller.check(&author.owner)?;
        let id = ConversationId::generate();
        let item = ConversationItem {
            key: Key::conversation(id),
            id,
            subject: input.subject.into(),
            author_id: author.id,
            last_seq: Seq::new(0),
            owner: author.owner.clone(),
            created_at: Time::now(),
            listing: CONVERSATIONS.into(),
        };
        let attributes = serde_dynamo::to_item(&item).map_err(Error::internal)?;
        match self.put_once(caller, attributes, id, idempotency).await? {
            Some(earlier) => self.replay_conversation(earlier).await,
            None => {
                let authors = HashMap::from([(author.id, author.into())]);
                Ok(Created { resource: item.into_conversation(&authors), replayed: false })
            }
        }
    }

    async fn replay_conversation(&self, id: ConversationId) -> Result<Created<Conversation>> {
        let item = self.conversation_item(id).await?.ok_or(Error::Gone)?;
        Ok(Created { resource: self.with_author(item).await?, replayed: true })
    }

    /// A conversation with the newest page of its messages, strongly consistent.
    pub async fn get_conversation(&self, id: ConversationId) -> Result<Conversation> {
        let (item, items, next) = self.message_items(id, Cursor::Newest, Limit::default()).await?;
        let newest = items.first().map_or(item.last_seq, |newest| newest.seq());
        let ids = items.iter().filter_map(|message| message.author_id).chain([item.author_id]);
        let authors = self.profiles(ids).await?;
        let results = items.into_iter().map(|item| item.into_message(id, &authors)).collect::<Result<_>>()?;
        let mut conversation = item.into_conversation(&authors);
        conversation.last_seq = conversation.last_seq.max(newest);
        conversation.messages = Some(Page { results, next });
        Ok(conversation)
    }

    /// The item of a conversation, unless it is deleted.
    pub(super) async fn conversation_item(&self, id: ConversationId) -> Result<Option<ConversationItem>> {
        let key = Key::conversation(id);
        let item = self.get([key.clone()]).await?.take(&key)?;
        Ok(item.and_then(ConversationItem::live))
    }

    async fn with_author(&self, item: ConversationItem) -> Result<Conversation> {
        let authors = self.profiles([item.author_id]).await?;
        Ok(item.into_conversation(&authors))
    }

    /// A page of conversations, newest first, older than `before`. Eventually consistent: it goes through the index.
    pub async fn list_conversations(&self, limit: Limit, before: Option<ConversationId>) -> Result<Page<Conversation>> {
        let (keys, more) = self.listed(CONVERSATIONS, limit, before.map(|id| id.to_string())).await?;
        let mut found = self.get(keys.iter().cloned()).await?;
        let mut items: Vec<ConversationItem> = Vec::new();
        for key in &keys {
            items.extend(found.take(key)?.and_then(ConversationItem::live));
        }
        let authors = self.profiles(items.iter().map(|item| item.author_id)).await?;
        let results = items.into_iter().map(|item| item.into_conversation(&authors)).collect();
        let next = more.map(|id| format!("/conversations?limit={limit}&before={id}"));
        Ok(Page { results, next })
    }

    /// Changes what the patch names, if the caller may.
    pub async fn update_conversation(&self, caller: &Caller, id: ConversationId, patch: ConversationPatch) -> Result<Conversation> {
        let Some(subject) = patch.subject else {
            let item = self.conversation_item(id).await?.ok_or(NOT_FOUND)?;
            caller.check(&item.owner)?;
            return self.with_author(item).await;
        };
        let request = self
            .update(Key::conversation(id), "attribute_exists(pk) AND listing = :live", vec![("subject", subject.into())])
            .expression_attribute_values(":live", AttributeValue::S(CONVERSATIONS.into()));
        match self.send_update(owned(request, caller)).await? {
            Ok(item) => self.with_author(read(item)?).await.map_err(Error::after_a_write),
            Err(Some(item)) => Err(read::<ConversationItem>(item)?.live().map_or(NOT_FOUND, |_| Error::Forbidden)),
            Err(None) => Err(NOT_FOUND),
        }
    }

    /// Deletes a conversation and its messages, if the caller may.
    ///
    /// First it is marked, which takes it out of everyone's reach; then its messages are removed for as long as there is time.
    /// What is left then is removed by the next DELETE or by [`Table::purge_deleted`], so it is a success in any case.
    pub async fn delete_conversation(&self, caller: &Caller, id: ConversationId) -> Result<()> {
        self.mark_deleted(caller, id).await?;
        if let Err(error) = self.purge(id).await {
            tracing::warn!(conversation = %id, error = error.chain(), "deleted, but not all of it is removed yet");
        }
        Ok(())
    }

    /// Takes a conversation out of everyone's reach, if the caller may.
    pub async fn mark_deleted(&self, caller: &Caller, id: ConversationId) -> Result<()> {
        let request = self.update(Key::conversation(id), "attribute_exists(pk)", vec![("listing", DELETED.into())]);
        match self.send_update(owned(request, caller)).await? {
            Ok(_) => Ok(()),
            Err(Some(_)) => Err(Error::Forbidden),
            Err(None) => Err(NOT_FOUND),
        }
    }

    /// Removes what is left of deleted conversations, for as long as there is time. Answers how many it finished.
    pub async fn purge_deleted(&self) -> Result<usize> {
        let (mut purged, mut before) = (0, None);
        loop {
            let (keys, more) = self.listed(DELETED, Limit::default(), before).await?;
            for key in &keys {
                let Some(Ok(id)) = key.pk.strip_prefix("CONVERSATION#").map(str::parse) else { continue };
                if let Err(error) = self.purge(id).await {
                    tracing::warn!(conversation = %id, error = error.chain(), "not all of it is removed yet");
                    return Ok(purged);
                }
                purged += 1;
            }
            if more.is_none() {
                return Ok(purged);
            }
            before = more;
        }
    }

    /// Removes all messages of a conversation that is marked deleted, and at last the conversation.
    async fn purge(&self, id: ConversationId) -> Result<()> {
        let request = self
            .client
            .query()
            .table_name(&*self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :message)")
            .expression_attribute_values(":pk", AttributeValue::S(conversation_pk(id)))
            .expression_attribute_values(":message", AttributeValue::S("MESSAGE#".into()))
            .projection_expression("pk, sk")
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        loop {
            // What was found is removed before the next page is asked for, so the next page is always the first one.
            let page = self.send_read(|| request.clone().send()).await?;
            self.count_read(page.consumed_capacity());
            for keys in page.items().chunks(25) {
                self.remove(keys).await?;
            }
            if page.last_evaluated_key().is_none() {
                break;
            }
        }
        let request = self
            .client
            .delete_item()
            .table_name(&*self.name)
            .set_key(Some(Key::conversation(id).into_attributes()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Ok(output) = self.send_write(|| request.clone().send(), |_| None::<()>).await? {
            self.count_written(output.consumed_capacity());
        }
        Ok(())
    }

    /// Removes up to 25 items.
    async fn remove(&self, keys: &[Item]) -> Result<()> {
        let mut wanted = Vec::new();
        for key in keys {
            let delete = DeleteRequest::builder().set_key(Some(key.clone())).build().map_err(Error::internal)?;
            wanted.push(WriteRequest::builder().delete_request(delete).build());
        }
        let mut attempts = self.attempts(Effect::Write);
        loop {
            let request = self
                .client
                .batch_write_item()
                .request_items(&*self.name, wanted.clone())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let failure = match attempts.run(request.send()).await {
                Err(error) => classify(error),
                Ok(output) => {
                    self.count_written(output.consumed_capacity());
                    match output.unprocessed_items.and_then(|mut tables| tables.remove(&*self.name)) {
                        Some(left) if !left.is_empty() => wanted = left,
                        _ => return Ok(()),
                    }
                    Failure::Refused("unprocessed items".into())
                }
            };
            attempts.after(failure).await?;
        }
    }
}
