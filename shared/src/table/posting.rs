//! Posting a message: one read of all that decides it, one transaction that writes all of it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use uuid::Uuid;

use super::attempts::{Decision, Effect, Failure, Reasons};
use super::conversations::{self, ConversationItem};
use super::idempotency::KeyItem;
use super::keys::{CONVERSATIONS, Key};
use super::messages::MessageItem;
use super::profiles::ProfileItem;
use super::{Created, Idempotency, Table, read};
use crate::message::{congratulation, congratulation_metadata, is_rewarded};
use crate::{Caller, ConversationId, Error, Kind, NewMessage, PostedMessage, Profile, ProfileId, Result, Seq, Time};

/// What a post is decided on: the conversation and the author as they are.
struct Standing {
    conversation: ConversationItem,
    author: ProfileItem,
}

impl Standing {
    fn check(conversation: Option<ConversationItem>, author: Option<ProfileItem>, caller: &Caller) -> Result<Self> {
        let conversation = conversation.and_then(ConversationItem::live).ok_or(conversations::NOT_FOUND)?;
        let author = author.ok_or_else(|| Error::invalid("author_id", "there is no such profile"))?;
        caller.check(&author.owner)?;
        Ok(Self { conversation, author })
    }

    /// The message and the congratulation that this standing brings about.
    fn draft(&self, conversation_id: ConversationId, input: &NewMessage, post: Uuid) -> (MessageItem, Option<MessageItem>) {
        let points = self.author.points + 1;
        let message = MessageItem {
            key: Key::message(conversation_id, self.conversation.last_seq.next()),
            kind: Kind::Text,
            author_id: Some(self.author.id),
            owner: Some(self.author.owner.clone()),
            text: input.text.clone().into(),
            metadata: input.metadata.as_json().to_owned(),
            points,
            posted_by: Some(post),
            created_at: Time::now(),
            edited_at: None,
            deleted_at: None,
        };
        let reward = is_rewarded(points).then(|| MessageItem {
            key: Key::message(conversation_id, message.seq().next()),
            kind: Kind::Action,
            author_id: None,
            owner: None,
            text: congratulation(&self.author.first_name, points),
            metadata: congratulation_metadata(self.author.id, points).as_json().to_owned(),
            ..message.clone()
        });
        (message, reward)
    }
}

impl Table {
    /// Posts a message: one read of all that decides it, one transaction that writes all of it. `input` may be an error: the
    /// idempotency key is judged before it.
    pub async fn create_message(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        input: Result<NewMessage>,
        idempotency: Option<&Idempotency>,
    ) -> Result<Created<PostedMessage>> {
        let input = match input {
            Ok(input) => input,
            Err(error) => match self.find_key(caller, idempotency).await? {
                Some(seq) => return self.replay_message(conversation_id, seq).await,
                None => return Err(error),
            },
        };
        let post = Uuid::new_v4();
        let mut attempts = self.attempts(Effect::Transaction);
        let mut known: Option<Result<Standing>> = None;
        let mut raced = false;
        // The place that an unanswered attempt takes if it is carried out late. There is never more than one such place: as soon as
        // another message is there, the attempt's condition on `last_seq` fails for ever.
        let mut late: Option<Seq> = None;
        loop {
            let standing = match known.take() {
                Some(standing) => standing.map(Ok),
                None => self.read_standing(caller, conversation_id, input.author_id, idempotency).await,
            };
            if let Some(seq) = late
                && !matches!(&standing, Ok(Ok(standing)) if standing.conversation.last_seq < seq)
            {
                match self.stored(conversation_id, seq).await.map_err(|error| attempts.judge(error))? {
                    Some(message) if message.posted_by == Some(post) => return self.found(conversation_id, seq).await,
                    Some(_) => {
                        late = None;
                        attempts.none_can_arrive();
                    }
                    None if matches!(standing, Ok(Ok(_))) => {
                        attempts.after(Failure::Refused("a message that is not visible yet".into())).await?;
                        continue;
                    }
                    None => {}
                }
            }
            let standing = match standing.map_err(|error| attempts.judge(error))? {
                Ok(standing) => standing,
                Err(seq) => return self.replay_message(conversation_id, seq).await.map_err(|error| attempts.judge(error)),
            };
            let (message, reward) = standing.draft(conversation_id, &input, post);
            let mut writes = self.post_writes(conversation_id, &standing, &message, reward.as_ref())?;
            if let Some(idempotency) = idempotency {
                writes.push(KeyItem::put(self, caller, idempotency, message.seq())?);
            }
            let key_index = writes.len() - 1;
            let reasons = match attempts.transact(writes, Uuid::new_v4()).await? {
                Decision::Committed => return posted(conversation_id, standing, message, reward),
                Decision::Cancelled(reasons) => reasons,
            };
            if attempts.may_arrive() {
                late = Some(message.seq());
            }
            if let (Some(idempotency), Some(Some(item))) = (idempotency, reasons.failed_condition(key_index))
                && let Some(seq) = read::<KeyItem>(item.clone())?.judge(idempotency)?
            {
                return self.replay_message(conversation_id, seq).await.map_err(|error| attempts.judge(error));
            }
            // A lost race is run again at once, for what came back is fresh; a second one in a row after a pause, from a new read.
            known = if raced { None } else { lost_race(standing, &reasons, caller) };
            raced = known.is_some();
            if !raced {
                attempts.after(reasons.into_failure()).await?;
            }
        }
    }

