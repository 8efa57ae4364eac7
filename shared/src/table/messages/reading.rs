//! Reading messages: pages without gaps.
//!
//! A gap is a reserved `seq` whose message is not stored yet; see [`super::gaps`]. The message may
//! still arrive, so no page contains a gap. The reader closes an old gap in its page. At a young
//! gap, a page of `after` ends; a page of `before` waits until the gap is filled or old; the newest
//! page leaves out what is above the gap and continues below it. Gaps outside a page's range do not
//! affect it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use crate::table::access::View;
use crate::table::attempts::{Effect, Failure};
use crate::table::client::Table;
use crate::table::items::MessageItem;
use crate::table::keys::{Key, conversation_pk, message_sk};
use crate::table::requests::Direction::{self, Ascending, Descending};
use crate::{Caller, ConversationId, Error, Limit, Message, Page, PageStart, Result, Seq, Time};

/// A page of messages, as stored.
pub(in crate::table) struct MessagePage {
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
        let (found, messages) = tokio::join!(
            self.get_one(Key::conversation(conversation_id)),
            self.first_read(conversation_id, start, limit)
        );
        let view = View::new(found?, caller)?;
        let page = self.page(&view, start, limit, messages?).await?;
        let authors = self.show(&view, page.items.iter().filter_map(|item| item.author_id)).await?;
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
        let keys = [Key::conversation(conversation_id), Key::message(conversation_id, seq)];
        let mut found = self.get(keys.clone()).await?;
        let view = View::new(found.take(&keys[0])?, caller)?;
        let item: Option<MessageItem> = found.take(&keys[1])?;
        let author = item.as_ref().and_then(|item| item.author_id);
        let authors = self.show(&view, author).await?;
        item.ok_or(Error::NotFound(MessageItem::KIND))?.into_message(conversation_id, &authors)
    }

    /// Sends the query that a page starts with.
    async fn first_read(
        &self,
        id: ConversationId,
        start: PageStart,
        limit: Limit,
    ) -> Result<Vec<MessageItem>> {
        match start {
            PageStart::Newest => {
                self.query_messages(id, 1..=Seq::MAX, Descending, limit.get()).await
            }
            // One message more: the age of the message at `before` tells the age of a gap below it.
            PageStart::Before(before) => {
                self.query_messages(id, 1..=before.get(), Descending, limit.get() + 1).await
            }
            PageStart::After(after) => {
                let above = after.get() + 1..=Seq::MAX;
                self.query_messages(id, above, Ascending, limit.get()).await
            }
        }
    }

    /// Returns a page of a conversation, from the messages of its first read. The caller may only
    /// see it after [`Table::show`] has checked access.
    pub(in crate::table) async fn page(
        &self,
        view: &View<'_>,
        start: PageStart,
        limit: Limit,
        messages: Vec<MessageItem>,
    ) -> Result<MessagePage> {
        match start {
            PageStart::After(after) => {
                let items = self.unbroken_run(view, after, limit.get(), messages).await?;
                let last =
                    items.last().map(MessageItem::seq).filter(|_| items.len() == limit.get());
                let next =
                    last.filter(|last| *last < view.conversation.last_seq).map(PageStart::After);
                Ok(MessagePage { items, next })
            }
            PageStart::Newest => self.newest_page(view, Seq::MAX, limit, messages).await,
            PageStart::Before(before) => self.older_page(view, before, limit, messages).await,
        }
    }

    /// Returns the messages from `after` + 1 up to the first gap that stays open, at most `most`.
    /// Closes old gaps. `messages` are the stored messages above `after`, ascending.
    pub(in crate::table) async fn unbroken_run(
        &self,
        view: &View<'_>,
        after: Seq,
        most: usize,
        messages: Vec<MessageItem>,
    ) -> Result<Vec<MessageItem>> {
        let mut run = Vec::new();
        let mut messages = VecDeque::from(messages);
        let mut seq = after.next();
        while run.len() < most {
            match messages.pop_front_if(|next| next.seq() == seq) {
                Some(message) => run.push(message),
                None if seq > view.conversation.last_seq && messages.is_empty() => break,
                None => {
                    let beyond = messages.iter().map(|message| message.created_at).min();
                    match self.close_old_gap(view, seq, beyond).await? {
                        Some(message) => run.push(message),
                        None => break,
                    }
                }
            }
            seq = seq.next();
        }
        Ok(run)
    }

    /// Closes a gap if it is old and the caller may see the conversation. Returns what is stored
    /// there; `None` if the gap stays open.
    async fn close_old_gap(
        &self,
        view: &View<'_>,
        seq: Seq,
        beyond: Option<Time>,
    ) -> Result<Option<MessageItem>> {
        self.check_once(view).await?;
        if !self.is_old_gap(&view.conversation, beyond) || self.is_out_of_time() {
            return Ok(None);
        }
        self.close_gap(view.conversation.id, seq).await
    }

    /// Returns the newest page: the newest messages, up to the place `most`, that have no open gap
    /// below them on the page. The caller knows that nothing is stored above `most`.
    async fn newest_page(
        &self,
        view: &View<'_>,
        most: u64,
        limit: Limit,
        mut messages: Vec<MessageItem>,
    ) -> Result<MessagePage> {
        let newest = messages.first().map_or(Seq::new(0), MessageItem::seq);
        let mut top = newest.max(view.conversation.last_seq).get().min(most);
        let mut beyond = None;
        while top > 0 {
            let filled = self.fill(view, top, limit, messages, beyond).await?;
            let Some(gap) = filled.lowest_gap else { return Ok(filled.into_page()) };
            top = gap.get() - 1;
            beyond = filled.oldest_above(gap).into_iter().chain(beyond).min();
            messages =
                self.query_messages(view.conversation.id, 1..=top, Descending, limit.get()).await?;
        }
        Ok(MessagePage { items: Vec::new(), next: None })
    }

    /// Returns the page below `before`. Waits until it has no gap, or fails at the deadline. If
    /// nothing is stored at or above `before`, returns the newest page below it without waiting.
    async fn older_page(
        &self,
        view: &View<'_>,
        before: Seq,
        limit: Limit,
        mut messages: Vec<MessageItem>,
    ) -> Result<MessagePage> {
        let mut attempts = self.attempts(Effect::Harmless);
        loop {
            let at_before = messages.first().filter(|first| first.seq() == before);
            let beyond = match at_before.map(|message| message.created_at) {
                Some(created_at) => created_at,
                None => {
                    let above = before.get()..=Seq::MAX;
                    let above =
                        self.query_messages(view.conversation.id, above, Ascending, 1).await?;
                    match above.first() {
                        Some(message) => message.created_at,
                        None => {
                            let below = before.get().saturating_sub(1);
                            return self.newest_page(view, below, limit, messages).await;
                        }
                    }
                }
            };
            messages.retain(|message| message.seq() < before);
            let top = before.get().saturating_sub(1);
            let filled = self.fill(view, top, limit, messages, Some(beyond)).await?;
            if filled.lowest_gap.is_none() {
                return Ok(filled.into_page());
            }
            attempts.pause_after(Failure::Refused("a gap is too young to close".into())).await?;
            messages =
                self.first_read(view.conversation.id, PageStart::Before(before), limit).await?;
        }
    }

    /// Assigns `messages` to the `limit` places from `top` down, and closes old gaps among these
    /// places in ascending order, until a gap stays open. `beyond` is the oldest `created_at` among
    /// the messages read above `top`.
    async fn fill(
        &self,
        view: &View<'_>,
        top: u64,
        limit: Limit,
        messages: Vec<MessageItem>,
        beyond: Option<Time>,
    ) -> Result<Filled> {
        let bottom = (top + 1).saturating_sub(limit.get() as u64).max(1);
        let messages = messages.into_iter().map(|message| (message.seq(), message));
        let within = |(seq, _): &(Seq, _)| (bottom..=top).contains(&seq.get());
        let mut filled = Filled { messages: messages.filter(within).collect(), lowest_gap: None };
        for seq in (bottom..=top).map(Seq::new) {
            if filled.messages.contains_key(&seq) {
                continue;
            }
            let beyond = filled.oldest_above(seq).into_iter().chain(beyond).min();
            match self.close_old_gap(view, seq, beyond).await? {
                Some(message) => drop(filled.messages.insert(seq, message)),
                None => {
                    filled.lowest_gap = Some(seq);
                    break;
                }
            }
        }
        Ok(filled)
    }

    /// Reads the messages that are stored in `places`, at most `most`, strongly consistent.
    pub(in crate::table) async fn query_messages(
        &self,
        id: ConversationId,
        places: RangeInclusive<u64>,
        direction: Direction,
        most: usize,
    ) -> Result<Vec<MessageItem>> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let sort_key = |seq: &u64| message_sk(Seq::new(*seq));
        let keys = sort_key(places.start())..=sort_key(places.end());
        self.query_items(conversation_pk(id), keys, direction, most).await
    }
}

/// The messages in the places of a page.
struct Filled {
    messages: BTreeMap<Seq, MessageItem>,
    /// The lowest gap that stayed open. Gaps above it were not closed.
    lowest_gap: Option<Seq>,
}

impl Filled {
    fn oldest_above(&self, seq: Seq) -> Option<Time> {
        self.messages.range(seq..).map(|(_, message)| message.created_at).min()
    }

    fn into_page(self) -> MessagePage {
        let items: Vec<MessageItem> = self.messages.into_values().rev().collect();
        let last = items.last().map(MessageItem::seq).filter(|last| *last > Seq::FIRST);
        MessagePage { items, next: last.map(PageStart::Before) }
    }
}
