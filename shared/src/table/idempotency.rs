//! Idempotency keys: the first answer to a POST stands for every repeat.
//!
//! The key is written in the same transaction as what it stands for, so neither is ever there without the other.

use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::attempts::{Decision, Effect};
use super::keys::Key;
use super::{Item, Table, read};
use crate::{Caller, Error, Result, Time};

/// How long a key stands, in seconds: 7 days.
const LIFETIME: i64 = 7 * 24 * 60 * 60;

/// What a client sends along so that a repeated POST has no second effect.
#[derive(Clone, Debug)]
pub struct Idempotency {
    key: Uuid,
    fingerprint: String,
}

impl Idempotency {
    /// The key, and the request that it stands for: the function, the ids in its path, and the bytes of its body.
    #[must_use]
    pub fn new(key: Uuid, function: &str, path_ids: &[String], body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(function).chain(path_ids.iter().map(String::as_str)) {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(body);
        let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { key, fingerprint }
    }

    pub(super) fn item_key(&self, caller: &Caller) -> Key {
        Key::idempotency(caller, self.key)
    }
}

/// What a POST created.
#[derive(Clone, Debug)]
pub struct Created<T> {
    /// The resource.
    pub resource: T,
    /// Whether an earlier request with the same key created it.
    pub replayed: bool,
}

/// The item of a key. `resource` says where the resource is: its id, or its place in the conversation of the path.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeyItem {
    #[serde(flatten)]
    key: Key,
    fingerprint: String,
    resource: String,
    expires_at: i64,
}

impl KeyItem {
    /// What the key stands for: nothing once it has expired, whether or not TTL has removed it yet.
    pub(super) fn judge<R: FromStr>(&self, idempotency: &Idempotency) -> Result<Option<R>> {
        if self.expires_at <= Time::now().as_second() {
            Ok(None)
        } else if self.fingerprint == idempotency.fingerprint {
            self.resource.parse().map(Some).map_err(|_| Error::internal("an idempotency key that names no resource"))
        } else {
            Err(Error::KeyReused)
        }
    }

    /// The write of a new key, which fails while the key stands.
    pub(super) fn put(
        table: &Table,
        caller: &Caller,
        idempotency: &Idempotency,
        resource: impl Display,
    ) -> Result<TransactWriteItem> {
        let now = Time::now().as_second();
        let item = Self {
            key: idempotency.item_key(caller),
            fingerprint: idempotency.fingerprint.clone(),
            resource: resource.to_string(),
            expires_at: now + LIFETIME,
        };
        let put = Put::builder()
            .table_name(&*table.name)
            .set_item(Some(serde_dynamo::to_item(item).map_err(Error::internal)?))
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

impl Table {
    /// What this key stands for, if anything.
    pub(super) async fn find_key<R: FromStr>(&self, caller: &Caller, idempotency: Option<&Idempotency>) -> Result<Option<R>> {
        let Some(idempotency) = idempotency else { return Ok(None) };
        let key = idempotency.item_key(caller);
        match self.get([key.clone()]).await?.take::<KeyItem>(&key)? {
            Some(item) => item.judge(idempotency),
            None => Ok(None),
        }
    }

    /// Puts a new item, and its idempotency key with it, exactly once. Answers what an earlier request with the same key
    /// created, if there was one.
    pub(super) async fn put_once<R: Copy + Display + FromStr>(
        &self,
        caller: &Caller,
        item: Item,
        resource: R,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<R>> {
        let put = Put::builder()
            .table_name(&*self.name)
            .set_item(Some(item))
            // Its id is new, so only an attempt of ours can have put it. One that arrives late must not put it again.
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(Error::internal)?;
        let mut items = vec![TransactWriteItem::builder().put(put).build()];
        if let Some(idempotency) = idempotency {
            items.push(KeyItem::put(self, caller, idempotency, resource)?);
        }
        // One for all attempts: what arrives late must not bring back what has been deleted since.
        let token = Uuid::new_v4();
        let mut attempts = self.attempts(Effect::Transaction);
        loop {
            let reasons = match attempts.transact(items.clone(), token).await? {
                Decision::Committed => return Ok(None),
                Decision::Cancelled(reasons) => reasons,
            };
            if reasons.failed_condition(0).is_some() {
                return Ok(None);
            }
            if let (Some(idempotency), Some(Some(item))) = (idempotency, reasons.failed_condition(1))
                && let Some(earlier) = read::<KeyItem>(item.clone())?.judge(idempotency)?
            {
                return Ok(Some(earlier));
            }
            attempts.after(reasons.into_failure()).await?;
        }
    }
}
