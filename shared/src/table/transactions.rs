//! Transactions: sending one until DynamoDB has decided it, and reading why it was cancelled.

use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::types::{CancellationReason, ReturnConsumedCapacity, TransactWriteItem};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::attempts::{Attempts, Failure, classify};
use super::items::from_attributes;
use crate::{Error, Result};

/// The purpose of one write of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The resource that a POST creates, and the items that belong to it.
    Created,
    /// The author's profile.
    Author,
    /// The message that is posted or changed.
    Message,
    /// The congratulation of a message.
    Reward,
    /// The counter of a conversation's changes.
    Counter,
    /// The record of a change.
    Change,
    /// The idempotency key.
    Key,
    /// The member that is added, changed or removed.
    Member,
    /// What the profiles of the member's owner are in the conversation.
    Access,
    /// The conversation that is removed.
    Conversation,
    /// The record of a conversation's end.
    Ended,
}

/// The writes of a transaction.
pub(super) type Writes = Vec<(Slot, TransactWriteItem)>;

/// What DynamoDB decided about a transaction.
pub(super) enum Decision {
    Committed,
    /// A condition failed.
    Refused(Reasons),
    /// A conflict or throttling, and no attempt is undecided: nothing was stored, and nothing will be.
    /// The same transaction may follow, or one that is built on newer values.
    Conflict(Reasons),
}

/// Why a transaction was cancelled: one reason for each of its writes.
#[derive(Debug)]
pub(super) struct Reasons {
    reasons: Vec<(Slot, CancellationReason)>,
    undecided: bool,
}

impl Attempts<'_> {
    /// Sends a transaction until it is known whether it is stored. All attempts carry one client token,
    /// so at most one is committed, however late they arrive.
    ///
    /// While an attempt is undecided, a conflict decides nothing: it proves nothing about the
    /// earlier attempt. A failed condition decides all attempts, because it fails permanently:
    /// places, keys and change numbers that are taken stay taken, and `points` only grow. Where one
    /// may hold again, see [`Reasons::is_undecided`].
    ///
    /// # Errors
    /// When time or the limit of attempts is used up. [`Error::OutcomeUnknown`] if the transaction
    /// may still be committed.
    pub(super) async fn transact(&mut self, writes: Writes, token: Uuid) -> Result<Decision> {
        let table = self.table;
        let (slots, items): (Vec<Slot>, Vec<TransactWriteItem>) = writes.into_iter().unzip();
        let request = table
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(token.to_string())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        loop {
            self.check_time()?;
            let error = match self.send(request.clone().send()).await {
                Ok(output) => {
                    table.count_written(TransactWriteItemsOutput::consumed_capacity(&output));
                    self.set_undecided(false);
                    return Ok(Decision::Committed);
                }
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let reasons = cancelled.cancellation_reasons().iter().cloned();
                    let reasons = slots.iter().copied().zip(reasons).collect();
                    let reasons = Reasons { reasons, undecided: self.is_undecided() };
                    if reasons.any_condition() {
                        self.set_undecided(false);
                        return Ok(Decision::Refused(reasons));
                    }
                    if !self.is_undecided() {
                        return Ok(Decision::Conflict(reasons));
                    }
                    self.pause_after(reasons.into_failure()).await?;
                }
                _ => self.pause_after(classify(error)).await?,
            }
        }
    }
}

/// Returns whether the condition of a write failed.
fn is_failed_condition(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

impl Reasons {
    /// Returns whether the condition on this write failed; if so, the current item, if there is one.
    pub(super) fn refused<T: DeserializeOwned>(&self, slot: Slot) -> Result<Option<Option<T>>> {
        let reason = self.reasons.iter().find(|(other, _)| *other == slot);
        let failed = reason.filter(|(_, reason)| is_failed_condition(reason));
        failed
            .map(|(_, reason)| reason.item().cloned().map(from_attributes).transpose())
            .transpose()
    }

    /// Returns whether an earlier attempt was not answered. If a condition that failed may hold
    /// again, that attempt may still be committed.
    pub(super) fn is_undecided(&self) -> bool {
        self.undecided
    }

    fn any_condition(&self) -> bool {
        self.reasons.iter().any(|(_, reason)| is_failed_condition(reason))
    }

    /// Returns what the reasons mean for the next attempt.
    pub(super) fn into_failure(self) -> Failure {
        let codes = self.reasons.iter().map(|(_, reason)| reason.code().unwrap_or("None"));
        let codes: Vec<&str> = codes.collect();
        let throttled = ["ThrottlingError", "ProvisionedThroughputExceeded"];
        let refused = ["None", "ConditionalCheckFailed", "TransactionConflict"];
        let cause = format!("transaction cancelled: {}", codes.join(", "));
        if codes.iter().any(|code| !throttled.contains(code) && !refused.contains(code)) {
            Failure::Final(Error::internal(cause))
        } else if codes.iter().any(|code| throttled.contains(code)) {
            Failure::Throttled(cause.into())
        } else {
            Failure::Refused(cause.into())
        }
    }
}
