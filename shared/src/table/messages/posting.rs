//! Posting a message: one read of everything that decides it, one transaction that writes all of it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use uuid::Uuid;

use crate::message::{is_rewarded, reward};
use crate::table::attempts::{Attempts, Effect, Failure};
use crate::table::client::Table;
use crate::table::idempotency::{Created, Earlier, KeyedRequest};
use crate::table::items::{
    ConversationItem, MessageItem, ProfileItem, from_attributes, to_attributes,
};
use crate::table::keys::Key;
use crate::table::transactions::{Decision, Reasons, Slot, Writes};
use crate::{
    Caller, ConversationId, Error, IdempotencyKey, Kind, NewMessage, PostedMessage, Profile,
    Result, Seq, Time,
};

/// One request that posts a message.
struct Post<'p> {
    caller: &'p Caller,
    conversation_id: ConversationId,
    input: &'p NewMessage,
    keyed: Option<KeyedRequest>,
    /// Identifies the message of this request after an undecided attempt.
    posted_by: Uuid,
}

/// The stored state that a post builds on.
struct Basis {
    conversation: ConversationItem,
    author: ProfileItem,
}

/// What a post finds before it writes.
#[expect(clippy::large_enum_variant, reason = "a request has one, which it soon takes apart")]
enum Start {
    Basis(Box<Basis>),
    /// An earlier request with the same idempotency key.
    Earlier(Earlier<Seq>),
}

/// What became of the message of an undecided attempt.
enum Undecided {
    /// It is stored.
    Stored,
    /// Another message has its `seq`, so it can no longer be stored.
    Impossible,
    /// It may be stored later.
    Open,
}

impl Basis {
    fn new(
        conversation: Option<ConversationItem>,
        author: Option<ProfileItem>,
        caller: &Caller,
    ) -> Result<Self> {
        let conversation = ConversationItem::visible(conversation, caller)?;
        Ok(Self { conversation, author: ProfileItem::author(author, caller)? })
    }

    /// Rebuilds the state from the items that failed conditions return. Returns `None` after a
    /// conflict, which returns no items; the caller must read again.
    fn after_cancellation(self, reasons: &Reasons, caller: &Caller) -> Option<Result<Self>> {
        let current = || {
            let conversation = match reasons.failed_condition(Slot::Conversation) {
                Some(item) => item.cloned().map(from_attributes).transpose()?,
                None => Some(self.conversation),
            };
            let author = match reasons.failed_condition(Slot::Author) {
                Some(item) => item.cloned().map(from_attributes).transpose()?,
                None => Some(self.author),
            };
            Self::new(conversation, author, caller)
        };
        reasons.only_conditions().then(current)
    }

    /// Returns the message to store, and the congratulation that it earns.
    fn draft(&self, post: &Post<'_>, now: Time) -> Result<(MessageItem, Option<MessageItem>)> {
        let points = self.author.points + 1;
        let message = MessageItem {
            key: Key::message(post.conversation_id, self.conversation.last_seq.next()),
            kind: Kind::Text,
            author_id: Some(self.author.id),
            owner: Some(self.author.owner.clone()),
            text: post.input.text.clone().into(),
            metadata: post.input.metadata.as_json().to_owned(),
            points,
            posted_by: Some(post.posted_by),
            created_at: now,
            edited_at: None,
            deleted_at: None,
        };
        let reward = reward(self.author.id, &self.author.first_name, points);
        let reward = reward.map(|reward| MessageItem {
            key: Key::message(post.conversation_id, message.seq().next()),
            kind: Kind::Action,
            author_id: None,
            owner: None,
            text: reward.text,
            metadata: reward.metadata.as_json().to_owned(),
            ..message.clone()
        });
        Ok((message, reward))
    }

    /// Returns the response to a committed post.
    fn posted(
        self,
        id: ConversationId,
        message: MessageItem,
        reward: Option<MessageItem>,
    ) -> Result<Created<PostedMessage>> {
        let author = ProfileItem { points: message.points, ..self.author };
        let authors = HashMap::from([(author.id, Profile::from(author))]);
        let message = message.into_message(id, &authors)?;
        let reward = reward.map(|item| item.into_message(id, &authors)).transpose()?;
        Ok(Created { resource: PostedMessage { message, reward }, replayed: false })
    }
}

