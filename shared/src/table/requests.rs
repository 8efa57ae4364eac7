//! The few shapes of requests that all resources share: items by key, a page of the index, a conditional update.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::attempts::{self, Failure};
use super::keys::{Key, LISTING_INDEX};
use super::{Item, Table};
use crate::{Caller, Error, Limit, Result};

impl Table {
    /// Reads items by key, strongly consistent, in one round trip unless DynamoDB leaves keys unprocessed. At most 100 keys;
    /// the same key twice is asked for once. Absent items are absent from the answer.
    pub(super) async fn get(&self, keys: impl IntoIterator<Item = Key>) -> Result<Found> {
        let mut found = HashMap::new();
        let mut wanted: Vec<Item> = Vec::new();
        for key in keys {
            let attributes = key.into_attributes();
            if !wanted.contains(&attributes) {
                wanted.push(attributes);
            }
        }
        if wanted.is_empty() {
            return Ok(Found(found));
        }
        let mut attempts = self.attempts(attempts::Effect::Read);
        loop {
            let keys = KeysAndAttributes::builder().set_keys(Some(wanted.clone())).consistent_read(true);
            let request = self
                .client
                .batch_get_item()
                .request_items(&*self.name, keys.build().map_err(Error::internal)?)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let failure = match attempts.run(request.send()).await {
                Err(error) => attempts::classify(error),
                Ok(output) => {
                    self.count_read(output.consumed_capacity());
                    for item in output.responses.into_iter().flat_map(HashMap::into_values).flatten() {
                        found.insert(Key::of(&item)?, item);
                    }
                    let left = output.unprocessed_keys.and_then(|mut tables| tables.remove(&*self.name));
                    match left {
                        Some(left) if !left.keys().is_empty() => wanted = left.keys,
                        _ => return Ok(Found(found)),
                    }
                    Failure::Refused("unprocessed keys".into())
                }
            };
            attempts.after(failure).await?;
        }
    }

    /// The keys of a page of the index, newest first, and the last id of the page when there are more.
    ///
    /// One key more than the page holds is read from the index, to know whether there are more; no item is.
    pub(super) async fn listed(
        &self,
        listing: &'static str,
        limit: Limit,
        before: Option<String>,
    ) -> Result<(Vec<Key>, Option<String>)> {
        let mut request = self
            .client
            .query()
            .table_name(&*self.name)
            .index_name(LISTING_INDEX)
            .key_condition_expression("listing = :listing")
            .expression_attribute_values(":listing", AttributeValue::S(listing.into()))
            .scan_index_forward(false)
            .limit(i32::try_from(limit.get() + 1).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Some(before) = before {
            request = request
                .key_condition_expression("listing = :listing AND id < :before")
                .expression_attribute_values(":before", AttributeValue::S(before));
        }
        let output = self.send_read(|| request.clone().send()).await?;
        self.count_read(output.consumed_capacity());
        #[derive(Deserialize)]
        struct Listed {
            #[serde(flatten)]
            key: Key,
            id: String,
        }
        let mut listed: Vec<Listed> = output.items.unwrap_or_default().into_iter().map(read).collect::<Result<_>>()?;
        let more = listed.len() > limit.get();
        listed.truncate(limit.get());
        let last = listed.last().filter(|_| more).map(|last| last.id.clone());
        Ok((listed.into_iter().map(|listed| listed.key).collect(), last))
    }

    /// An update of one item that sets these attributes, if `condition` holds.
    pub(super) fn update(&self, key: Key, condition: &str, sets: Vec<(&str, String)>) -> UpdateItemFluentBuilder {
        let mut request = self.client.update_item().table_name(&*self.name).set_key(Some(key.into_attributes()));
        let mut assignments = Vec::new();
        for (name, value) in sets {
            assignments.push(format!("#{name} = :{name}"));
            request = request
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), AttributeValue::S(value));
        }
        request.update_expression(format!("SET {}", assignments.join(", "))).condition_expression(condition)
    }

    /// Sends an update: the item as it is now, or, where the condition failed, as it was, if it was.
    pub(super) async fn send_update(&self, request: UpdateItemFluentBuilder) -> Result<Result<Item, Option<Item>>> {
        let request = request
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let refused = |error: &UpdateItemError| match error {
            UpdateItemError::ConditionalCheckFailedException(failed) => Some(failed.item().cloned()),
            _ => None,
        };
        Ok(match self.send_write(|| request.clone().send(), refused).await? {
            Ok(output) => {
                self.count_written(output.consumed_capacity());
                Ok(output.attributes.unwrap_or_default())
            }
            Err((item, _)) => Err(item),
        })
    }
}

/// The items that a [`Table::get`] found.
pub(super) struct Found(HashMap<Key, Item>);

impl Found {
    /// Takes one of them out, as its type.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<T>> {
        self.0.remove(key).map(read).transpose()
    }
}

/// An item as its type. One that does not fit is a bug of ours: nobody else writes to the table.
pub(super) fn read<T: DeserializeOwned>(item: Item) -> Result<T> {
    serde_dynamo::from_item(item).map_err(Error::internal)
}

/// Adds to an update the condition that the caller owns the item, where that is asked of them.
pub(super) fn owned(request: UpdateItemFluentBuilder, caller: &Caller) -> UpdateItemFluentBuilder {
    let Some(owner) = caller.must_own() else { return request };
    let condition = request.get_condition_expression().clone().unwrap_or_default();
    request
        .condition_expression(format!("{condition} AND #owner = :owner"))
        .expression_attribute_names("#owner", "owner")
        .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
}
