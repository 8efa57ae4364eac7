//! Subscriptions: what a connection receives.
//!
//! A subscription is an item of the conversation or profile that it is about, so that one query finds
//! all of them. It ends with its connection.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};

use crate::live::{Connection, ConnectionId, Frame, MAX_SUBSCRIPTIONS, NewWatch};
use crate::table::attempts::Written;
use crate::table::client::Table;
use crate::table::items::{ConnectionItem, ProfileItem, SubscriptionItem, to_attributes};
use crate::table::keys::{Key, live_pk};
use crate::table::requests::Direction::Ascending;
use crate::table::requests::number;
use crate::{Caller, ConversationId, Cursor, Error, Limit, Result, Time};

/// A subscription to the changes of a conversation.
pub(super) const CHANGES: &str = "changes";
/// A subscription to what happens in the conversations of a profile.
pub(super) const ACTIVITY: &str = "activity";
/// The topic of a watch, among those of a connection.
const WATCH: &str = "watch";
/// The sort keys of all subscriptions: they start with a hash in base64url.
const FIRST: &str = "-";
const LAST: &str = "~";
/// The most items of a `BatchWriteItem`.
const BATCH: usize = 25;

/// A subscription, and who receives its frames.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// The connection.
    pub connection: ConnectionId,
    pub(super) key: Key,
    /// The hash of the caller's `sub`.
    pub(super) caller: String,
    pub(super) kind: String,
    pub(super) admin: bool,
    pub(super) connected_at: Time,
}

impl Subscriber {
    /// Returns a caller whose subject is the hash: it owns what has the same hash as its owner.
    pub(super) fn hashed_caller(&self) -> Caller {
        match self.admin {
            true => Caller::Admin(self.caller.clone()),
            false => Caller::User(self.caller.clone()),
        }
    }

    fn new(item: SubscriptionItem) -> Result<Self> {
        let parts: Vec<&str> = item.key.sk.split('#').collect();
        let [caller, connection, kind] = parts[..] else {
            return Err(Error::internal("the key of a subscription has three parts"));
        };
        Ok(Self {
            connection: connection.parse().map_err(Error::internal)?,
            caller: caller.to_owned(),
            kind: kind.to_owned(),
            admin: item.admin,
            connected_at: item.connected_at,
            key: item.key,
        })
    }
}

fn subscription(topic: &str, connection: &Connection, kind: &str) -> SubscriptionItem {
    SubscriptionItem {
        key: Key::subscription(topic, connection, kind),
        admin: connection.caller.required_owner().is_none(),
        connected_at: connection.connected_at,
        expires_at: connection.expires_at.as_second(),
    }
}

