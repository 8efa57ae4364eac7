//! Conversations in the table.

use std::collections::HashMap;

use uuid::Uuid;

use super::access::View;
use super::client::Table;
use super::idempotency::{Created, Earlier, KeyedRequest};
use super::items::{ConversationItem, ProfileItem, to_attributes};
use super::keys::{CONVERSATIONS, Key};
use super::messages::MessagePage;
use super::requests::Direction::Descending;
use super::requests::Entry;
use crate::access::{Action, Verdict};
use crate::{
    Caller, Conversation, ConversationId, ConversationPatch, Cursor, Error, IdempotencyKey,
    IfMatch, Limit, Message, MessageLimit, NewConversation, Page, PageStart, Result, Seq,
    Visibility,
};

impl Table {
    /// Creates a conversation. Its owner is the owner of its author, who becomes the first member,
    /// a moderator.
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
            visibility: input.visibility,
            author_id: author.id,
            last_seq: Seq::new(0),
            window: 0,
            window_seq: Seq::new(0),
            last_message_at: None,
            version: 1,
            written_by: Uuid::new_v4(),
            owner: author.owner.clone(),
            created_at: self.now(),
            deleted_at: None,
            listing: match input.visibility {
                Visibility::Public => Some(CONVERSATIONS.into()),
                Visibility::Private => None,
            },
        };
        let [member, access] = self.first_member(&item, &author)?;
        let items = [to_attributes(&item)?, member, access];
        match self.create_once(items, id, request.as_ref()).await? {
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
                found => View::new(found, caller).map(Some).map_err(Error::or_gone),
            }
        };
        let view = self.await_visible(read).await?;
        let authors = self.show(&view, [view.conversation.author_id]).await;
        let resource = view.conversation.into_conversation(&authors.map_err(Error::or_gone)?);
        Ok(Created { resource, replayed: true })
    }

    /// Returns a conversation with its newest messages, none if there is no limit, and the cursor from
    /// which a client follows its changes. Strongly consistent.
    pub async fn get_conversation(
        &self,
        caller: &Caller,
        id: ConversationId,
        limit: MessageLimit,
    ) -> Result<(Conversation, Page<Message, PageStart>, Cursor)> {
        // The counter before the messages: what is settled then, they show.
        let (view, counter) = self.conversation_and_changes(caller, id).await?;
        let page = match limit.0 {
            Some(limit) => {
                let newest = 1..=Seq::MAX;
                let messages = self.query_messages(id, newest, Descending, limit.get()).await?;
                self.page(&view, PageStart::Newest, limit, messages).await?
            }
            None => MessagePage { items: Vec::new(), next: None },
        };
        let seq = page.items.first().map_or(Seq::new(0), |newest| newest.seq());
        let cursor = Cursor { seq, change: counter.settled_change };
        let ids = page.items.iter().filter_map(|message| message.author_id);
        let authors = self.show(&view, ids.chain([view.conversation.author_id])).await?;
        let results = page.items.into_iter().map(|item| item.into_message(id, &authors));
        let results = results.collect::<Result<_>>()?;
        let mut conversation = view.conversation.into_conversation(&authors);
        conversation.last_seq = conversation.last_seq.max(seq);
        Ok((conversation, Page { results, next: page.next }, cursor))
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
        let before = before.map(|id| id.to_string());
        let listed = self.list(CONVERSATIONS, limit.get(), before).await?;
        let mut found = self.get(listed.entries.iter().map(|entry| entry.key.clone())).await?;
        let mut items: Vec<ConversationItem> = Vec::new();
        for Entry { key, .. } in &listed.entries {
            let view = View::new(found.take(key)?, caller).ok();
            // Only public conversations are listed.
            let seen = view.filter(|view| view.judge_early(Action::Read) == Some(Verdict::Allowed));
            items.extend(seen.map(|view| view.conversation));
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
        if_match: &IfMatch,
    ) -> Result<Conversation> {
        let (view, counter) = self.conversation_and_changes(caller, id).await?;
        self.check(&view, Action::Rename).await?;
        let sets: Vec<(&str, String)> =
            patch.subject.into_iter().map(|subject| ("subject", subject.into())).collect();
        let key = Key::conversation(id);
        let check = |item: &ConversationItem| caller.check_see(&item.protected());
        let item = self.update_versioned(key, view.conversation, &sets, if_match, check).await?;
        if sets.is_empty() {
            return self.with_author(item).await;
        }
        let (counted, conversation) =
            tokio::join!(self.count_rename(id, counter.last_change), self.with_author(item));
        if let Err(error) = counted {
            tracing::warn!(error = error.chain(), "rename not counted");
        }
        conversation.map_err(Error::after_a_write)
    }
}
