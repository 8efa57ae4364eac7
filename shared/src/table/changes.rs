//! The changes of a conversation: edits, deletions and renames, numbered 1, 2, 3 … without a gap.
//!
//! An edit or deletion stores its change item and its message in one transaction, but a read may
//! show one before the other. A message *shows* a change if its own `change` is at least that
//! number. The cursor moves past a change only when the message shows it. All changes up to
//! `settled_change` are known to be shown.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use uuid::Uuid;

use super::access::View;
use super::attempts::Effect;
use super::client::Table;
use super::items::{ChangeItem, ChangesItem, ConversationItem, MessageItem, to_attributes};
use super::keys::{Key, change_sk, conversation_pk};
use super::requests::Direction::Ascending;
use super::requests::number;
use super::transactions::{Decision, Slot, Writes};
use crate::access::Action;
use crate::message::Changes;
use crate::{Caller, ConversationId, Cursor, Error, Limit, Profile, ProfileId, Result, Seq};

/// The most transactions that a change sends.
pub(super) const MAX_TRANSACTIONS: u32 = 8;
/// The most throttled transactions among them. Under overload, other requests need the partition's
/// capacity.
pub(super) const MAX_THROTTLED: u32 = 2;

/// The changes after a cursor that their messages show.
struct Seen {
    /// The last change of the unbroken sequence from the cursor in which each message shows its
    /// change. A rename has no message and counts as shown.
    change: u64,
    /// The changed messages of that sequence.
    named: HashMap<Seq, MessageItem>,
    /// True if only the limit ended the sequence, and another change follows.
    cut: bool,
}

/// What is new in a conversation since a cursor, as stored.
pub(super) struct Fresh {
    /// The changed messages up to the cursor's `seq`, then new ones, at most `limit` together.
    pub(super) items: Vec<MessageItem>,
    /// Where to continue.
    pub(super) cursor: Cursor,
    /// True if more can be read immediately.
    pub(super) more: bool,
}

impl Fresh {
    /// Returns the changes as clients see them.
    pub(super) fn into_changes(
        self,
        conversation: &ConversationItem,
        authors: &HashMap<ProfileId, Profile>,
    ) -> Result<Changes> {
        let results = self.items.into_iter();
        let results = results.map(|item| item.into_message(conversation.id, authors));
        let results = results.collect::<Result<_>>()?;
        let (conversation, cursor, more) = (conversation.head(), self.cursor, self.more);
        Ok(Changes { conversation, results, cursor, more })
    }
}

/// Returns the unbroken run of visible messages above `after`.
fn visible_run(after: Seq, mut messages: Vec<MessageItem>) -> Vec<MessageItem> {
    let numbered = messages.iter().zip(after.get() + 1..);
    let run = numbered.take_while(|(item, number)| item.seq().get() == *number).count();
    messages.truncate(run);
    messages
}

/// Returns the changed messages up to the cursor's `seq`, then new ones, at most `limit` together.
fn merge(after: Cursor, run: Vec<MessageItem>, mut seen: Seen, limit: Limit) -> Fresh {
    let old = seen.named.iter().filter(|(seq, _)| **seq <= after.seq);
    let mut items: Vec<MessageItem> = old.map(|(_, item)| item.clone()).collect();
    items.sort_by_key(MessageItem::seq);
    let room = limit.get() - items.len();
    let more = seen.cut || run.len() > room;
    for message in run.into_iter().take(room) {
        let newer = seen.named.remove(&message.seq());
        items.push(newer.unwrap_or(message));
    }
    let last = items.last().map_or(after.seq, MessageItem::seq).max(after.seq);
    Fresh { items, cursor: Cursor { seq: last, change: seen.change }, more }
}