impl Table {
    /// Posts a message.
    pub async fn create_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        input: NewMessage,
        key: Option<&IdempotencyKey>,
    ) -> Result<Created<PostedMessage>> {
        let path_id = conversation_id.to_string();
        let keyed = |key| KeyedRequest::new(caller, key, "create-message", &path_id, &input);
        let keyed = key.map(keyed).transpose()?;
        let posted_by = Uuid::new_v4();
        let post = Post { caller, conversation_id, input: &input, keyed, posted_by };
        let mut attempts = self.attempts(Effect::Transaction);
        let mut known: Option<Result<Basis>> = None;
        let mut raced = false;
        // The `seq` of an undecided attempt. There is at most one: once another message has this
        // `seq`, the attempt's condition on `last_seq` fails permanently.
        let mut open: Option<Seq> = None;
        loop {
            let start = match known.take() {
                Some(basis) => basis.map(Box::new).map(Start::Basis),
                None => self.read_basis(&post).await,
            };
            let passed = |start: &Result<Start>, seq| match start {
                Ok(Start::Basis(basis)) => basis.conversation.last_seq >= seq,
                _ => true,
            };
            if let Some(seq) = open.filter(|seq| passed(&start, *seq)) {
                match self.look_up(&post, seq, &attempts).await? {
                    Undecided::Stored => return self.found(&post, seq).await,
                    Undecided::Impossible => {
                        open = None;
                        attempts.set_undecided(false);
                    }
                    Undecided::Open if matches!(start, Ok(Start::Basis(_))) => {
                        attempts.pause_after(Failure::Refused("not visible yet".into())).await?;
                        continue;
                    }
                    Undecided::Open => {}
                }
            }
            let basis = match start.map_err(|error| attempts.qualify(error))? {
                Start::Basis(basis) => *basis,
                Start::Earlier(earlier) => {
                    let replay = self.replay_message(&post, earlier.resource).await;
                    return replay.map_err(|error| attempts.qualify(error));
                }
            };
            let (message, reward) = basis.draft(&post, self.now())?;
            let writes = self.post_writes(&post, &basis, &message, reward.as_ref())?;
            let reasons = match attempts.transact(writes, Uuid::new_v4()).await? {
                Decision::Committed => return basis.posted(conversation_id, message, reward),
                Decision::Cancelled(reasons) => reasons,
            };
            if attempts.is_undecided() {
                open = Some(message.seq());
            }
            if let Some(earlier) = self.earlier_post(&post, &reasons)? {
                let replay = self.replay_message(&post, earlier.resource).await;
                return replay.map_err(|error| attempts.qualify(error));
            }
            // After a lost race the returned items are current, so the post continues immediately.
            // After a second one in a row it pauses and reads again.
            known = if raced { None } else { basis.after_cancellation(&reasons, caller) };
            raced = known.is_some();
            if !raced {
                attempts.pause_after(reasons.into_failure()).await?;
            }
        }
    }

    /// Returns what became of the message that an undecided attempt may have stored at `seq`.
    async fn look_up(
        &self,
        post: &Post<'_>,
        seq: Seq,
        attempts: &Attempts<'_>,
    ) -> Result<Undecided> {
        let stored = self.get_one::<MessageItem>(Key::message(post.conversation_id, seq)).await;
        Ok(match stored.map_err(|error| attempts.qualify(error))? {
            Some(message) if message.posted_by == Some(post.posted_by) => Undecided::Stored,
            Some(_) => Undecided::Impossible,
            None => Undecided::Open,
        })
    }

    /// Returns the response to a post that an undecided attempt stored.
    async fn found(&self, post: &Post<'_>, seq: Seq) -> Result<Created<PostedMessage>> {
        match self.replay_message(post, seq).await {
            Ok(posted) => Ok(Created { replayed: false, ..posted }),
            Err(Error::Gone) => Err(Error::NotFound(ConversationItem::KIND)),
            Err(error) => Err(error.after_a_write()),
        }
    }

    /// Reads the conversation, the author and the idempotency key.
    async fn read_basis(&self, post: &Post<'_>) -> Result<Start> {
        let conversation = Key::conversation(post.conversation_id);
        let author = Key::profile(post.input.author_id);
        let key = post.keyed.as_ref().map(|keyed| (keyed, keyed.item_key()));
        let wanted = [conversation.clone(), author.clone()].into_iter();
        let mut found = self.get(wanted.chain(key.iter().map(|(_, key)| key.clone()))).await?;
        if let Some((keyed, key)) = key
            && let Some(item) = found.take(&key)?
            && let Some(earlier) = keyed.earlier(&item, self.now())?
        {
            return Ok(Start::Earlier(earlier));
        }
        let (conversation, author) = (found.take(&conversation)?, found.take(&author)?);
        let basis = Basis::new(conversation, author, post.caller)?;
        Ok(Start::Basis(Box::new(basis)))
    }

    /// Returns the earlier post with the same idempotency key that cancelled this one.
    fn earlier_post(&self, post: &Post<'_>, reasons: &Reasons) -> Result<Option<Earlier<Seq>>> {
        match (&post.keyed, reasons.failed_condition(Slot::Key)) {
            (Some(keyed), Some(Some(item))) => {
                keyed.earlier(&from_attributes(item.clone())?, self.now())
            }
            _ => Ok(None),
        }
    }

    /// Builds the transaction: conversation and author advance from the values that were read, and the
    /// new items are put.
    fn post_writes(
        &self,
        post: &Post<'_>,
        basis: &Basis,
        message: &MessageItem,
        reward: Option<&MessageItem>,
    ) -> Result<Writes> {
        let number = |number: u64| AttributeValue::N(number.to_string());
        let update = |key: Key, attribute: &str, new: u64, old: u64| {
            Update::builder()
                .table_name(&*self.name)
                .set_key(Some(key.into_attributes()))
                .update_expression(format!("SET {attribute} = :new"))
                .condition_expression(format!(
                    "{attribute} = :old AND attribute_not_exists(deleted_at)"
                ))
                .expression_attribute_values(":new", number(new))
                .expression_attribute_values(":old", number(old))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                )
                .build()
                .map(|update| TransactWriteItem::builder().update(update).build())
                .map_err(Error::internal)
        };
        let conversation = Key::conversation(post.conversation_id);
        let last_seq = reward.unwrap_or(message).seq().get();
        let previous_seq = basis.conversation.last_seq.get();
        let author = Key::profile(basis.author.id);
        let mut writes = vec![
            (Slot::Conversation, update(conversation, "last_seq", last_seq, previous_seq)?),
            (Slot::Author, update(author, "points", message.points, basis.author.points)?),
        ];
        for item in std::iter::once(message).chain(reward) {
            let put = Put::builder().table_name(&*self.name).set_item(Some(to_attributes(item)?));
            let put = put.build().map_err(Error::internal)?;
            writes.push((Slot::Created, TransactWriteItem::builder().put(put).build()));
        }
        if let Some(keyed) = &post.keyed {
            writes.push((Slot::Key, keyed.put(self, message.seq())?));
        }
        Ok(writes)
    }

    /// Returns the response to a repeated post: the message, and the congratulation that it earned, as
    /// they are now.
    ///
    /// Messages stay while their conversation is live. So an absent one is not visible yet.
    async fn replay_message(&self, post: &Post<'_>, seq: Seq) -> Result<Created<PostedMessage>> {
        let id = post.conversation_id;
        let keys = [Key::conversation(id), Key::message(id, seq), Key::message(id, seq.next())];
        let keys = &keys;
        let read = || async move {
            let mut found = self.get(keys.clone()).await?;
            let conversation = found.take(&keys[0])?;
            ConversationItem::visible(conversation, post.caller).map_err(|_| Error::Gone)?;
            let message: Option<MessageItem> = found.take(&keys[1])?;
            let reward: Option<MessageItem> = found.take(&keys[2])?;
            Ok(match (message, reward) {
                (Some(message), _) if !is_rewarded(message.points) => Some((message, None)),
                (Some(message), Some(reward)) => Some((message, Some(reward))),
                _ => None,
            })
        };
        let (message, reward) = self.await_visible(read).await?;
        let mut authors = self.authors(message.author_id).await?;
        for author in authors.values_mut() {
            // The profile may be visible with an earlier total.
            author.points = author.points.max(message.points);
        }
        let reward = reward.map(|item| item.into_message(id, &authors)).transpose()?;
        let message = message.into_message(id, &authors)?;
        Ok(Created { resource: PostedMessage { message, reward }, replayed: true })
    }
}
