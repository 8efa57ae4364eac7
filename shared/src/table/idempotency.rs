//! Idempotency keys: a repeated POST returns the resource that the first one created.
//!
//! The key is stored in the transaction that creates the resource, so neither exists without the
//! other. A read may still show one before the other; see [`Table::await_visible`].

use std::fmt::Display;
use std::future::Future;
use std::str::FromStr;

use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::attempts::{Effect, Failure};
use super::client::Table;
use super::items::to_attributes;
use super::keys::{Attributes, Key};
use super::transactions::{Decision, Slot};
use crate::json::canonical;
use crate::{Caller, Error, IdempotencyKey, Metadata, Result, Time};

/// The lifetime of a key, in seconds: 7 days.
const LIFETIME: i64 = 7 * 24 * 60 * 60;
/// The time in which the resource of a new key may be invisible to a read, in seconds.
const VISIBILITY: i64 = 10;

/// The result of a POST.
#[derive(Clone, Debug)]
pub struct Created<T> {
    /// The resource.
    pub resource: T,
    /// True if an earlier request with the same key created it.
    pub replayed: bool,
}

/// A key, and the request that it is used for.
pub(super) struct KeyedRequest {
    item_key: Key,
    fingerprint: String,
}

/// The resource that the key of an earlier, equal request refers to.
pub(super) struct Earlier<R> {
    /// The id of the resource, or the `seq` of a message.
    pub(super) resource: R,
    /// True if the resource may still be invisible to a read.
    pub(super) recent: bool,
}

/// The use of a key so far.
pub(super) enum KeyUse<R> {
    /// Nothing, or it has expired.
    Free,
    /// An equal request.
    Same(Earlier<R>),
    /// Another request.
    Other,
}

impl<R> KeyUse<R> {
    /// Returns the earlier, equal request. Errors: [`Error::KeyReused`].
    pub(super) fn earlier(self) -> Result<Option<Earlier<R>>> {
        match self {
            Self::Free => Ok(None),
            Self::Same(earlier) => Ok(Some(earlier)),
            Self::Other => Err(Error::KeyReused),
        }
    }
}

/// The item of a key.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyItem {
    #[serde(flatten)]
    key: Key,
    fingerprint: String,
    resource: String,
    expires_at: i64,
}

impl KeyedRequest {
    /// Binds a key to a request: the operation, the ids in its path, and its validated input. Neither
    /// white space nor the order of members nor escapes count.
    pub(super) fn new(
        caller: &Caller,
        key: &IdempotencyKey,
        operation: &str,
        path_id: &str,
        input: &impl Serialize,
    ) -> Result<Self> {
        let json = serde_json::to_string(input).map_err(Error::internal)?;
        let input = canonical(&json, 1 + Metadata::MAX_LEVELS).map_err(Error::internal)?;
        let mut hash = Sha256::new();
        for part in [operation, path_id, &input] {
            hash.update(part);
            hash.update([0]);
        }
        let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { item_key: Key::idempotency(caller, key), fingerprint })
    }

    pub(super) fn item_key(&self) -> Key {
        self.item_key.clone()
    }

    /// Returns what the key was used for. An expired key counts as free, whether or not DynamoDB has
    /// removed it yet.
    pub(super) fn check<R: FromStr>(&self, item: &KeyItem, now: Time) -> Result<KeyUse<R>> {
        let now = now.as_second();
        if item.expires_at <= now {
            return Ok(KeyUse::Free);
        }
        if item.fingerprint != self.fingerprint {
            return Ok(KeyUse::Other);
        }
        let invalid = |_| Error::internal("an idempotency key without a resource");
        let resource = item.resource.parse().map_err(invalid)?;
        let recent = item.expires_at - LIFETIME > now - VISIBILITY;
        Ok(KeyUse::Same(Earlier { resource, recent }))
    }

    /// Builds the write of the key, which fails if the key exists and has not expired.
    pub(super) fn put(&self, table: &Table, resource: impl Display) -> Result<TransactWriteItem> {
        let now = table.now().as_second();
        let item = KeyItem {
            key: self.item_key(),
            fingerprint: self.fingerprint.clone(),
            resource: resource.to_string(),
            expires_at: now + LIFETIME,
        };
        let put = Put::builder()
            .table_name(&*table.name)
            .set_item(Some(to_attributes(&item)?))
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

impl Table {
    /// Returns what an earlier, equal request created, if there was one.
    pub(super) async fn find_earlier<R: FromStr>(
        &self,
        request: Option<&KeyedRequest>,
    ) -> Result<Option<Earlier<R>>> {
        let Some(request) = request else { return Ok(None) };
        match self.get_one::<KeyItem>(request.item_key()).await? {
            Some(item) => request.check(&item, self.now())?.earlier(),
            None => Ok(None),
        }
    }

    /// Creates items, and their idempotency key with them, exactly once. Returns what an earlier,
    /// equal request created, if there was one.
    pub(super) async fn create_once<R: Copy + Display + FromStr>(
        &self,
        items: impl IntoIterator<Item = Attributes>,
        resource: R,
        request: Option<&KeyedRequest>,
    ) -> Result<Option<Earlier<R>>> {
        let mut writes = Vec::new();
        for item in items {
            let put = Put::builder()
                .table_name(&*self.name)
                .set_item(Some(item))
                // The id is new, so only an attempt of this request can have stored it.
                .condition_expression("attribute_not_exists(pk)")
                .build()
                .map_err(Error::internal)?;
            writes.push((Slot::Created, TransactWriteItem::builder().put(put).build()));
        }
        if let Some(request) = request {
            writes.push((Slot::Key, request.put(self, resource)?));
        }
        // One token for all attempts: a late one must not create again what was deleted meanwhile.
        let token = Uuid::new_v4();
        let mut attempts = self.attempts(Effect::Transaction);
        loop {
            let reasons = match attempts.transact(writes.clone(), token).await? {
                Decision::Committed => return Ok(None),
                Decision::Refused(reasons) | Decision::Conflict(reasons) => reasons,
            };
            if reasons.refused::<IgnoredAny>(Slot::Created)?.is_some() {
                return Ok(None);
            }
            if let (Some(request), Some(Some(item))) = (request, reasons.refused(Slot::Key)?)
                && let Some(earlier) = request.check(&item, self.now())?.earlier()?
            {
                return Ok(Some(earlier));
            }
            attempts.pause_after(reasons.into_failure()).await?;
        }
    }

    /// Reads the resource of a replay until it is visible.
    ///
    /// Reads may show the items of one transaction one by one, also a strongly consistent
    /// `BatchGetItem`. `read` returns `None` while the resource may still be invisible.
    pub(super) async fn await_visible<T, F>(&self, read: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let mut attempts = self.attempts(Effect::Harmless);
        loop {
            if let Some(resource) = read().await? {
                return Ok(resource);
            }
            attempts.pause_after(Failure::Refused("not visible yet".into())).await?;
        }
    }
}
