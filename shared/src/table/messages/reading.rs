//! Reading messages: pages without gaps.
//!
//! Even a strongly consistent `Query` may show one item of a transaction before another. A page shows
//! nothing beyond such a gap. Newest first, the page is read again; oldest first, it ends at the gap,
//! and the next poll returns the rest.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use crate::table::attempts::{Effect, Failure};
use crate::table::client::Table;
use crate::table::items::{ConversationItem, MessageItem, from_attributes};
use crate::table::keys::{Key, conversation_pk, message_sk};
use crate::{Caller, ConversationId, Error, Limit, Message, Page, PageStart, Result, Seq};

/// A conversation and a page of its messages, as stored.
pub(in crate::table) struct MessagePage {
    pub(in crate::table) conversation: ConversationItem,
    pub(in crate::table) items: Vec<MessageItem>,
    pub(in crate::table) next: Option<PageStart>,
}

impl Table {
    /// Returns a page of messages, strongly consistent.
    pub async fn list_messages(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        start: PageStart,
        limit: Limit,
    ) -> Result<Page<Message, PageStart>> {
        let page = self.message_page(caller, conversation_id, start, limit).await?;
        let authors = self.authors(page.items.iter().filter_map(|item| item.author_id)).await?;
        let results = page.items.into_iter();
        let results = results.map(|item| item.into_message(conversation_id, &authors));
        Ok(Page { results: results.collect::<Result<_>>()?, next: page.next })
    }

    /// Returns a message, strongly consistent.
    pub async fn get_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        seq: Seq,
    ) -> Result<Message> {
        let item = self.message_item(caller, conversation_id, seq).await?;
        let authors = self.authors(item.author_id).await?;
        item.into_message(conversation_id, &authors)
    }

    /// Reads a message of a conversation that the caller may see.
    pub(super) async fn message_item(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        seq: Seq,
    ) -> Result<MessageItem> {
        let keys = [Key::conversation(conversation_id), Key::message(conversation_id, seq)];
        let mut found = self.get(keys.clone()).await?;
        ConversationItem::visible(found.take(&keys[0])?, caller)?;
        found.take(&keys[1])?.ok_or(Error::NotFound(MessageItem::KIND))
    }

    /// Reads a conversation and a page of its messages without a gap.
    pub(in crate::table) async fn message_page(
        &self,
        caller: &Caller,
        id: ConversationId,
        start: PageStart,
        limit: Limit,
    ) -> Result<MessagePage> {
        let mut attempts = self.attempts(Effect::Read);
        let (conversation, mut items) = loop {
            // Both are read each time: a conversation may be deleted while it is read.
            let (found, items) = tokio::join!(
                self.get_one(Key::conversation(id)),
                self.query_messages(id, start, limit)
            );
            let conversation = ConversationItem::visible(found?, caller)?;
            let items = items?;
            let oldest_first = matches!(start, PageStart::After(_));
            if oldest_first || is_complete(&items, start, limit, conversation.last_seq) {
                break (conversation, items);
            }
            attempts.pause_after(Failure::Refused("a page with a gap".into())).await?;
        };
        let next = match start {
            PageStart::After(after) => {
                let pairs = items.iter().zip(after.get() + 1..);
                let unbroken = pairs.take_while(|(item, seq)| item.seq().get() == *seq).count();
                items.truncate(unbroken);
                let full = items.len() == limit.get();
                let last = items.last().map(MessageItem::seq);
                last.filter(|last| full && *last < conversation.last_seq).map(PageStart::After)
            }
            PageStart::Newest | PageStart::Before(_) => {
                let last = items.last().map(MessageItem::seq);
                last.filter(|last| *last > Seq::FIRST).map(PageStart::Before)
            }
        };
        Ok(MessagePage { conversation, items, next })
    }

    /// Reads the visible messages of a page.
    async fn query_messages(
        &self,
        id: ConversationId,
        start: PageStart,
        limit: Limit,
    ) -> Result<Vec<MessageItem>> {
        let (first, last) = match start {
            PageStart::Newest => (1, Seq::MAX),
            PageStart::Before(before) => (1, before.get().saturating_sub(1)),
            PageStart::After(after) => (after.get() + 1, Seq::MAX),
        };
        let mut items = Vec::new();
        if first > last {
            return Ok(items);
        }
        let sort_key = |seq: u64| AttributeValue::S(message_sk(Seq::new(seq)));
        let mut request = self
            .client
            .query()
            .table_name(&*self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", AttributeValue::S(conversation_pk(id)))
            .expression_attribute_values(":first", sort_key(first))
            .expression_attribute_values(":last", sort_key(last))
            .scan_index_forward(matches!(start, PageStart::After(_)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        loop {
            // A query ends at 1 MB, perhaps before the page is full.
            let missing = limit.get() - items.len();
            request = request.limit(i32::try_from(missing).unwrap_or(i32::MAX));
            let output = self.send_read(|| request.clone().send()).await?;
            self.count_read(output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                items.push(from_attributes::<MessageItem>(item)?);
            }
            match output.last_evaluated_key {
                Some(key) if items.len() < limit.get() => {
                    request = request.set_exclusive_start_key(Some(key));
                }
                _ => return Ok(items),
            }
        }
    }
}

/// Returns whether a page, newest first, has no gap: it starts at least at the newest message that it
/// must show, and ends at its limit or at the first message.
fn is_complete(items: &[MessageItem], start: PageStart, limit: Limit, last_seq: Seq) -> bool {
    let highest = match start {
        PageStart::Before(before) => last_seq.get().min(before.get().saturating_sub(1)),
        PageStart::Newest | PageStart::After(_) => last_seq.get(),
    };
    let (Some(first), Some(last)) = (items.first(), items.last()) else { return highest == 0 };
    let unbroken = items.windows(2).all(|pair| pair[0].seq() == pair[1].seq().next());
    let ends = items.len() == limit.get() || last.seq() == Seq::FIRST;
    first.seq().get() >= highest && unbroken && ends
}
