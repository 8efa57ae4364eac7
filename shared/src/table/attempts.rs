//! The one loop that tries again, for everything that talks to the table: when, how often, and until when.
//!
//! What matters is whether an attempt was answered. One that was not may have been carried out, and only the very same request
//! may follow it; see [`Effect`].

use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::{TransactWriteItemsError, TransactWriteItemsOutput};
use aws_sdk_dynamodb::types::{CancellationReason, ReturnConsumedCapacity, TransactWriteItem};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::{Item, Table};
use crate::error::Cause;
use crate::{Error, Result};

/// With less time left there is no further attempt: it might be cut off unanswered, and its outcome stay unknown.
pub const SHORTEST_ATTEMPT: Duration = Duration::from_millis(400);

/// What the pause before the next attempt depends on.
#[derive(Clone, Copy, Debug)]
pub struct Setback {
    /// How many attempts were made.
    pub made: u32,
    /// How much time is left.
    pub left: Duration,
    /// Whether it was a transaction, and DynamoDB said that too much is asked of it.
    pub throttled: bool,
}

/// How long to wait before the next attempt; `None` when there shall be none.
pub type Backoff = fn(Setback) -> Option<Duration>;

/// The pause before the next attempt, drawn evenly from nothing to its bound ("full jitter"), so that those who collided do not
/// meet again. The bound is a share of the time left: those who have waited long pause shorter, and so go first. After a collision
/// it starts at 40 ms and doubles up to there. A transaction that is throttled leaves more room, since failed attempts cost a
/// partition as much as others. What other numbers would do is measured in `tests/contention`.
#[must_use]
pub fn backoff(Setback { made, left, throttled }: Setback) -> Option<Duration> {
    // So that the next attempt, after the longest pause, still has its time.
    let spare = left.checked_sub(SHORTEST_ATTEMPT)?;
    let bound = if throttled {
        left / 3
    } else {
        Duration::from_millis(40).saturating_mul(2_u32.saturating_pow(made.saturating_sub(1))).min(left / 24)
    };
    Some(bound.min(spare).mul_f64(fastrand::f64()))
}

/// What a request does when it is carried out, and so what it means that nobody knows whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: an unanswered read wrote nothing.
    Read,
    /// One item, to the same values each time: safe to send again, but an unanswered one may have been carried out, and a later
    /// refusal says nothing about that.
    Write,
    /// A transaction with a client token: DynamoDB answers for all attempts that carry the same token.
    Transaction,
}

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// No other attempt would.
    Final(Error),
    /// It was answered and wrote nothing; another may succeed.
    Refused(Cause),
    /// The same, because too much is asked at once.
    Throttled(Cause),
    /// It was not answered, or not with an outcome.
    Unclear(Cause),
}

/// The attempts at one request.
#[derive(Debug)]
pub(super) struct Attempts<'t> {
    table: &'t Table,
    effect: Effect,
    made: u32,
    unclear: bool,
}

impl Table {
    pub(super) fn attempts(&self, effect: Effect) -> Attempts<'_> {
        Attempts { table: self, effect, made: 0, unclear: false }
    }

    /// Sends a read until it is answered.
    pub(super) async fn send_read<T, E, F>(&self, send: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut attempts = self.attempts(Effect::Read);
        loop {
            match attempts.run(send()).await {
                Ok(output) => return Ok(output),
                Err(error) => attempts.after(classify(error)).await?,
            }
        }
    }

    /// Sends a write of one item until it is answered: with its output, or with the reason that `refused` finds in the error,
    /// which is a failed condition. The flag tells whether an earlier attempt may have been carried out.
    pub(super) async fn send_write<T, R, E, F>(
        &self,
        send: impl Fn() -> F,
        refused: impl Fn(&E) -> Option<R>,
    ) -> Result<Result<T, (R, bool)>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut attempts = self.attempts(Effect::Write);
        loop {
            attempts.check_time()?;
            match attempts.run(send()).await {
                Ok(output) => return Ok(Ok(output)),
                Err(error) => match error.as_service_error().and_then(&refused) {
                    Some(reason) => return Ok(Err((reason, attempts.unclear))),
                    None => attempts.after(classify(error)).await?,
                },
            }
        }
    }
}