impl Table {
    /// Subscribes a connection to the changes of a conversation. Returns the frame with what is new
    /// since the client's cursor.
    ///
    /// The subscription is stored before the changes are read, so nothing is lost in between. If the
    /// caller may not see the conversation, it is removed again.
    pub async fn subscribe(
        &self,
        id: &ConnectionId,
        conversation_id: ConversationId,
        after: Cursor,
    ) -> Result<Frame> {
        let (connection, item) = self.open_connection(id).await?;
        let topic = conversation_id.to_string();
        if !item.topics.contains(&topic) {
            self.add_topic(id, &topic, None).await?;
        }
        self.put(&subscription(&topic, &connection, CHANGES)).await?;
        let caller = &connection.caller;
        match self.list_changes(caller, conversation_id, after, Limit::MAX).await {
            Ok(changes) if changes.more => Ok(Frame::changes(after, changes).without_results()),
            Ok(changes) => Ok(Frame::changes(after, changes)),
            Err(error @ Error::NotFound(_)) => {
                self.end_subscription(&connection, &topic).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a connection's subscription to a conversation, if there is one.
    pub async fn unsubscribe(
        &self,
        id: &ConnectionId,
        conversation_id: ConversationId,
    ) -> Result<()> {
        let (connection, _) = self.open_connection(id).await?;
        self.end_subscription(&connection, &conversation_id.to_string()).await
    }

    /// Watches the conversations of a profile, instead of what the connection watched before.
    ///
    /// Access to the conversations is checked at each delivery.
    pub async fn watch(&self, id: &ConnectionId, input: NewWatch) -> Result<Frame> {
        let (connection, item) = self.open_connection(id).await?;
        let NewWatch { profile_id, conversation_ids } = input;
        let profile: Option<ProfileItem> = self.get_one(Key::profile(profile_id)).await?;
        let profile = profile.ok_or(Error::NotFound(ProfileItem::KIND))?;
        connection.caller.check_change(&profile.protected())?;
        let mut topics: HashSet<String> =
            conversation_ids.iter().map(ToString::to_string).collect();
        topics.insert(profile_id.to_string());
        self.add_topic(id, WATCH, Some(&topics)).await?;
        let mut writes = Vec::new();
        for topic in &topics {
            let item = to_attributes(&subscription(topic, &connection, ACTIVITY))?;
            let put = PutRequest::builder().set_item(Some(item)).build();
            let put = put.map_err(Error::internal)?;
            writes.push(WriteRequest::builder().put_request(put).build());
        }
        for batch in writes.chunks(BATCH) {
            self.write_batch(batch.to_vec()).await?;
        }
        let ended = item.watched.iter().filter(|topic| !topics.contains(*topic));
        let ended = ended.map(|topic| Key::subscription(topic, &connection, ACTIVITY));
        self.remove_keys(ended).await?;
        Ok(Frame::Watching { profile_id })
    }

    /// Removes subscriptions.
    pub async fn remove_subscriptions(
        &self,
        subscribers: impl IntoIterator<Item = Subscriber>,
    ) -> Result<()> {
        self.remove_keys(subscribers.into_iter().map(|subscriber| subscriber.key)).await
    }

    async fn remove_keys(&self, keys: impl Iterator<Item = Key>) -> Result<()> {
        let keys: HashSet<Key> = keys.collect();
        let keys: Vec<_> = keys.into_iter().map(Key::into_attributes).collect();
        for batch in keys.chunks(BATCH) {
            self.remove(batch).await?;
        }
        Ok(())
    }

    /// Reads a connection. Errors: [`Error::ConnectionEnded`].
    async fn open_connection(&self, id: &ConnectionId) -> Result<(Connection, ConnectionItem)> {
        let item: Option<ConnectionItem> = self.get_one(Key::connection(id)).await?;
        let item = item.ok_or(Error::ConnectionEnded)?;
        let connection = item.open(id, self.now()).ok_or(Error::ConnectionEnded)?;
        Ok((connection, item))
    }

    /// Counts a topic of a connection, once, and records what its watch covers.
    async fn add_topic(
        &self,
        id: &ConnectionId,
        topic: &str,
        watched: Option<&HashSet<String>>,
    ) -> Result<()> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut request = self
            .client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(Key::connection(id).into_attributes()))
            .update_expression("ADD topics :topics")
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(topics) \
                 OR size(topics) < :most OR contains(topics, :topic))",
            )
            .expression_attribute_values(":topics", AttributeValue::Ss(vec![topic.to_owned()]))
            .expression_attribute_values(":topic", text(topic))
            .expression_attribute_values(":most", number(MAX_SUBSCRIPTIONS));
        if let Some(watched) = watched {
            let watched = watched.iter().map(|topic| text(topic)).collect();
            request = request
                .update_expression("SET watched = :watched ADD topics :topics")
                .expression_attribute_values(":watched", AttributeValue::L(watched));
        }
        match self.send_update(request).await? {
            Written::Stored(_) => Ok(()),
            Written::Refused { reason: None, .. } => Err(Error::ConnectionEnded),
            Written::Refused { reason: Some(_), .. } => Err(Error::TooManySubscriptions),
        }
    }

    async fn end_subscription(&self, connection: &Connection, topic: &str) -> Result<()> {
        self.remove(&[Key::subscription(topic, connection, CHANGES).into_attributes()]).await?;
        let request = self
            .client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(Key::connection(&connection.id).into_attributes()))
            .update_expression("DELETE topics :topics")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":topics", AttributeValue::Ss(vec![topic.to_owned()]));
        self.send_update(request).await.map(drop)
    }

    /// Returns whether a conversation has subscribers, perhaps expired ones.
    pub(super) async fn has_subscribers(&self, id: ConversationId) -> Result<bool> {
        let keys = FIRST.to_owned()..=LAST.to_owned();
        let found: Vec<SubscriptionItem> =
            self.query_items(live_pk(id), keys, Ascending, 1).await?;
        Ok(!found.is_empty())
    }

    /// Reads the subscriptions to a conversation or a profile that have not expired.
    pub(super) async fn subscribers(&self, topic: &str) -> Result<Vec<Subscriber>> {
        let keys = FIRST.to_owned()..=LAST.to_owned();
        let items: Vec<SubscriptionItem> =
            self.query_items(live_pk(topic), keys, Ascending, usize::MAX).await?;
        let now = self.now().as_second();
        items.into_iter().filter(|item| item.expires_at > now).map(Subscriber::new).collect()
    }
}
