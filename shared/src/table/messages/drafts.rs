//! Drafts: what a post stores in the places that it has reserved.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use uuid::Uuid;

use crate::message::reward;
use crate::rate::Bucket;
use crate::table::client::Table;
use crate::table::idempotency::KeyedRequest;
use crate::table::items::{MessageItem, ProfileItem, to_attributes};
use crate::table::keys::Key;
use crate::table::requests::number;
use crate::table::transactions::{Slot, Writes};
use crate::{ConversationId, Error, Kind, NewMessage, PostedMessage, Profile, Result, Seq, Time};

/// The places that a post has reserved.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) conversation_id: ConversationId,
    pub(super) first: Seq,
    /// For the congratulation.
    pub(super) second: Option<Seq>,
    pub(super) reserved_at: Time,
}

/// The items that a post stores in its places.
pub(super) struct Draft {
    pub(super) author: Box<ProfileItem>,
    /// The author's tokens after this post; `None` if unlimited.
    pub(super) bucket: Option<Bucket>,
    pub(super) places: Places,
    pub(super) reward: Option<MessageItem>,
    message: MessageItem,
}

impl Places {
    pub(super) fn all(self) -> impl Iterator<Item = Seq> {
        [self.first].into_iter().chain(self.second)
    }
}

impl Draft {
    /// Drafts a message, and the congratulation if one is due.
    pub(super) fn new(
        author: Box<ProfileItem>,
        bucket: Option<Bucket>,
        places: Places,
        input: &NewMessage,
        posted_by: Uuid,
    ) -> Self {
        let points = author.points + 1;
        let message = MessageItem {
            key: Key::message(places.conversation_id, places.first),
            kind: Kind::Text,
            author_id: Some(author.id),
            owner: Some(author.owner.clone()),
            text: input.text.clone().into(),
            metadata: input.metadata.as_json().to_owned(),
            points,
            change: 0,
            posted_by: Some(posted_by),
            created_at: places.reserved_at,
            edited_at: None,
            deleted_at: None,
        };
        let reward = places.second.zip(reward(author.id, &author.first_name, points));
        let reward = reward.map(|(place, reward)| MessageItem {
            key: Key::message(places.conversation_id, place),
            kind: Kind::Action,
            author_id: None,
            owner: None,
            text: reward.text,
            metadata: reward.metadata.as_json().to_owned(),
            ..message.clone()
        });
        Self { author, bucket, places, reward, message }
    }

    /// Builds the transaction. Each of its conditions fails permanently once it has failed.
    pub(super) fn writes(&self, table: &Table, keyed: Option<&KeyedRequest>) -> Result<Writes> {
        let mut writes = vec![
            (Slot::Author, self.update_author(table)?),
            (Slot::Message, put(table, &self.message)?),
        ];
        if let Some(reward) = &self.reward {
            writes.push((Slot::Reward, put(table, reward)?));
        }
        if let Some(keyed) = keyed {
            writes.push((Slot::Key, keyed.put(table, self.message.seq())?));
        }
        Ok(writes)
    }

    /// Builds the update that gives the author the point and takes a token.
    fn update_author(&self, table: &Table) -> Result<TransactWriteItem> {
        let tokens =
            if self.bucket.is_some() { ", tokens = :tokens, tokens_at = :now" } else { "" };
        let mut update = Update::builder()
            .table_name(&*table.name)
            .set_key(Some(Key::profile(self.author.id).into_attributes()))
            .update_expression(format!("SET points = :new{tokens}"))
            .condition_expression("points = :old AND attribute_not_exists(deleted_at)")
            .expression_attribute_values(":new", number(self.message.points))
            .expression_attribute_values(":old", number(self.author.points))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(Bucket { tokens, at }) = self.bucket {
            update = update
                .expression_attribute_values(":tokens", AttributeValue::N(tokens.to_string()))
                .expression_attribute_values(":now", AttributeValue::S(at.to_string()));
        }
        let update = update.build().map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Returns the stored message as the response shows it.
    pub(super) fn into_posted(self) -> Result<PostedMessage> {
        let id = self.places.conversation_id;
        let author = ProfileItem { points: self.message.points, ..*self.author };
        let authors = HashMap::from([(author.id, Profile::from(author))]);
        let message = self.message.into_message(id, &authors)?;
        let reward = self.reward.map(|item| item.into_message(id, &authors)).transpose()?;
        Ok(PostedMessage { message, reward })
    }
}

/// Builds the write of a message into an empty place.
fn put(table: &Table, item: &MessageItem) -> Result<TransactWriteItem> {
    let put = Put::builder()
        .table_name(&*table.name)
        .set_item(Some(to_attributes(item)?))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let put = put.build().map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}