impl Table {
    /// Returns what is new in a conversation since a cursor: new messages and changed ones, as they are
    /// now.
    ///
    /// A client starts with the cursor of [`Table::get_conversation`] or `0.0`, calls again with
    /// each returned cursor, and keeps for each `seq` the message with the higher `change`. It ends
    /// with exactly what is stored. Errors: [`Error::NotFound`]; [`Error::CursorUnknown`] if the
    /// cursor's `seq` was never reserved.
    pub async fn list_changes(
        &self,
        caller: &Caller,
        id: ConversationId,
        after: Cursor,
        limit: Limit,
    ) -> Result<Changes> {
        let (view, counter) = self.conversation_and_changes(caller, id).await?;
        let conversation = &view.conversation;
        let mut after = after;
        if after.seq == Seq::new(0) {
            // A client without messages will read them with the settled changes applied.
            after.change = after.change.max(counter.settled_change);
        }
        if after.seq > conversation.last_seq {
            self.check(&view, Action::Read).await?;
            return Err(Error::CursorUnknown);
        }
        if after.seq == conversation.last_seq && counter.last_change <= after.change {
            self.check(&view, Action::Read).await?;
            let nothing = Fresh { items: Vec::new(), cursor: after, more: false };
            return nothing.into_changes(conversation, &HashMap::new());
        }
        let fresh = self.read_changes(conversation, &counter, after, limit, Some(&view)).await?;
        let authors = fresh.items.iter().filter_map(|item| item.author_id);
        let authors = self.show(&view, authors).await?;
        self.settle(id, &counter, after, fresh.cursor).await;
        fresh.into_changes(conversation, &authors)
    }

    /// Reads what is new since a cursor. With a view, closes old gaps among the messages.
    pub(super) async fn read_changes(
        &self,
        conversation: &ConversationItem,
        counter: &ChangesItem,
        after: Cursor,
        limit: Limit,
        closing: Option<&View<'_>>,
    ) -> Result<Fresh> {
        let (id, most) = (conversation.id, limit.get() + 1);
        // If no `seq` above the cursor is reserved, there is no new message to read.
        let newest = if after.seq < conversation.last_seq { Seq::MAX } else { 0 };
        let (changes, messages) = tokio::join!(
            self.query_changes(id, after.change, counter.last_change, most),
            self.query_messages(id, after.seq.get() + 1..=newest, Ascending, most)
        );
        let run = match closing {
            Some(view) => self.unbroken_run(view, after.seq, most, messages?).await?,
            None => visible_run(after.seq, messages?),
        };
        let seen = self.see_changes(id, after.change, changes?, &run, limit).await?;
        Ok(merge(after, run, seen, limit))
    }

