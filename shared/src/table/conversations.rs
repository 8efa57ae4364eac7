//! Conversations in the table.

use std::collections::HashMap;

use super::attempts::Written;
use super::client::Table;
use super::idempotency::{Created, Earlier, KeyedRequest};
use super::items::{ConversationItem, ProfileItem, from_attributes, to_attributes};
use super::keys::{CONVERSATIONS, Key};
use super::requests::if_owned;
use crate::{
    Caller, Conversation, ConversationId, ConversationPatch, Error, IdempotencyKey, Limit, Message,
    NewConversation, Page, PageStart, Result, Seq,
};

impl Table {
    /// Creates a conversation. Its owner is the owner of its author.
    pub async fn create_conversation(
        &self,
        caller: &Caller,
        input: NewConversation,
        key: Option<&IdempotencyKey>,
    ) -> Result<Created<Conversation>> {
        let keyed = |key| KeyedRequest::new(caller, key, "create-conversation", "", &input);
        let request = key.map(keyed).transpose()?;
        if let Some(earlier) = self.find_earlier(request.as_ref()).await? {
            return self.replay_conversation(caller, earlier).await;
        }
        let author = self.get_one(Key::profile(input.author_id)).await?;
        let author = ProfileItem::author(author, caller)?;
        let id = ConversationId::generate();
        let item = ConversationItem {
            key: Key::conversation(id),
            id,
            subject: input.subject.into(),
            author_id: author.id,
            last_seq: Seq::new(0),
            owner: author.owner.clone(),
            created_at: self.now(),
            deleted_at: None,
            listing: CONVERSATIONS.into(),
        };
        match self.create_once(to_attributes(&item)?, id, request.as_ref()).await? {
            Some(earlier) => self.replay_conversation(caller, earlier).await,
            None => {
                let authors = HashMap::from([(author.id, author.into())]);
                Ok(Created { resource: item.into_conversation(&authors), replayed: false })
            }
        }
    }

    async fn replay_conversation(
        &self,
        caller: &Caller,
        earlier: Earlier<ConversationId>,
    ) -> Result<Created<Conversation>> {
        let Earlier { resource: id, recent } = earlier;
        let read = || async move {
            match self.get_one::<ConversationItem>(Key::conversation(id)).await? {
                None if recent => Ok(None),
                found => {
                    Ok(Some(ConversationItem::visible(found, caller).map_err(|_| Error::Gone)?))
                }
            }
        };
        let item = self.await_visible(read).await?;
        Ok(Created { resource: self.with_author(item).await?, replayed: true })
    }

    /// Returns a conversation with its newest messages, strongly consistent.
    pub async fn get_conversation(
        &self,
        caller: &Caller,
        id: ConversationId,
        limit: Limit,
    ) -> Result<(Conversation, Page<Message, PageStart>)> {
        let page = self.message_page(caller, id, PageStart::Newest, limit).await?;
        let newest = page.items.first().map_or(Seq::new(0), |newest| newest.seq());
        let ids = page.items.iter().filter_map(|message| message.author_id);
        let authors = self.authors(ids.chain([page.conversation.author_id])).await?;
        let results = page.items.into_iter().map(|item| item.into_message(id, &authors));
        let results = results.collect::<Result<_>>()?;
        let mut conversation = page.conversation.into_conversation(&authors);
        conversation.last_seq = conversation.last_seq.max(newest);
        Ok((conversation, Page { results, next: page.next }))
    }

    async fn with_author(&self, item: ConversationItem) -> Result<Conversation> {
        let authors = self.authors([item.author_id]).await?;
        Ok(item.into_conversation(&authors))
    }

    /// Returns a page of conversations, newest first, older than `before`. Eventually consistent.
    pub async fn list_conversations(
        &self,
        caller: &Caller,
        limit: Limit,
        before: Option<ConversationId>,
    ) -> Result<Page<Conversation, ConversationId>> {
        let listed = self.list(CONVERSATIONS, limit, before.map(|id| id.to_string())).await?;
        let mut found = self.get(listed.keys.iter().cloned()).await?;
        let mut items: Vec<ConversationItem> = Vec::new();
        for key in &listed.keys {
            items.extend(ConversationItem::visible(found.take(key)?, caller).ok());
        }
        let authors = self.authors(items.iter().map(|item| item.author_id)).await?;
        let results = items.into_iter().map(|item| item.into_conversation(&authors)).collect();
        let next = listed.next.map(|id| id.parse()).transpose().map_err(Error::internal)?;
        Ok(Page { results, next })
    }

    /// Changes the fields that the patch names.
    pub async fn update_conversation(
        &self,
        caller: &Caller,
        id: ConversationId,
        patch: ConversationPatch,
    ) -> Result<Conversation> {
        let Some(subject) = patch.subject else {
            let found = self.get_one(Key::conversation(id)).await?;
            let item = ConversationItem::visible(found, caller)?;
            caller.check_change(&item.protected())?;
            return self.with_author(item).await;
        };
        let condition = "attribute_exists(pk) AND attribute_not_exists(deleted_at)";
        let sets = vec![("subject", subject.into())];
        let request = if_owned(self.update(Key::conversation(id), condition, sets), caller);
        match self.send_update(request).await? {
            Written::Stored(item) => {
                self.with_author(from_attributes(item)?).await.map_err(Error::after_a_write)
            }
            Written::Refused { reason, .. } => {
                let found = reason.map(from_attributes).transpose()?;
                ConversationItem::visible(found, caller)?;
                Err(Error::Forbidden)
            }
        }
    }
}
