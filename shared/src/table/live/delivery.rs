//! What a batch of the table's stream delivers: which frames go to whom.
//!
//! Access is read last, after everything that the frames show. So no frame shows what was posted after
//! its receiver's removal was answered.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::notices::Batch;
use super::subscriptions::{ACTIVITY, CHANGES, Subscriber};
use crate::access::{Action, Protected, Standing, Verdict};
use crate::live::{EndReason, Frame, MAX_CONNECTIONS};
use crate::table::client::Table;
use crate::table::items::{AccessItem, ChangesItem, ConversationItem, MessageItem};
use crate::table::keys::{Key, conversation_pk};
use crate::table::requests::Direction::{Ascending, Descending};
use crate::text::hash;
use crate::{ConversationId, Cursor, Limit, ProfileId, Result, Seq};

/// The newest messages that are read to find where the visible run ends.
const TAIL: usize = 20;
/// The most frames of one batch. Clients that need more ask for the rest.
const MAX_FRAMES: usize = 10;
/// The most `ACCESS` items that are read by key. More are queried.
const MAX_KEYS: usize = 100;

/// Frames, rendered, and the subscriptions that receive them.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// In this order.
    pub frames: Vec<String>,
    /// The receivers.
    pub to: Vec<Subscriber>,
    /// True if these are the last frames of the subscriptions, which must be removed.
    pub last: bool,
}

impl Parcel {
    fn new(frames: impl IntoIterator<Item = Frame>, to: Vec<Subscriber>) -> Result<Self> {
        let frames = frames.into_iter().map(Frame::into_json).collect::<Result<_>>()?;
        Ok(Self { frames, to, last: false })
    }

    fn last(frames: impl IntoIterator<Item = Frame>, to: Vec<Subscriber>) -> Result<Self> {
        Ok(Self { last: true, ..Self::new(frames, to)? })
    }
}

/// An access item with its key.
#[derive(Deserialize)]
struct KeyedAccess {
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    access: AccessItem,
}

impl Table {
    /// Returns what a batch of records about one conversation delivers.
    pub async fn delivery(&self, id: ConversationId, batch: &Batch) -> Result<Vec<Parcel>> {
        let mut parcels = Vec::new();
        if batch.is_for_subscribers() && self.has_subscribers(id).await? {
            parcels = self.to_subscribers(id, batch).await?;
        }
        for (profile_id, added) in &batch.members {
            parcels.push(self.to_watchers(id, *profile_id, *added).await?);
        }
        parcels.retain(|parcel| !parcel.to.is_empty());
        Ok(parcels)
    }

    /// Returns what the subscribers of a conversation receive.
    async fn to_subscribers(&self, id: ConversationId, batch: &Batch) -> Result<Vec<Parcel>> {
        let below = batch.place.map(|place| Seq::new(place.get() - 1));
        let below = below.map(|seq| Key::message(id, seq));
        let keys = [Key::conversation(id), Key::changes(id)];
        let mut found = self.get(keys.iter().chain(&below).cloned()).await?;
        let conversation: Option<ConversationItem> = found.take(&keys[0])?;
        let ended = |reason| Frame::Ended { conversation_id: id, reason };
        let Some(conversation) = conversation else {
            let subscribers = self.subscribers(&id.to_string()).await?;
            return Ok(vec![Parcel::last([ended(EndReason::Deleted)], subscribers)?]);
        };
        let counter: ChangesItem = found.take(&keys[1])?.unwrap_or_default();
        let below: Option<MessageItem> = below.map(|key| found.take(&key)).transpose()?.flatten();
        let frames = match conversation.deleted_at {
            None => self.change_frames(&conversation, &counter, batch, below.is_some()).await?,
            Some(_) => Vec::new(),
        };
        if frames.is_empty() && !batch.access && !batch.ended {
            return Ok(Vec::new());
        }
        let subscribers = self.subscribers(&id.to_string()).await?;
        let (readers, others) = self.split_by_access(&conversation, subscribers).await?;
        // Whoever may not see the conversation learns its end only as a follower of it.
        let (others, silent) = split(others, |subscriber| subscriber.kind == CHANGES);
        let mut parcels =
            vec![Parcel::last([ended(EndReason::Removed)], others)?, Parcel::last([], silent)?];
        if batch.ended {
            parcels.push(Parcel::last([ended(EndReason::Deleted)], readers)?);
            return Ok(parcels);
        }
        let (readers, full) = admit(readers);
        parcels.push(Parcel::last([full_frame(id)], full)?);
        let (followers, watchers) = split(readers, |subscriber| subscriber.kind != ACTIVITY);
        if batch.place.is_some() && !frames.is_empty() {
            let last_seq = conversation.last_seq;
            let activity = Frame::Activity { conversation_id: id, last_seq };
            parcels.push(Parcel::new([activity], watchers)?);
        }
        if !frames.is_empty() {
            parcels.push(Parcel::new(frames, followers)?);
        }
        Ok(parcels)
    }

