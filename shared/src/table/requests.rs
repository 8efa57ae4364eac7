//! The request shapes that all resources share: items by key, a page of the index, a conditional
//! update.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnConsumedCapacity, ReturnValue,
    ReturnValuesOnConditionCheckFailure,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::attempts::{Effect, Failure, Written, classify};
use super::client::Table;
use super::items::from_attributes;
use super::keys::{Attributes, Key, LISTING_INDEX};
use crate::{Caller, Error, IfMatch, Result};

/// The longest that a function waits for the table before its first request: too short for a second
/// attempt.
const WARM_UP: Duration = Duration::from_millis(300);
/// The most items that one `BatchGetItem` reads.
const BATCH: usize = 100;

/// How current the items of a read are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    /// Everything that was answered before the read began.
    Strong,
    /// Perhaps a moment older, at half the units.
    Eventual,
}

/// The items that [`Table::get`] found.
pub(super) struct Found(HashMap<Key, Attributes>);

impl Found {
    /// Takes out one item; `None` if it is absent.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<T>> {
        self.0.remove(key).map(from_attributes).transpose()
    }
}

/// The order of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// An entry of the index.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) id: String,
}

/// A page of the index.
pub(super) struct Listed {
    pub(super) entries: Vec<Entry>,
    /// The id to continue before; `None` at the end.
    pub(super) next: Option<String>,
}

impl Table {
    /// Opens the connection that the first request will use, by reading an absent item. A failure is
    /// logged: the first request will try again.
    pub async fn warm_up(&self) {
        let table = self.for_request(Instant::now() + WARM_UP);
        if let Err(error) = table.get([Key::absent()]).await {
            tracing::warn!(error = error.chain(), "table unreachable at start-up");
        }
    }

    /// Reads items by key, strongly consistent: one request for each 100 of them, unless DynamoDB
    /// leaves keys unprocessed. Duplicate keys are read once.
    pub(super) async fn get(&self, keys: impl IntoIterator<Item = Key>) -> Result<Found> {
        self.get_with(Consistency::Strong, keys).await
    }

    /// Reads items by key, as [`Table::get`] does.
    pub(super) async fn get_with(
        &self,
        consistency: Consistency,
        keys: impl IntoIterator<Item = Key>,
    ) -> Result<Found> {
        let mut distinct = HashSet::new();
        let wanted = keys.into_iter().filter(|key| distinct.insert(key.clone()));
        let wanted: Vec<Attributes> = wanted.map(Key::into_attributes).collect();
        let mut found = HashMap::new();
        for batch in wanted.chunks(BATCH) {
            self.get_batch(consistency, batch.to_vec(), &mut found).await?;
        }
        Ok(Found(found))
    }

    async fn get_batch(
        &self,
        consistency: Consistency,
        mut wanted: Vec<Attributes>,
        found: &mut HashMap<Key, Attributes>,
    ) -> Result<()> {
        let strong = consistency == Consistency::Strong;
        let mut attempts = self.attempts(Effect::Harmless);
        loop {
            let keys = KeysAndAttributes::builder().set_keys(Some(wanted.clone()));
            let keys = keys.consistent_read(strong).build().map_err(Error::internal)?;
            let request = self
                .client
                .batch_get_item()
                .request_items(&*self.name, keys)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let failure = match attempts.send(request.send()).await {
                Err(error) => classify(error),
                Ok(output) => {
                    self.count_read(output.consumed_capacity());
                    let items = output.responses.into_iter().flat_map(HashMap::into_values);
                    for item in items.flatten() {
                        found.insert(Key::of(&item)?, item);
                    }
                    let tables = output.unprocessed_keys;
                    match tables.and_then(|mut tables| tables.remove(&*self.name)) {
                        Some(left) if !left.keys().is_empty() => wanted = left.keys,
                        _ => return Ok(()),
                    }
                    Failure::Refused("unprocessed keys".into())
                }
            };
            attempts.pause_after(failure).await?;
        }
    }

    /// Reads one item by key, strongly consistent.
    pub(super) async fn get_one<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>> {
        self.get([key.clone()]).await?.take(&key)
    }

