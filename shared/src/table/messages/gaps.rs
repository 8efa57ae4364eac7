//! Gaps: places that are reserved and not stored yet. A void closes a gap whose post never completed.

use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use tokio::time::{Instant, sleep};

use crate::table::attempts::Effect;
use crate::table::client::Table;
use crate::table::items::{ConversationItem, MessageItem, from_attributes, to_attributes};
use crate::{ConversationId, Error, Result, Seq, Time};

/// The age of a gap below a stored message at which readers close it.
const GAP_AGE: Duration = Duration::from_secs(1);
/// The age of the newest reservation at which readers close a gap with nothing stored beyond it.
const TAIL_AGE: Duration = Duration::from_secs(10);
/// The longest pause between two attempts to close a gap.
const RETRY: Duration = Duration::from_millis(100);

impl Table {
    /// Closes the gap at `seq`: puts a void if the place is empty. Returns what is stored there, the
    /// void or a message; `None` if the gap stays open, after a conflict or without an answer.
    pub(super) async fn close_gap(
        &self,
        conversation_id: ConversationId,
        seq: Seq,
    ) -> Result<Option<MessageItem>> {
        let void = MessageItem::void(conversation_id, seq, self.now());
        let request = self
            .client
            .put_item()
            .table_name(&*self.name)
            .set_item(Some(to_attributes(&void)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let error = match self.attempts(Effect::Harmless).send(request.send()).await {
            Ok(output) => {
                self.count_written(output.consumed_capacity());
                return Ok(Some(void));
            }
            Err(error) => error,
        };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error()
        else {
            return Ok(None);
        };
        let stored = failed.item().cloned();
        let stored = stored.ok_or_else(|| Error::internal("a taken place without an item"))?;
        from_attributes(stored).map(Some)
    }

    /// Closes the gap at `seq`, trying again until the deadline.
    pub(super) async fn close_gap_surely(
        &self,
        conversation_id: ConversationId,
        seq: Seq,
    ) -> Result<Option<MessageItem>> {
        loop {
            let stored = self.close_gap(conversation_id, seq).await?;
            if stored.is_some() || Instant::now() >= self.deadline {
                return Ok(stored);
            }
            sleep(RETRY.mul_f64(fastrand::f64())).await;
        }
    }

    /// Returns whether readers may close a gap. `beyond` is the oldest `created_at` among the messages
    /// above it that were read.
    ///
    /// Both ages affect speed only: a late post finds its place taken and reserves another.
    pub(super) fn is_old_gap(&self, conversation: &ConversationItem, beyond: Option<Time>) -> bool {
        match (beyond, conversation.last_message_at) {
            (Some(created_at), _) => self.now().since(created_at) >= GAP_AGE,
            (None, Some(reserved_at)) => self.now().since(reserved_at) >= TAIL_AGE,
            (None, None) => false,
        }
    }
}
