//! The one retry loop: when a request to DynamoDB is sent again, and until when.
//!
//! An attempt that was answered is decided. One that was not answered is undecided: it may have been
//! committed, or may be committed later, and only the same request may follow it. See [`Effect`].

use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::{SHORTEST_ATTEMPT, Setback};
use super::client::Table;
use crate::error::Cause;
use crate::{Error, Result};

/// The effect of a request, which decides what an undecided attempt at it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that a client notices: a read, or a reserved place. Undecided attempts are harmless.
    Harmless,
    /// One item, always to the same values. It may be sent again. A refusal of a later attempt proves
    /// nothing about an earlier, undecided one.
    Write,
    /// A transaction with a client token: DynamoDB decides once for all attempts with one token.
    Transaction,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Every other attempt would fail too.
    Final(Error),
    /// It stored nothing; another attempt may succeed.
    Refused(Cause),
    /// It stored nothing, because DynamoDB throttled it.
    Throttled(Cause),
    /// It is unknown whether it was, or will be, committed.
    Undecided(Cause),
}

/// The attempts at one request, and what is known about those that were not answered.
#[derive(Debug)]
pub(super) struct Attempts<'t> {
    pub(super) table: &'t Table,
    effect: Effect,
    made: u32,
    limit: u32,
    throttled: u32,
    throttled_limit: u32,
    undecided: bool,
}

/// The result of a conditional write.
pub(super) enum Written<T, R> {
    /// The write was committed.
    Stored(T),
    /// The condition failed. If `undecided`, an earlier attempt may have been committed.
    Refused { reason: R, undecided: bool },
}

impl Table {
    /// Returns whether too little time is left for another attempt.
    pub(super) fn is_out_of_time(&self) -> bool {
        self.time_left() < SHORTEST_ATTEMPT
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(super) fn attempts(&self, effect: Effect) -> Attempts<'_> {
        let (limit, throttled_limit) = (u32::MAX, u32::MAX);
        let (made, throttled, undecided) = (0, 0, false);
        Attempts { table: self, effect, made, limit, throttled, throttled_limit, undecided }
    }

    /// Sends a read until it is answered.
    pub(super) async fn send_read<T, E, F>(&self, send: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut attempts = self.attempts(Effect::Harmless);
        loop {
            match attempts.send(send()).await {
                Ok(output) => return Ok(output),
                Err(error) => attempts.pause_after(classify(error)).await?,
            }
        }
    }

    /// Sends a write of one item until it is decided. `refused` returns the reason if an error is a
    /// failed condition.
    pub(super) async fn send_write<T, R, E, F>(
        &self,
        send: impl Fn() -> F,
        refused: impl Fn(&E) -> Option<R>,
    ) -> Result<Written<T, R>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut attempts = self.attempts(Effect::Write);
        loop {
            attempts.check_time()?;
            let error = match attempts.send(send()).await {
                Ok(output) => return Ok(Written::Stored(output)),
                Err(error) => error,
            };
            if let Some(reason) = error.as_service_error().and_then(&refused) {
                return Ok(Written::Refused { reason, undecided: attempts.undecided });
            }
            attempts.pause_after(classify(error)).await?;
        }
    }
}

impl Attempts<'_> {
    /// Makes one attempt, until the deadline.
    pub(super) async fn send<T, E>(
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

    /// Limits the number of attempts.
    pub(super) fn limited(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// Limits the number of throttled attempts.
    pub(super) fn throttled_at_most(self, limit: u32) -> Self {
        Self { throttled_limit: limit, ..self }
    }

    /// Checks that there is time for a write, since a read before it may have taken too long, and that
    /// the limit of attempts is not reached.
    pub(super) fn check_time(&self) -> Result<()> {
        if self.made >= self.limit {
            return Err(self.qualify(Error::Unavailable("too many attempts".into())));
        }
        if self.table.is_out_of_time() {
            return Err(self.qualify(Error::Unavailable("too little time is left".into())));
        }
        Ok(())
    }

    /// Pauses before the next attempt. Errors: if none must follow, what is known by then.
    pub(super) async fn pause_after(&mut self, failure: Failure) -> Result<()> {
        let transaction = self.effect == Effect::Transaction;
        let throttled = transaction && matches!(failure, Failure::Throttled(_));
        let cause = match failure {
            Failure::Final(error) => return Err(self.qualify(error)),
            Failure::Refused(cause) | Failure::Throttled(cause) => cause,
            Failure::Undecided(cause) => {
                self.undecided |= self.effect != Effect::Harmless;
                cause
            }
        };
        self.throttled += u32::from(throttled);
        if self.made >= self.limit || self.throttled >= self.throttled_limit {
            return Err(self.qualify(Error::Unavailable(cause)));
        }
        let setback = Setback { made: self.made, left: self.table.time_left(), throttled };
        let Some(pause) = (self.table.backoff)(setback) else {
            return Err(self.qualify(Error::Unavailable(cause)));
        };
        sleep(pause).await;
        Ok(())
    }

    /// Returns whether an attempt is undecided.
    pub(super) fn is_undecided(&self) -> bool {
        self.undecided
    }

    /// Sets whether an attempt is undecided, when something else has decided it.
    pub(super) fn set_undecided(&mut self, undecided: bool) {
        self.undecided = undecided;
    }

    /// Returns the error of the whole request: while an attempt is undecided, no error can claim that
    /// nothing was stored.
    pub(super) fn qualify(&self, error: Error) -> Error {
        if self.undecided { error.after_a_write() } else { error }
    }
}

/// Returns what an error of the SDK means for the next attempt.
pub(super) fn classify<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ConstructionFailure(_) => Failure::Final(Error::internal(error)),
        SdkError::ServiceError(answer) if answer.raw().status().is_server_error() => {
            Failure::Undecided(error.into())
        }
        SdkError::ServiceError(answer) => match answer.err().code().unwrap_or_default() {
            "TransactionConflictException" => Failure::Refused(error.into()),
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded" => Failure::Throttled(error.into()),
            "ValidationException"
            | "IdempotentParameterMismatchException"
            | "SerializationException" => Failure::Final(Error::internal(error)),
            // No table or no permission: nothing was stored, and waiting does not help.
            "ResourceNotFoundException"
            | "AccessDeniedException"
            | "UnrecognizedClientException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "LimitExceededException"
            | "ItemCollectionSizeLimitExceededException" => {
                Failure::Final(Error::Unavailable(error.into()))
            }
            // Only a known refusal proves that nothing was stored. A proxy may have answered this.
            _ => Failure::Undecided(error.into()),
        },
        SdkError::DispatchFailure(failure) if never_connected(failure.as_connector_error()) => {
            Failure::Refused(error.into())
        }
        _ => Failure::Undecided(error.into()),
    }
}

/// Returns whether no connection was made, so that nothing was sent.
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