    /// Returns the frames with what a batch changed. `below` is true if the place below the lowest new
    /// one is visible.
    ///
    /// They start where every change is known to be shown, so that no client passes a change without
    /// its message. If the place below is not visible, that place brings its own record.
    async fn change_frames(
        &self,
        conversation: &ConversationItem,
        counter: &ChangesItem,
        batch: &Batch,
        below: bool,
    ) -> Result<Vec<Frame>> {
        let settled = counter.settled_change;
        let change = batch.change.map_or(settled, |first| settled.min(first.saturating_sub(1)));
        let seq = match (batch.place, batch.change) {
            (Some(place), None) if place > Seq::FIRST && !below => return Ok(Vec::new()),
            (Some(place), _) => Seq::new(place.get() - 1),
            (None, Some(_)) => self.visible_end(conversation.id).await?,
            (None, None) => return Ok(Vec::new()),
        };
        let (mut after, mut frames) = (Cursor { seq, change }, Vec::new());
        while frames.len() < MAX_FRAMES {
            let fresh = self.read_changes(conversation, counter, after, Limit::MAX, None).await?;
            let (cursor, more) = (fresh.cursor, fresh.more);
            if cursor == after {
                break;
            }
            let authors: HashSet<ProfileId> =
                fresh.items.iter().filter_map(|item| item.author_id).collect();
            let keys = authors.iter().map(|id| Key::profile(*id));
            let authors = self.get(keys).await?.take_profiles(authors)?;
            self.settle(conversation.id, counter, after, cursor).await;
            let changes = fresh.into_changes(conversation, &authors)?;
            frames.push(Frame::changes(after, changes));
            if !more {
                break;
            }
            after = cursor;
        }
        Ok(frames)
    }

    /// Returns the last place of the visible run, by the newest messages.
    ///
    /// A gap far below them is not noticed. Then no client is beyond that gap, so none takes a frame
    /// that starts here.
    async fn visible_end(&self, id: ConversationId) -> Result<Seq> {
        let newest = self.query_messages(id, 1..=Seq::MAX, Descending, TAIL).await?;
        let mut seqs = newest.iter().rev().map(MessageItem::seq);
        let first = seqs.next().unwrap_or(Seq::new(0));
        Ok(seqs.fold(first, |end, seq| if seq == end.next() { seq } else { end }))
    }

    /// Returns what the watchers of a profile receive when it was added or removed.
    async fn to_watchers(
        &self,
        conversation_id: ConversationId,
        profile_id: ProfileId,
        added: bool,
    ) -> Result<Parcel> {
        let mut watchers = self.subscribers(&profile_id.to_string()).await?;
        if added && !watchers.is_empty() {
            let found: Option<ConversationItem> =
                self.get_one(Key::conversation(conversation_id)).await?;
            watchers = match found.filter(|item| item.deleted_at.is_none()) {
                Some(conversation) => self.split_by_access(&conversation, watchers).await?.0,
                None => Vec::new(),
            };
        }
        Parcel::new([Frame::Membership { profile_id, conversation_id }], watchers)
    }

    /// Splits subscribers into those who may read a conversation and the others. It is the last read of
    /// a delivery.
    async fn split_by_access(
        &self,
        conversation: &ConversationItem,
        subscribers: Vec<Subscriber>,
    ) -> Result<(Vec<Subscriber>, Vec<Subscriber>)> {
        let owner = hash(&conversation.owner);
        let protected = Protected { kind: ConversationItem::KIND, owner: &owner, deleted: false };
        let visibility = conversation.visibility;
        let unsure = subscribers.iter().filter(|subscriber| {
            let caller = subscriber.hashed_caller();
            caller.judge_early(&protected, visibility, Action::Read).is_none()
        });
        let callers: HashSet<String> = unsure.map(|subscriber| subscriber.caller.clone()).collect();
        let standings = self.standings(conversation.id, callers).await?;
        Ok(split(subscribers, |subscriber| {
            let standing = standings.get(&subscriber.caller).copied().unwrap_or_default();
            let caller = subscriber.hashed_caller();
            caller.judge(&protected, visibility, standing, Action::Read) == Verdict::Allowed
        }))
    }

    /// Reads what the profiles of callers, by their hashes, are in a conversation.
    async fn standings(
        &self,
        id: ConversationId,
        callers: HashSet<String>,
    ) -> Result<HashMap<String, Standing>> {
        let mut standings = HashMap::new();
        if callers.len() > MAX_KEYS {
            let keys = Key::access_of_hashed(id, "-").sk..=Key::access_of_hashed(id, "~").sk;
            let items: Vec<KeyedAccess> =
                self.query_items(conversation_pk(id), keys, Ascending, usize::MAX).await?;
            for KeyedAccess { key, access } in items {
                let caller = key.sk.trim_start_matches("ACCESS#").to_owned();
                standings.insert(caller, access.standing());
            }
            return Ok(standings);
        }
        let key = |caller: &String| Key::access_of_hashed(id, caller);
        let mut found = self.get(callers.iter().map(key)).await?;
        for caller in callers {
            let item: Option<AccessItem> = found.take(&key(&caller))?;
            standings.insert(caller, item.unwrap_or_default().standing());
        }
        Ok(standings)
    }
}

fn full_frame(id: ConversationId) -> Frame {
    Frame::Error {
        code: "full",
        detail: "This conversation has 1000 live connections. Poll its changes.".into(),
        conversation_id: Some(id),
    }
}

/// Splits subscribers into those of the [`MAX_CONNECTIONS`] oldest connections and the others.
fn admit(mut subscribers: Vec<Subscriber>) -> (Vec<Subscriber>, Vec<Subscriber>) {
    subscribers.sort_by(|one, other| {
        (one.connected_at, &one.connection).cmp(&(other.connected_at, &other.connection))
    });
    let mut admitted = HashSet::new();
    split(subscribers, |subscriber| {
        if admitted.len() < MAX_CONNECTIONS {
            admitted.insert(subscriber.connection.clone());
        }
        admitted.contains(&subscriber.connection)
    })
}

fn split(
    subscribers: Vec<Subscriber>,
    first: impl FnMut(&Subscriber) -> bool,
) -> (Vec<Subscriber>, Vec<Subscriber>) {
    subscribers.into_iter().partition(first)
}
