//! Transactions: sending one until DynamoDB has decided it, and reading why it was cancelled.

use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::types::{CancellationReason, ReturnConsumedCapacity, TransactWriteItem};
use uuid::Uuid;

use super::attempts::{Attempts, Failure, classify};
use super::keys::Attributes;
use crate::{Error, Result};

/// What one write of a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The conversation that a message is posted into.
    Conversation,
    /// The author's profile.
    Author,
    /// A new item: the resource that a POST creates, or its congratulation.
    Created,
    /// The idempotency key.
    Key,
}

/// The writes of a transaction.
pub(super) type Writes = Vec<(Slot, TransactWriteItem)>;

/// What DynamoDB decided about a transaction.
pub(super) enum Decision {
    Committed,
    Cancelled(Reasons),
}

/// Why a transaction was cancelled: one reason for each of its writes.
#[derive(Debug)]
pub(super) struct Reasons(Vec<(Slot, CancellationReason)>);

impl Attempts<'_> {
    /// Sends a transaction until DynamoDB has decided it. All attempts carry one client token.
    ///
    /// A token may be used again with the same items after they were cancelled: of all attempts with
    /// one token at most one is committed, however late they arrive.
    pub(super) async fn transact(&mut self, writes: Writes, token: Uuid) -> Result<Decision> {
        let table = self.table;
        let undecided_before = self.is_undecided();
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
                    return Ok(Decision::Committed);
                }
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let reasons = cancelled.cancellation_reasons().iter().cloned();
                    let reasons = Reasons(slots.into_iter().zip(reasons).collect());
                    // A condition that failed fails permanently, since `last_seq` and `points` only
                    // grow and keys stay. So no attempt with this token can be committed any more.
                    // After a mere conflict one still can.
                    if reasons.any_condition() {
                        self.set_undecided(undecided_before);
                    }
                    return Ok(Decision::Cancelled(reasons));
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
    pub(super) fn failed_condition(&self, slot: Slot) -> Option<Option<&Attributes>> {
        let (_, reason) = self.0.iter().find(|(other, _)| *other == slot)?;
        is_failed_condition(reason).then(|| reason.item())
    }

    fn any_condition(&self) -> bool {
        self.0.iter().any(|(_, reason)| is_failed_condition(reason))
    }

    /// Returns whether only conditions failed, so that every current item came back.
    pub(super) fn only_conditions(&self) -> bool {
        let expected = |code| matches!(code, None | Some("None" | "ConditionalCheckFailed"));
        self.0.iter().all(|(_, reason)| expected(reason.code()))
    }

    /// Returns what the reasons mean for the next attempt.
    pub(super) fn into_failure(self) -> Failure {
        let codes = self.0.iter().map(|(_, reason)| reason.code().unwrap_or("None"));
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
