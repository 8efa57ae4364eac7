//! Posting a message: reserve a place, then commit.
//!
//! 1. [`Table::create_message`] reads the author, the conversation and the idempotency key, and
//!    makes every check that needs no write.
//! 2. [`Post::reserve`] raises `last_seq` by a plain update. Plain updates do not conflict with
//!    each other.
//! 3. [`Post::commit`] stores the message in its place, in one transaction with the point.
//! 4. [`Post::after_refusal`] decides what follows a failed condition.
//! 5. [`Post::give_up`] ends the post at its deadline, or after 8 transactions.
//!
//! A transaction is undecided if an attempt at it was not answered and no later response has
//! decided it. Until it is decided, only the same transaction may follow, or a void in its place.
//! `docs/RELIABILITY.md` has the reasons.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::drafts::{Draft, Places};
use crate::access::Action;
use crate::message::is_rewarded;
use crate::rate::Bucket;
use crate::table::access::View;
use crate::table::attempts::{Attempts, Effect, Failure, classify};
use crate::table::client::Table;
use crate::table::idempotency::{Created, KeyUse, KeyedRequest};
use crate::table::items::{ConversationItem, MessageItem, ProfileItem};
use crate::table::keys::Key;
use crate::table::transactions::{Decision, Reasons, Slot};
use crate::{
    Caller, ConversationId, Error, IdempotencyKey, NewMessage, PostedMessage, Quota, Result, Seq,
    Visibility,
};

/// The maximum number of transactions that a post sends, retries included.
const MAX_TRANSACTIONS: u32 = 8;
/// The maximum number of places that one conversation admits per second. The write capacity of a
/// partition is enough for about 310 posts per second.
const MAX_PLACES_PER_SECOND: u64 = 300;

/// The result of a post.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The message.
    pub created: Created<PostedMessage>,
    /// The rate limit quota that the author has left; `None` if unlimited.
    pub quota: Option<Quota>,
}

/// One request that posts a message.
struct Post<'p> {
    table: &'p Table,
    attempts: Attempts<'p>,
    caller: &'p Caller,
    conversation_id: ConversationId,
    input: &'p NewMessage,
    keyed: Option<KeyedRequest>,
    /// Identifies the message of this request after an undecided attempt.
    id: Uuid,
}

/// The next step of a post.
enum Step {
    Reserve(Box<ProfileItem>),
    Commit(Box<ProfileItem>, Places),
    Done(Box<Posted>),
}

impl Table {
    /// Posts a message.
    pub async fn create_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        input: NewMessage,
        key: Option<&IdempotencyKey>,
    ) -> Result<Posted> {
        let path_id = conversation_id.to_string();
        let keyed = |key| KeyedRequest::new(caller, key, "create-message", &path_id, &input);
        let keyed = key.map(keyed).transpose()?;
        let attempts = self.attempts(Effect::Transaction).limited(MAX_TRANSACTIONS);
        let (input, id) = (&input, Uuid::new_v4());
        let mut post = Post { table: self, attempts, caller, conversation_id, input, keyed, id };
        let (mut step, mut window) = post.start().await?;
        loop {
            step = match step {
                Step::Reserve(author) => post.reserve(author, window.take()).await?,
                Step::Commit(author, places) => post.commit(author, places).await?,
                Step::Done(posted) => return Ok(*posted),
            };
        }
    }

    /// Returns the response to a repeated post: the current state of the message, and of the
    /// congratulation that it earned.
    ///
    /// Messages are not removed before their conversation is deleted, so an absent message is not
    /// visible yet.
    async fn replay_message(
        &self,
        caller: &Caller,
        id: ConversationId,
        seq: Seq,
    ) -> Result<PostedMessage> {
        let keys = [Key::conversation(id), Key::message(id, seq), Key::message(id, seq.next())];
        let keys = &keys;
        let read = || async move {
            let mut found = self.get(keys.clone()).await?;
            let view = View::new(found.take(&keys[0])?, caller).map_err(Error::or_gone)?;
            let message: Option<MessageItem> = found.take(&keys[1])?;
            let reward: Option<MessageItem> = found.take(&keys[2])?;
            Ok(match (message, reward) {
                (Some(message), _) if !is_rewarded(message.points) => Some((view, message, None)),
                (Some(message), Some(reward)) => Some((view, message, Some(reward))),
                _ => None,
            })
        };
        let (view, message, reward) = self.await_visible(read).await?;
        let mut authors = self.show(&view, message.author_id).await.map_err(Error::or_gone)?;
        for author in authors.values_mut() {
            // The profile that was read may not show the point of this message yet.
            author.points = author.points.max(message.points);
        }
        let reward = reward.map(|item| item.into_message(id, &authors)).transpose()?;
        Ok(PostedMessage { message: message.into_message(id, &authors)?, reward })
    }
}

