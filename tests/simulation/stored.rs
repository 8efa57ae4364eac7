//! The items of the table in the end.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::world::World;

/// The items of the table in the end, by partition key and sort key.
pub(crate) struct Stored {
    partitions: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Stored {
    pub(crate) fn read(world: &World) -> Self {
        let mut partitions: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
        for item in world.dynamodb.all_items("chat") {
            let part = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
            let (pk, sk) = (part("pk"), part("sk"));
            partitions.entry(pk).or_default().insert(sk, item);
        }
        Self { partitions }
    }

    /// Returns the sort keys of a conversation's items.
    pub(crate) fn keys(&self, conversation_id: &str) -> Vec<&String> {
        let items = self.partitions.get(&format!("CONVERSATION#{conversation_id}"));
        items.into_iter().flat_map(BTreeMap::keys).collect()
    }

    /// Returns the partitions with this prefix, by the rest of the partition key.
    pub(crate) fn starting_with<'s>(
        &'s self,
        prefix: &'s str,
    ) -> impl Iterator<Item = (&'s str, &'s BTreeMap<String, Value>)> {
        self.partitions
            .iter()
            .filter_map(move |(pk, items)| Some((pk.strip_prefix(prefix)?, items)))
    }

    /// Returns the conversations that are not deleted, by id, with all their items.
    pub(crate) fn live_conversations(
        &self,
    ) -> impl Iterator<Item = (&str, &BTreeMap<String, Value>)> {
        self.starting_with("CONVERSATION#").filter(|(id, _)| self.live(id).is_some())
    }

    /// Returns a conversation that is not deleted.
    pub(crate) fn conversation(&self, conversation_id: &str) -> Option<&Value> {
        self.live(conversation_id)?.get("CONVERSATION")
    }

    /// Returns the items of a conversation that is not deleted.
    fn live(&self, conversation_id: &str) -> Option<&BTreeMap<String, Value>> {
        let items = self.partitions.get(&format!("CONVERSATION#{conversation_id}"))?;
        items.get("CONVERSATION")?["deleted_at"].is_null().then_some(items)
    }

    /// Returns the numbers of the changes that are stored for a message, conversation or profile;
    /// `None` if it is gone.
    pub(crate) fn changes(&self, thing: &str) -> Option<Vec<u64>> {
        if let Some((conversation_id, seq)) = thing.split_once('/') {
            let changes = numbered(self.live(conversation_id)?, "CHANGE#");
            let of_message = changes.filter(|(_, item)| item["seq"]["N"] == *seq);
            return Some(of_message.map(|(number, _)| number).collect());
        }
        let profile = self.partitions.get(&format!("PROFILE#{thing}"));
        let item = match profile {
            Some(items) => items.get("PROFILE").filter(|item| item["deleted_at"].is_null())?,
            None => self.live(thing)?.get("CONVERSATION")?,
        };
        Some((2..=of(item, "version")).collect())
    }

    /// Returns the version of something that was not changed yet.
    pub(crate) fn first_version(&self, thing: &str) -> u64 {
        if thing.contains('/') { 0 } else { 1 }
    }

    /// Returns the last change and the subject's version of a conversation that is not deleted.
    pub(crate) fn head(&self, conversation_id: &str) -> Option<(u64, u64)> {
        let items = self.live(conversation_id)?;
        let last_change = items.get("CHANGES").map_or(0, |item| of(item, "last_change"));
        Some((last_change, of(items.get("CONVERSATION")?, "version")))
    }

    /// Checks that the changes of a conversation are numbered 1, 2, 3 …, and that each message has
    /// the number of its last change.
    pub(crate) fn change_violations(&self, conversation_id: &str) -> Vec<String> {
        let Some(items) = self.live(conversation_id) else { return Vec::new() };
        let mut violations = Vec::new();
        let mut last_changes: HashMap<u64, u64> = HashMap::new();
        let mut count = 0;
        for ((number, item), expected) in numbered(items, "CHANGE#").zip(1..) {
            if number != expected {
                violations.push(format!("change {number} in place of {expected}"));
            }
            if item["seq"].is_object() {
                last_changes.insert(of(item, "seq"), number);
            }
            count = number;
        }
        let (last_change, settled) = items
            .get("CHANGES")
            .map_or((0, 0), |item| (of(item, "last_change"), of(item, "settled_change")));
        if last_change != count || settled > count {
            violations.push(format!("{count} changes, CHANGES has {last_change}, {settled}"));
        }
        for (seq, item) in numbered(items, "MESSAGE#") {
            let last = last_changes.get(&seq).copied().unwrap_or_default();
            if of(item, "change") != last {
                violations.push(format!("message {seq} shows {}, not {last}", item["change"]));
            }
        }
        violations
    }
}

/// Returns a number of an item.
pub(crate) fn of(item: &Value, name: &str) -> u64 {
    item[name]["N"].as_str().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Returns the items whose sort key is this prefix and a number, by that number.
fn numbered<'i>(
    items: &'i BTreeMap<String, Value>,
    prefix: &'i str,
) -> impl Iterator<Item = (u64, &'i Value)> {
    items.iter().filter_map(move |(sk, item)| Some((sk.strip_prefix(prefix)?.parse().ok()?, item)))
}