    /// Reads a page of the index, newest first, eventually consistent.
    ///
    /// It reads one key more than the page holds, to know whether a page follows.
    pub(super) async fn list(
        &self,
        listing: &str,
        limit: usize,
        before: Option<String>,
    ) -> Result<Listed> {
        let mut request = self
            .client
            .query()
            .table_name(&*self.name)
            .index_name(LISTING_INDEX)
            .key_condition_expression("listing = :listing")
            .expression_attribute_values(":listing", AttributeValue::S(listing.into()))
            .scan_index_forward(false)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Some(before) = before {
            request = request
                .key_condition_expression("listing = :listing AND id < :before")
                .expression_attribute_values(":before", AttributeValue::S(before));
        }
        let mut entries: Vec<Entry> = self.query(request, limit + 1).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|last| last.id.clone());
        Ok(Listed { entries, next })
    }

    /// Reads items of one partition with these sort keys, at most `most`, strongly consistent.
    pub(super) async fn query_items<T: DeserializeOwned>(
        &self,
        pk: String,
        keys: RangeInclusive<String>,
        direction: Direction,
        most: usize,
    ) -> Result<Vec<T>> {
        let (first, last) = keys.into_inner();
        let request = self
            .client
            .query()
            .table_name(&*self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", AttributeValue::S(pk))
            .expression_attribute_values(":first", AttributeValue::S(first))
            .expression_attribute_values(":last", AttributeValue::S(last))
            .scan_index_forward(direction == Direction::Ascending)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        self.query(request, most).await
    }

    /// Sends a query until it has found `most` items or all of them.
    async fn query<T: DeserializeOwned>(
        &self,
        mut request: QueryFluentBuilder,
        most: usize,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        loop {
            // A query ends at 1 MB, perhaps before it has found `most`.
            request = request.limit(i32::try_from(most - items.len()).unwrap_or(i32::MAX));
            let output = self.send_read(|| request.clone().send()).await?;
            self.count_read(output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                items.push(from_attributes(item)?);
            }
            match output.last_evaluated_key {
                Some(key) if items.len() < most => {
                    request = request.set_exclusive_start_key(Some(key));
                }
                _ => return Ok(items),
            }
        }
    }

    /// Builds an update that sets these attributes if `condition` holds.
    pub(super) fn update(
        &self,
        key: Key,
        condition: &str,
        sets: Vec<(&str, String)>,
    ) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&*self.name);
        let mut request = request.set_key(Some(key.into_attributes()));
        let mut assignments = Vec::new();
        for (name, value) in sets {
            assignments.push(format!("#{name} = :{name}"));
            request = request
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), AttributeValue::S(value));
        }
        let expression = format!("SET {}", assignments.join(", "));
        request.update_expression(expression).condition_expression(condition)
    }

    /// Sends an update. Returns the new item, or, if the condition failed, the current item, if there
    /// is one.
    pub(super) async fn send_update(
        &self,
        request: UpdateItemFluentBuilder,
    ) -> Result<Written<Attributes, Option<Attributes>>> {
        let request = request
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let refused = |error: &UpdateItemError| match error {
            UpdateItemError::ConditionalCheckFailedException(failed) => {
                Some(failed.item().cloned())
            }
            _ => None,
        };
        Ok(match self.send_write(|| request.clone().send(), refused).await? {
            Written::Stored(output) => {
                self.count_written(output.consumed_capacity());
                Written::Stored(output.attributes.unwrap_or_default())
            }
            Written::Refused { reason, undecided } => Written::Refused { reason, undecided },
        })
    }
}

/// Returns a number as an attribute.
pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Adds the condition that the resource has a version that `if_match` accepts.
pub(super) fn if_version(
    request: UpdateItemFluentBuilder,
    if_match: &IfMatch,
) -> UpdateItemFluentBuilder {
    let IfMatch::Versions(versions) = if_match else { return request };
    let condition = request.get_condition_expression().clone().unwrap_or_default();
    let names: Vec<String> = (0..versions.len()).map(|index| format!(":version{index}")).collect();
    let accepted = match names.is_empty() {
        true => "attribute_not_exists(pk)".to_owned(),
        false => format!("version IN ({})", names.join(", ")),
    };
    let request = request.condition_expression(format!("{condition} AND {accepted}"));
    names.into_iter().zip(versions).fold(request, |request, (name, version)| {
        request.expression_attribute_values(name, number(*version))
    })
}

/// Adds the condition that the caller owns the item, unless any owner will do.
pub(super) fn if_owned(
    request: UpdateItemFluentBuilder,
    caller: &Caller,
) -> UpdateItemFluentBuilder {
    let Some(owner) = caller.required_owner() else { return request };
    let condition = request.get_condition_expression().clone().unwrap_or_default();
    request
        .condition_expression(format!("{condition} AND #owner = :owner"))
        .expression_attribute_names("#owner", "owner")
        .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
}