impl Post<'_> {
    /// Reads the author, the conversation and the idempotency key, and makes every check that needs
    /// no write. The order of the checks matters. Returns the first step, and the current second
    /// (since 1970) if this post begins a new admission window.
    async fn start(&mut self) -> Result<(Step, Option<i64>)> {
        let conversation = Key::conversation(self.conversation_id);
        let author = Key::profile(self.input.author_id);
        let key = self.keyed.as_ref().map(KeyedRequest::item_key);
        let wanted = [conversation.clone(), author.clone()].into_iter().chain(key.clone());
        let mut found = self.table.get(wanted).await?;
        let now = self.table.now();
        let used = match (&self.keyed, key.map(|key| found.take(&key)).transpose()?.flatten()) {
            (Some(keyed), Some(item)) => keyed.check(&item, now)?,
            _ => KeyUse::Free,
        };
        if let KeyUse::Same(earlier) = used {
            let author = found.take(&author)?;
            return Ok((self.replay(earlier.resource, author.as_ref()).await?, None));
        }
        let view = View::new(found.take(&conversation)?, self.caller)?;
        let author = self.check_author(&view, found.take(&author)?).await?;
        used.earlier()?;
        let conversation = view.conversation;
        let limit = self.table.rate_limit;
        if let Some(bucket) = limit.refill(author.bucket(), now)
            && bucket.take().is_none()
        {
            let (retry_after, quota) = (limit.retry_after(bucket), limit.quota(bucket));
            return Err(Error::RateLimited { retry_after, quota });
        }
        let second = now.as_second();
        if conversation.window != second {
            return Ok((Step::Reserve(Box::new(author)), Some(second)));
        }
        let places = conversation.last_seq.get().saturating_sub(conversation.window_seq.get());
        if places >= MAX_PLACES_PER_SECOND {
            return Err(Error::ConversationBusy);
        }
        Ok((Step::Reserve(Box::new(author)), None))
    }

    /// Returns the author if the caller may post as it. Errors: 404, then 403, then 422
    /// `author_id`.
    async fn check_author(
        &self,
        view: &View<'_>,
        found: Option<ProfileItem>,
    ) -> Result<ProfileItem> {
        let Some(author) = ProfileItem::live(found) else {
            self.table.check(view, Action::Read).await?;
            return Err(ProfileItem::unknown_author());
        };
        let private = view.conversation.visibility == Visibility::Private;
        let is_member = private && self.caller.acts_for(&author.owner) && {
            let member = Key::member(self.conversation_id, author.id);
            self.table.get_one::<IgnoredAny>(member).await?.is_some()
        };
        self.table.check(view, Action::Post { owner: &author.owner, is_member }).await?;
        Ok(author)
    }

    /// Reserves one place, or two if a congratulation is due. An attempt that was not answered may
    /// hold places too; readers close them later. `window` is the current second if this post
    /// begins a new admission window.
    async fn reserve(&mut self, author: Box<ProfileItem>, window: Option<i64>) -> Result<Step> {
        let number = |number: u64| AttributeValue::N(number.to_string());
        let count = if is_rewarded(author.points + 1) { 2 } else { 1 };
        let mut attempts = self.table.attempts(Effect::Harmless);
        loop {
            attempts.check_time()?;
            let begins =
                if window.is_some() { ", #window = :window, window_seq = last_seq" } else { "" };
            let mut request = self
                .table
                .client
                .update_item()
                .table_name(&*self.table.name)
                .set_key(Some(Key::conversation(self.conversation_id).into_attributes()))
                .update_expression(format!(
                    "SET last_message_at = :now{begins} ADD last_seq :count"
                ))
                .condition_expression("attribute_exists(pk) AND attribute_not_exists(deleted_at)")
                .expression_attribute_values(
                    ":now",
                    AttributeValue::S(self.table.now().to_string()),
                )
                .expression_attribute_values(":count", number(count))
                .return_values(ReturnValue::UpdatedNew)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            if let Some(window) = window {
                let window = AttributeValue::N(window.to_string());
                request = request
                    .expression_attribute_names("#window", "window")
                    .expression_attribute_values(":window", window);
            }
            let error = match attempts.send(request.send()).await {
                Ok(output) => {
                    self.table.count_written(output.consumed_capacity());
                    let last =
                        output.attributes().and_then(|item| item.get("last_seq")?.as_n().ok());
                    let last: Option<u64> = last.and_then(|last| last.parse().ok());
                    let last =
                        last.ok_or_else(|| Error::internal("a reservation without last_seq"))?;
                    let places = Places {
                        conversation_id: self.conversation_id,
                        first: Seq::new(last + 1 - count),
                        second: (count == 2).then_some(Seq::new(last)),
                        reserved_at: self.table.now(),
                    };
                    return Ok(Step::Commit(author, places));
                }
                Err(error) => error,
            };
            if let Some(UpdateItemError::ConditionalCheckFailedException(_)) =
                error.as_service_error()
            {
                return Err(Error::NotFound(ConversationItem::KIND));
            }
            match classify(error) {
                // Not retried: under overload the commits need the partition's capacity.
                Failure::Throttled(cause) => return Err(Error::Unavailable(cause)),
                failure => attempts.pause_after(failure).await?,
            }
        }
    }

    /// Stores the message, the congratulation if one is due, and the point, in one transaction.
    async fn commit(&mut self, author: Box<ProfileItem>, places: Places) -> Result<Step> {
        let bucket = self.table.rate_limit.refill(author.bucket(), self.table.now());
        let draft = Draft::new(author, bucket.map(Bucket::spend), places, self.input, self.id);
        let writes = draft.writes(self.table, self.keyed.as_ref())?;
        match self.attempts.transact(writes, Uuid::new_v4()).await {
            Ok(Decision::Committed) => self.stored(draft).await,
            Ok(Decision::Refused(reasons)) => self.after_refusal(draft, reasons).await,
            Ok(Decision::Conflict(reasons)) => self.after_conflict(draft.places, reasons).await,
            Err(error @ (Error::Unavailable(_) | Error::OutcomeUnknown(_))) => {
                self.give_up(draft, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the response to a stored message. Closes the second place if no congratulation is due.
    ///
    /// Reads nothing, so the response is 201 even if the conversation was deleted in the meantime.
    async fn stored(&self, draft: Draft) -> Result<Step> {
        if draft.reward.is_none() {
            self.close(draft.places.second).await;
        }
        let quota = draft.bucket.map(|bucket| self.table.rate_limit.quota(bucket));
        let resource = draft.into_posted()?;
        let created = Created { resource, replayed: false };
        Ok(Step::Done(Box::new(Posted { created, quota })))
    }

    /// Decides what follows a failed condition. The order of the checks matters; see "After a
    /// refusal" in `docs/RELIABILITY.md`.
    async fn after_refusal(&mut self, draft: Draft, reasons: Reasons) -> Result<Step> {
        let message: Option<Option<MessageItem>> = reasons.refused(Slot::Message)?;
        if let Some(Some(message)) = &message
            && message.posted_by == Some(self.id)
        {
            return self.stored(draft).await;
        }
        let Draft { author, places, .. } = draft;
        if let (Some(keyed), Some(Some(item))) = (&self.keyed, reasons.refused(Slot::Key)?) {
            let used = keyed.check(&item, self.table.now())?;
            if !matches!(used, KeyUse::Free) {
                self.close(places.all()).await;
                if let Some(earlier) = used.earlier()? {
                    return self.replay(earlier.resource, Some(&author)).await;
                }
            }
        }
        let author = match reasons.refused::<ProfileItem>(Slot::Author)? {
            Some(current) => self.author_or_close(current, places).await?,
            None => author,
        };
        let reward: Option<Option<MessageItem>> = reasons.refused(Slot::Reward)?;
        match (message.is_some(), reward.is_some()) {
            (false, false) => self.commit_or_reserve(author, places).await,
            (message_taken, reward_taken) => {
                if !message_taken {
                    self.close([places.first]).await;
                }
                if !reward_taken {
                    self.close(places.second).await;
                }
                Ok(Step::Reserve(author))
            }
        }
    }

    /// Pauses and reads the author again. After a conflict, the total has probably changed, because
    /// another post of the same author is the usual cause.
    async fn after_conflict(&mut self, places: Places, reasons: Reasons) -> Result<Step> {
        let read = match self.attempts.pause_after(reasons.into_failure()).await {
            Ok(()) => self.table.get_one(Key::profile(self.input.author_id)).await,
            Err(error) => Err(error),
        };
        let current = match read {
            Ok(current) => current,
            Err(error) => {
                self.close(places.all()).await;
                return Err(error);
            }
        };
        let author = self.author_or_close(current, places).await?;
        self.commit_or_reserve(author, places).await
    }

    /// Returns the next step after the author's total may have changed. If a congratulation is due
    /// now and has no place, closes the place of the message, so that two can be reserved.
    async fn commit_or_reserve(&self, author: Box<ProfileItem>, places: Places) -> Result<Step> {
        if is_rewarded(author.points + 1) && places.second.is_none() {
            self.close([places.first]).await;
            return Ok(Step::Reserve(author));
        }
        Ok(Step::Commit(author, places))
    }

    /// Returns the author that was read again. If it is absent, closes the places and fails.
    async fn author_or_close(
        &self,
        current: Option<ProfileItem>,
        places: Places,
    ) -> Result<Box<ProfileItem>> {
        match ProfileItem::author(current, self.caller) {
            Ok(author) => Ok(Box::new(author)),
            Err(error) => {
                self.close(places.all()).await;
                Err(error)
            }
        }
    }

    /// Ends the post. If the transaction is undecided, puts a void into its place, so that it can
    /// no longer be committed.
    async fn give_up(&mut self, draft: Draft, error: Error) -> Result<Step> {
        let places = draft.places;
        let Error::OutcomeUnknown(cause) = error else {
            self.close(places.all()).await;
            return Err(error);
        };
        match self.table.close_gap_surely(self.conversation_id, places.first).await {
            Ok(Some(stored)) if stored.posted_by == Some(self.id) => self.stored(draft).await,
            Ok(Some(_)) => {
                self.close(places.second).await;
                Err(Error::Unavailable(cause))
            }
            Ok(None) | Err(_) => Err(Error::OutcomeUnknown(cause)),
        }
    }

    /// Closes places that this post will not use. Best effort: readers close what is left.
    async fn close(&self, places: impl IntoIterator<Item = Seq>) {
        for place in places {
            if let Err(error) = self.table.close_gap(self.conversation_id, place).await {
                tracing::warn!(error = error.chain(), "gap not closed");
            }
        }
    }

    /// Returns the response to a repeat of an earlier post. `author` is used only for the quota.
    async fn replay(&self, seq: Seq, author: Option<&ProfileItem>) -> Result<Step> {
        let replay = self.table.replay_message(self.caller, self.conversation_id, seq);
        let created = Created { resource: replay.await?, replayed: true };
        let limit = self.table.rate_limit;
        let bucket = author.and_then(|author| limit.refill(author.bucket(), self.table.now()));
        let quota = bucket.map(|bucket| limit.quota(bucket));
        Ok(Step::Done(Box::new(Posted { created, quota })))
    }
}