impl Attempts<'_> {
    /// Makes one attempt, for as long as the deadline allows.
    pub(super) async fn run<T, E>(
        &mut self,
        attempt: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, SdkError<E, HttpResponse>> {
        self.made += 1;
        self.table.count(|usage| {
            usage.requests += 1;
            usage.transactions += u32::from(self.effect == Effect::Transaction);
        });
        match timeout_at(self.table.deadline, attempt).await {
            Ok(result) => result,
            Err(elapsed) => Err(SdkError::timeout_error(elapsed)),
        }
    }

    /// Fails when there is too little time for a write, because a read before it took so long: it might be cut off unanswered.
    fn check_time(&self) -> Result<()> {
        if self.left() < SHORTEST_ATTEMPT {
            return Err(self.judge(Error::Unavailable("too little time is left".into())));
        }
        Ok(())
    }

    fn left(&self) -> Duration {
        self.table.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits before the next attempt; or fails when there is none, with what is then known.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<()> {
        let throttled = self.effect == Effect::Transaction && matches!(failure, Failure::Throttled(_));
        let cause = match failure {
            // Whatever this one says, it does not tell what became of an earlier one.
            Failure::Final(Error::Unavailable(cause)) if self.unclear => return Err(Error::Unknown(cause)),
            Failure::Final(error) => return Err(error),
            Failure::Refused(cause) | Failure::Throttled(cause) => cause,
            Failure::Unclear(cause) => {
                self.unclear |= self.effect != Effect::Read;
                cause
            }
        };
        let Some(pause) = (self.table.backoff)(Setback { made: self.made, left: self.left(), throttled }) else {
            return Err(if self.unclear { Error::Unknown(cause) } else { Error::Unavailable(cause) });
        };
        sleep(pause).await;
        Ok(())
    }

    /// Whether an attempt was not answered that may yet be carried out: late, when a later one has been refused already.
    pub(super) fn may_arrive(&self) -> bool {
        self.unclear
    }

    /// What an error of something else, such as a read, says of this request: that it wrote nothing is not known while an attempt
    /// may arrive.
    pub(super) fn judge(&self, error: Error) -> Error {
        if self.unclear { error.after_a_write() } else { error }
    }

    /// Takes note that no earlier attempt can be carried out any more.
    pub(super) fn none_can_arrive(&mut self) {
        self.unclear = false;
    }

    /// Sends a transaction until DynamoDB has decided it; the same token stands for all attempts. A token may come again with the very
    /// same items after they were cancelled: of all that carry it, one at most is carried out, however late they arrive.
    pub(super) async fn transact(&mut self, items: Vec<TransactWriteItem>, token: Uuid) -> Result<Decision> {
        let table = self.table;
        let unclear_before = self.unclear;
        let request = table
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(token.to_string())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        loop {
            self.check_time()?;
            let error = match self.run(request.clone().send()).await {
                Ok(output) => {
                    table.count_written(TransactWriteItemsOutput::consumed_capacity(&output));
                    return Ok(Decision::Committed);
                }
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let reasons = Reasons(cancelled.cancellation_reasons().to_vec());
                    // What a condition refuses now it refuses for ever, since `last_seq` and `points` only grow and keys stay: so
                    // none of the attempts with this token can be carried out any more. After a mere conflict one can.
                    if reasons.any_condition() {
                        self.unclear = unclear_before;
                    }
                    return Ok(Decision::Cancelled(reasons));
                }
                _ => self.after(classify(error)).await?,
            }
        }
    }
}

/// What DynamoDB decided about a transaction.
pub(super) enum Decision {
    Committed,
    Cancelled(Reasons),
}

/// Why a transaction was cancelled: one reason for each of its items, in their order.
#[derive(Debug)]
pub(super) struct Reasons(Vec<CancellationReason>);

impl Reasons {
    /// Whether the condition on this item failed; if so, with the item as it is, if it is.
    pub(super) fn failed_condition(&self, index: usize) -> Option<Option<&Item>> {
        let reason = self.0.get(index)?;
        (reason.code() == Some("ConditionalCheckFailed")).then(|| reason.item())
    }

    fn any_condition(&self) -> bool {
        (0..self.0.len()).any(|index| self.failed_condition(index).is_some())
    }

    /// Whether nothing but conditions failed: nobody held the items, and their values came back.
    pub(super) fn only_conditions(&self) -> bool {
        self.0.iter().all(|reason| matches!(reason.code(), None | Some("None" | "ConditionalCheckFailed")))
    }

    /// What this means for the next attempt: none when a reason is neither a lost race nor passing.
    pub(super) fn into_failure(self) -> Failure {
        let codes: Vec<&str> = self.0.iter().map(|reason| reason.code().unwrap_or("None")).collect();
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

/// What an error of the SDK says about the next attempt.
pub(super) fn classify<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ConstructionFailure(_) => Failure::Final(Error::internal(error)),
        SdkError::ServiceError(answer) if answer.raw().status().is_server_error() => Failure::Unclear(error.into()),
        SdkError::ServiceError(answer) => match answer.err().code() {
            Some("TransactionInProgressException") => Failure::Unclear(error.into()),
            Some("TransactionConflictException") => Failure::Refused(error.into()),
            Some("ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded") => {
                Failure::Throttled(error.into())
            }
            Some("ValidationException" | "IdempotentParameterMismatchException" | "SerializationException") => {
                Failure::Final(Error::internal(error))
            }
            // A table that is missing, credentials that are refused: nothing was written, and it will not pass in milliseconds.
            _ => Failure::Final(Error::Unavailable(error.into())),
        },
        SdkError::DispatchFailure(failure) if never_connected(failure.as_connector_error()) => Failure::Refused(error.into()),
        _ => Failure::Unclear(error.into()),
    }
}

/// Whether the connection was never made, so that nothing can have been sent.
fn never_connected(error: Option<&(impl std::error::Error + 'static)>) -> bool {
    let mut source = error.map(|error| error as &(dyn std::error::Error + 'static));
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_longest_pause_there_is_time_for_an_attempt() {
        for (left, throttled) in (0..=8000).step_by(10).flat_map(|left| [(left, false), (left, true)]) {
            for made in 1..40 {
                let left = Duration::from_millis(left);
                let pause = backoff(Setback { made, left, throttled });
                assert_eq!(pause.is_some(), left >= SHORTEST_ATTEMPT);
                assert!(pause.is_none_or(|pause| pause + SHORTEST_ATTEMPT <= left), "{pause:?} of {left:?}");
            }
        }
    }
}