    /// Reads a conversation and the counter of its changes.
    pub(super) async fn conversation_and_changes<'c>(
        &self,
        caller: &'c Caller,
        id: ConversationId,
    ) -> Result<(View<'c>, ChangesItem)> {
        let keys = [Key::conversation(id), Key::changes(id)];
        let mut found = self.get(keys.clone()).await?;
        let view = View::new(found.take(&keys[0])?, caller)?;
        Ok((view, found.take(&keys[1])?.unwrap_or_default()))
    }

    /// Reads the changes after the number `after`, up to the first missing number, at most `most`.
    async fn query_changes(
        &self,
        id: ConversationId,
        after: u64,
        last_change: u64,
        most: usize,
    ) -> Result<Vec<ChangeItem>> {
        if last_change <= after {
            return Ok(Vec::new());
        }
        let keys = change_sk(after + 1)..=change_sk(Seq::MAX);
        let mut changes: Vec<ChangeItem> =
            self.query_items(conversation_pk(id), keys, Ascending, most).await?;
        let numbered = changes.iter().zip(after + 1..);
        let unbroken = numbered.take_while(|(item, number)| item.key.sk == change_sk(*number));
        let unbroken = unbroken.count();
        changes.truncate(unbroken);
        Ok(changes)
    }

    /// Finds the last change up to which every message shows its change. `run` has the messages
    /// read so far; reads the changed messages that are not in it or do not show their change
    /// there.
    async fn see_changes(
        &self,
        id: ConversationId,
        after: u64,
        changes: Vec<ChangeItem>,
        run: &[MessageItem],
        limit: Limit,
    ) -> Result<Seen> {
        let cut = changes.len() > limit.get();
        let numbered = || (after + 1..).zip(&changes).take(limit.get());
        let named = |(number, change): (u64, &ChangeItem)| Some((number, change.seq?));
        let shown: HashMap<Seq, &MessageItem> = run.iter().map(|item| (item.seq(), item)).collect();
        let stale = numbered()
            .filter_map(named)
            .filter(|(number, seq)| shown.get(seq).is_none_or(|message| message.change < *number));
        let stale: Vec<Key> = stale.map(|(_, seq)| Key::message(id, seq)).collect();
        let mut found = self.get(stale.iter().cloned()).await?;
        let mut messages: HashMap<Seq, MessageItem> = HashMap::new();
        for key in &stale {
            if let Some(message) = found.take::<MessageItem>(key)? {
                messages.insert(message.seq(), message);
            }
        }
        let mut seen = Seen { change: after, named: HashMap::new(), cut };
        for (number, change) in numbered() {
            if let Some(seq) = change.seq {
                let message = messages.get(&seq).or(shown.get(&seq).copied());
                match message.filter(|message| message.change >= number) {
                    Some(message) => drop(seen.named.insert(seq, message.clone())),
                    None => break,
                }
            }
            seen.change = number;
        }
        seen.cut &= seen.change == after + limit.get() as u64;
        Ok(seen)
    }

    /// Raises `settled_change` to the end of a read. Best effort: if the update fails, for
    /// example in conflict with a transaction, a later reader raises it.
    pub(super) async fn settle(
        &self,
        id: ConversationId,
        counter: &ChangesItem,
        after: Cursor,
        passed: Cursor,
    ) {
        // A cursor beyond the mark may be invented, and proves nothing about earlier changes.
        if after.change > counter.settled_change || passed.change <= counter.settled_change {
            return;
        }
        let request = self
            .client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(Key::changes(id).into_attributes()))
            .update_expression("SET settled_change = :change")
            // The condition fails if the item is absent, so a purged item is not created again.
            .condition_expression("settled_change < :change")
            .expression_attribute_values(":change", number(passed.change))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Ok(output) = self.attempts(Effect::Harmless).send(request.send()).await {
            self.count_written(output.consumed_capacity());
        }
    }

    /// Builds the writes that number a change: raise the counter from `last_change` by 1, and put
    /// the change item. `seq` is the message that changed, `None` for a rename.
    pub(super) fn change_writes(
        &self,
        id: ConversationId,
        last_change: u64,
        seq: Option<Seq>,
    ) -> Result<Writes> {
        let change = last_change + 1;
        let update = Update::builder()
            .table_name(&*self.name)
            .set_key(Some(Key::changes(id).into_attributes()))
            .expression_attribute_values(":new", number(change))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let update = match last_change {
            0 => update
                .update_expression("SET last_change = :new, settled_change = :zero")
                .expression_attribute_values(":zero", number(0))
                .condition_expression("attribute_not_exists(pk)"),
            _ => update
                .update_expression("SET last_change = :new")
                .expression_attribute_values(":old", number(last_change))
                .condition_expression("last_change = :old"),
        };
        let item = ChangeItem { key: Key::change(id, change), seq };
        let put = Put::builder()
            .table_name(&*self.name)
            .set_item(Some(to_attributes(&item)?))
            .condition_expression("attribute_not_exists(pk)");
        let (update, put) =
            (update.build().map_err(Error::internal)?, put.build().map_err(Error::internal)?);
        Ok(vec![
            (Slot::Counter, TransactWriteItem::builder().update(update).build()),
            (Slot::Change, TransactWriteItem::builder().put(put).build()),
        ])
    }

    /// Numbers a rename as a change, so that followers notice it. The caller may ignore an error:
    /// every page of changes contains the current subject.
    pub(super) async fn count_rename(
        &self,
        id: ConversationId,
        mut last_change: u64,
    ) -> Result<()> {
        let attempts = self.attempts(Effect::Transaction).limited(MAX_TRANSACTIONS);
        let mut attempts = attempts.throttled_at_most(MAX_THROTTLED);
        loop {
            let writes = self.change_writes(id, last_change, None)?;
            match attempts.transact(writes, Uuid::new_v4()).await? {
                Decision::Committed => return Ok(()),
                Decision::Refused(reasons) => {
                    if let Some(counter) = reasons.refused::<ChangesItem>(Slot::Counter)? {
                        last_change = counter.unwrap_or_default().last_change;
                    }
                }
                Decision::Conflict(reasons) => {
                    attempts.pause_after(reasons.into_failure()).await?;
                    let counter: Option<ChangesItem> = self.get_one(Key::changes(id)).await?;
                    last_change = counter.unwrap_or_default().last_change;
                }
            }
        }
    }
}