    /// The message at this place, if there is one yet.
    async fn stored(&self, conversation_id: ConversationId, seq: Seq) -> Result<Option<MessageItem>> {
        let key = Key::message(conversation_id, seq);
        self.get([key.clone()]).await?.take(&key)
    }

    /// The answer to a post that an unanswered attempt stored at this place.
    async fn found(&self, conversation_id: ConversationId, seq: Seq) -> Result<Created<PostedMessage>> {
        match self.replay_message(conversation_id, seq).await {
            Ok(posted) => Ok(Created { replayed: false, ..posted }),
            Err(Error::Gone) => Err(conversations::NOT_FOUND),
            Err(error) => Err(error.after_a_write()),
        }
    }

    /// Reads all that decides a post; or finds that its idempotency key stands for an earlier one.
    async fn read_standing(
        &self,
        caller: &Caller,
        conversation_id: ConversationId,
        author_id: ProfileId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Result<Standing, Seq>> {
        let (conversation, author) = (Key::conversation(conversation_id), Key::profile(author_id));
        let key = idempotency.map(|idempotency| (idempotency, idempotency.item_key(caller)));
        let wanted = [conversation.clone(), author.clone()].into_iter().chain(key.iter().map(|(_, key)| key.clone()));
        let mut found = self.get(wanted).await?;
        if let Some((idempotency, key)) = key
            && let Some(item) = found.take::<KeyItem>(&key)?
            && let Some(seq) = item.judge(idempotency)?
        {
            return Ok(Err(seq));
        }
        Standing::check(found.take(&conversation)?, found.take(&author)?, caller).map(Ok)
    }

    /// The writes of a post: the conversation and the profile, as they were read and not otherwise; then what is new.
    fn post_writes(
        &self,
        conversation_id: ConversationId,
        standing: &Standing,
        message: &MessageItem,
        reward: Option<&MessageItem>,
    ) -> Result<Vec<TransactWriteItem>> {
        let number = |number: u64| AttributeValue::N(number.to_string());
        let last_seq = reward.unwrap_or(message).seq();
        let conversation = Update::builder()
            .table_name(&*self.name)
            .set_key(Some(Key::conversation(conversation_id).into_attributes()))
            .update_expression("SET last_seq = :new")
            .condition_expression("last_seq = :old AND listing = :live")
            .expression_attribute_values(":new", number(last_seq.get()))
            .expression_attribute_values(":old", number(standing.conversation.last_seq.get()))
            .expression_attribute_values(":live", AttributeValue::S(CONVERSATIONS.into()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)?;
        let author = Update::builder()
            .table_name(&*self.name)
            .set_key(Some(Key::profile(standing.author.id).into_attributes()))
            .update_expression("SET points = :new")
            .condition_expression("points = :old")
            .expression_attribute_values(":new", number(message.points))
            .expression_attribute_values(":old", number(standing.author.points))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)?;
        let mut writes =
            vec![TransactWriteItem::builder().update(conversation).build(), TransactWriteItem::builder().update(author).build()];
        for item in std::iter::once(message).chain(reward) {
            let item = serde_dynamo::to_item(item).map_err(Error::internal)?;
            let put = Put::builder().table_name(&*self.name).set_item(Some(item)).build().map_err(Error::internal)?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        Ok(writes)
    }

    /// What a repeated post answers: the message, and the congratulation that came with it, as they are now.
    async fn replay_message(&self, conversation_id: ConversationId, seq: Seq) -> Result<Created<PostedMessage>> {
        let keys =
            [Key::conversation(conversation_id), Key::message(conversation_id, seq), Key::message(conversation_id, seq.next())];
        let mut found = self.get(keys.clone()).await?;
        let live = found.take::<ConversationItem>(&keys[0])?.and_then(ConversationItem::live);
        let (Some(_), Some(message)) = (live, found.take::<MessageItem>(&keys[1])?) else { return Err(Error::Gone) };
        let reward = if is_rewarded(message.points) { found.take::<MessageItem>(&keys[2])? } else { None };
        let authors = self.profiles(message.author_id).await?;
        let reward = reward.map(|item| item.into_message(conversation_id, &authors)).transpose()?;
        let message = message.into_message(conversation_id, &authors)?;
        Ok(Created { resource: PostedMessage { message, reward }, replayed: true })
    }
}

/// The answer to a post that was committed.
fn posted(
    conversation_id: ConversationId,
    standing: Standing,
    message: MessageItem,
    reward: Option<MessageItem>,
) -> Result<Created<PostedMessage>> {
    let mut author = standing.author;
    author.points = message.points;
    let authors = HashMap::from([(author.id, Profile::from(author))]);
    let message = message.into_message(conversation_id, &authors)?;
    let reward = reward.map(|item| item.into_message(conversation_id, &authors)).transpose()?;
    Ok(Created { resource: PostedMessage { message, reward }, replayed: false })
}

/// What the next attempt is decided on after a lost race: the values that came back with the failed conditions. `None` when
/// there was a conflict or the like, which brings none, so that everything has to be read again.
fn lost_race(standing: Standing, reasons: &Reasons, caller: &Caller) -> Option<Result<Standing>> {
    let fresh = || {
        let conversation = match reasons.failed_condition(0) {
            Some(item) => item.cloned().map(read).transpose()?,
            None => Some(standing.conversation),
        };
        let author = match reasons.failed_condition(1) {
            Some(item) => item.cloned().map(read).transpose()?,
            None => Some(standing.author),
        };
        Standing::check(conversation, author, caller)
    };
    reasons.only_conditions().then(fresh)
}
