//! Tickets and connections.

use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};
use serde::Serialize;
use uuid::Uuid;

use crate::live::{CONNECTION_LIFETIME, Connection, ConnectionId, TICKET_LIFETIME, Ticket};
use crate::table::attempts::Written;
use crate::table::client::Table;
use crate::table::items::{ConnectionItem, TicketItem, from_attributes, to_attributes};
use crate::table::keys::Key;
use crate::table::requests::number;
use crate::{Caller, Result, Time};

impl Table {
    /// Creates a ticket. The connection ends with the caller's token, or after 2 hours.
    ///
    /// Each attempt has a secret of its own. So an attempt that arrives late, when the ticket is used,
    /// does not create it again.
    pub async fn create_ticket(
        &self,
        caller: &Caller,
        token_expires_at: Option<Time>,
    ) -> Result<Ticket> {
        let now = self.now();
        let end = now.after(CONNECTION_LIFETIME);
        let expires_at = now.after(TICKET_LIFETIME);
        let connection_expires_at = token_expires_at.map_or(end, |expiry| expiry.min(end));
        let item = TicketItem {
            key: Key::ticket(""),
            caller: caller.subject().to_owned(),
            admin: caller.required_owner().is_none(),
            connection_expires_at,
            expires_at: expires_at.as_second(),
        };
        let (item, newest) = (to_attributes(&item)?, Mutex::new(String::new()));
        let put = || {
            let (mut item, secret) = (item.clone(), secret());
            item.insert("pk".into(), AttributeValue::S(Key::ticket(&secret).pk));
            *newest.lock().unwrap_or_else(PoisonError::into_inner) = secret;
            let request = self.client.put_item().table_name(&*self.name).set_item(Some(item));
            request.return_consumed_capacity(ReturnConsumedCapacity::Total).send()
        };
        let output = self.send_read(put).await?;
        self.count_written(output.consumed_capacity());
        let secret = newest.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Ticket { secret, expires_at, connection_expires_at })
    }

    /// Opens a connection with a ticket, which it uses up. Returns false if the ticket is unknown, used
    /// or expired.
    pub async fn connect_with_ticket(&self, id: &ConnectionId, secret: &str) -> Result<bool> {
        let now = self.now();
        let request = self
            .client
            .delete_item()
            .table_name(&*self.name)
            .set_key(Some(Key::ticket(secret).into_attributes()))
            .condition_expression("expires_at > :now")
            .expression_attribute_values(":now", number(now.as_second().unsigned_abs()))
            .return_values(ReturnValue::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let refused =
            |error: &DeleteItemError| error.is_conditional_check_failed_exception().then_some(());
        let Written::Stored(output) = self.send_write(|| request.clone().send(), refused).await?
        else {
            return Ok(false);
        };
        self.count_written(output.consumed_capacity());
        let ticket: TicketItem = from_attributes(output.attributes.unwrap_or_default())?;
        let item = ConnectionItem {
            key: Key::connection(id),
            caller: ticket.caller,
            admin: ticket.admin,
            connected_at: now,
            topics: Default::default(),
            watched: Vec::new(),
            expires_at: ticket.connection_expires_at.as_second(),
        };
        self.put(&item).await?;
        Ok(true)
    }

    /// Removes a connection that has ended. Its subscriptions go when they are next used, or expire.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<()> {
        let request = self
            .client
            .delete_item()
            .table_name(&*self.name)
            .set_key(Some(Key::connection(id).into_attributes()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let never = |_: &DeleteItemError| None::<()>;
        if let Written::Stored(output) = self.send_write(|| request.clone().send(), never).await? {
            self.count_written(output.consumed_capacity());
        }
        Ok(())
    }

    /// Puts an item, whatever is there. Nobody misses it if an unanswered attempt fails, and a late one
    /// puts the same.
    pub(super) async fn put(&self, item: &impl Serialize) -> Result<()> {
        let request = self
            .client
            .put_item()
            .table_name(&*self.name)
            .set_item(Some(to_attributes(item)?))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = self.send_read(|| request.clone().send()).await?;
        self.count_written(output.consumed_capacity());
        Ok(())
    }
}

impl ConnectionItem {
    /// Returns the connection; `None` if it has expired.
    pub(super) fn open(&self, id: &ConnectionId, now: Time) -> Option<Connection> {
        let expires_at = Time::from_second(self.expires_at).filter(|expiry| *expiry > now)?;
        let caller = match (self.caller.as_str(), self.admin) {
            ("", _) => Caller::Anyone,
            (subject, true) => Caller::Admin(subject.to_owned()),
            (subject, false) => Caller::User(subject.to_owned()),
        };
        let (id, connected_at) = (id.clone(), self.connected_at);
        Some(Connection { id, caller, connected_at, expires_at })
    }
}

/// Returns a secret: 64 hexadecimal digits with 244 random bits.
fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
