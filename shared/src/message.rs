//! Messages, the points that they earn, and the congratulation at every tenth point.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::json::{canonical, compact, merge};
use crate::text::{check_not_blank, text};
use crate::{ConversationId, Cursor, Profile, ProfileId, Seq, Time};

/// A message as clients see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Message {
    /// The conversation that contains it.
    pub conversation_id: ConversationId,
    /// Its number within the conversation: 1, 2, 3 … without a gap.
    pub seq: Seq,
    /// Who wrote it: `text` a profile, `action` the service (a congratulation), `void` nobody: a post
    /// that never completed.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The author's id; `None` on a congratulation.
    #[schema(required)]
    pub author_id: Option<ProfileId>,
    /// The author's profile; `None` on a congratulation, and once that profile is deleted.
    #[schema(required)]
    pub author: Option<Profile>,
    /// 1–5,000 characters exactly as sent; empty once the message is deleted.
    #[schema(max_length = 5000)]
    pub text: String,
    /// A JSON object for the client's own use.
    pub metadata: Metadata,
    /// The author's total after this message; on a congratulation the total that it congratulates on.
    pub points: u64,
    /// The number of the conversation's change that last modified it; 0 as posted. It is the version
    /// in the message's `ETag`.
    pub change: u64,
    /// When it was posted.
    pub created_at: Time,
    /// When it was last edited.
    #[schema(required)]
    pub edited_at: Option<Time>,
    /// When it was deleted.
    #[schema(required)]
    pub deleted_at: Option<Time>,
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A profile posted it.
    Text,
    /// The service added it: a congratulation.
    Action,
    /// No author: the post with this `seq` never completed. It shows as deleted.
    Void,
}

/// A message that was just posted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PostedMessage {
    /// The message. Its author's points already count it.
    #[serde(flatten)]
    pub message: Message,
    /// The congratulation that the message earned, at the next `seq`.
    #[schema(required)]
    pub reward: Option<Message>,
}

text! {
    /// The text of a message: 1–5,000 characters, not blank, stored exactly as sent.
    Text, 1..=5000,
    r"[^\x09-\x0D\x20\x85\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]",
    "Good morning",
    |text| {
        check_not_blank(&text)?;
        Ok(text)
    }
}

/// A JSON object for the client's own use: at most 4,096 bytes as compact JSON, at most 32 levels, no
/// duplicate members. Numbers keep their spelling.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(value_type = Object)]
#[serde(transparent)]
pub struct Metadata(Box<RawValue>);

impl Metadata {
    /// The largest metadata, in bytes of compact JSON.
    pub const MAX: usize = 4096;

    /// The deepest nesting of arrays and objects. Some clients parse no more than 100 levels.
    pub const MAX_LEVELS: usize = 32;

    /// Returns the compact JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// Restores metadata from its compact JSON text. Checks only that it is JSON.
    pub fn from_json(json: String) -> serde_json::Result<Self> {
        RawValue::from_string(json).map(Self)
    }
}

/// A merge patch (RFC 7396) of metadata; `None` resets it to `{}`.
#[derive(Clone, Debug)]
pub struct MetadataPatch(Option<Box<RawValue>>);

impl<'de> Deserialize<'de> for MetadataPatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = Box::<RawValue>::deserialize(deserializer)?;
        if sent.get() == "null" {
            return Ok(Self(None));
        }
        // A patch obeys the rules of what it may become.
        Metadata::try_from(sent.clone()).map_err(D::Error::custom)?;
        Ok(Self(Some(sent)))
    }
}

impl MetadataPatch {
    /// Applies the patch to metadata. Errors: why the result is not valid metadata.
    pub fn apply(&self, metadata: &Metadata) -> Result<Metadata, String> {
        let Some(patch) = &self.0 else { return Ok(Metadata::default()) };
        let merged = merge(metadata.as_json(), patch.get()).map_err(|error| error.to_string())?;
        let merged = RawValue::from_string(merged).map_err(|error| error.to_string())?;
        Metadata::try_from(merged)
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self(RawValue::from_string("{}".into()).expect("an empty object is JSON"))
    }
}

impl TryFrom<Box<RawValue>> for Metadata {
    type Error = String;

    fn try_from(sent: Box<RawValue>) -> Result<Self, String> {
        if !sent.get().starts_with('{') {
            return Err("must be a JSON object".into());
        }
        let json = compact(sent.get());
        if json.len() > Self::MAX {
            let (max, length) = (Self::MAX, json.len());
            return Err(format!("must have at most {max} bytes as compact JSON, has {length}"));
        }
        canonical(&json, Self::MAX_LEVELS)?;
        Self::from_json(json).map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Box::<RawValue>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The body of a request that posts a message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NewMessage {
    /// The author: a profile of the caller.
    pub author_id: ProfileId,
    /// The text.
    pub text: Text,
    /// A JSON object for the client's own use; empty by default.
    #[schema(required = false)]
    pub metadata: Metadata,
}

/// What is new in a conversation since a cursor.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The conversation.
    pub conversation: ConversationHead,
    /// The messages that are new or changed, as they are now, by `seq`.
    pub results: Vec<Message>,
    /// Where to continue.
    pub cursor: Cursor,
    /// True if more can be read immediately.
    pub more: bool,
}

/// The part of a conversation that a rename changes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConversationHead {
    /// The id.
    pub id: ConversationId,
    /// 1–200 characters.
    pub subject: String,
    /// The version, as in the conversation's `ETag`.
    pub version: u64,
}

/// The body of a request that edits a message. An absent field keeps its value.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct MessagePatch {
    /// The new text.
    #[schema(value_type = Text, required = false)]
    pub text: Option<Text>,
    /// A merge patch (RFC 7396) of the metadata: `null` removes a member, objects merge.
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<MetadataPatch>,
}

/// A congratulation that a message has earned.
#[derive(Clone, Debug)]
pub struct Reward {
    /// The text.
    pub text: String,
    /// The profile that is congratulated, and its total.
    pub metadata: Metadata,
}

/// Returns the congratulation that a post earns when it raises its author's total to `points`: every
/// multiple of ten earns one.
#[must_use]
pub fn reward(profile_id: ProfileId, first_name: &str, points: u64) -> Option<Reward> {
    if !is_rewarded(points) {
        return None;
    }
    let text = format!("Congratulations {first_name}, you have reached {points} points!");
    let metadata = json!({ "profile_id": profile_id, "points": points }).to_string();
    Some(Reward { text, metadata: Metadata::from_json(metadata).unwrap_or_default() })
}

/// Returns whether a post that raises its author's total to `points` earns a congratulation.
#[must_use]
pub fn is_rewarded(points: u64) -> bool {
    points > 0 && points.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(json: &str) -> Result<Metadata, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_tenth_point_earns_a_congratulation() {
        let ada = ProfileId::generate();
        let rewarded: Vec<u64> = (0..=30).filter(|&n| reward(ada, "Ada", n).is_some()).collect();
        assert_eq!(rewarded, [10, 20, 30]);
    }

    #[test]
    fn metadata_keeps_order_and_the_spelling_of_numbers() {
        for json in [
            r#"{"":1}"#,
            r#"{"b":1.0,"a":1.10,"c":-0,"d":1e300,"e":0.1E-7}"#,
            r#"{" \" ":" \\","\\\\":" "}"#,
            r#"{"n":1234567890123456789012345678901234567890}"#,
            &format!(r#"{{"deep":{}{}}}"#, "[".repeat(31), "]".repeat(31)),
        ] {
            assert_eq!(metadata(json).expect("an object").as_json(), json);
        }
    }

    #[test]
    fn metadata_is_an_object_of_at_most_4096_bytes_as_compact_json() {
        let of = |length: usize| format!("{{ \"k\" :\n \"{}\" }}", "x".repeat(length - 8));
        assert_eq!(metadata(&of(4096)).expect("not too long").as_json().len(), 4096);
        assert!(metadata(&of(4097)).is_err());
        for json in ["null", "[]", "1", "\"\"", "true", r#"{"n":1e400}"#, r#"{"s":"\ud800"}"#] {
            assert!(metadata(json).is_err(), "{json}");
        }
    }

    #[test]
    fn text_is_counted_in_code_points_and_stored_as_sent() {
        let longest = "👍".repeat(5000);
        assert_eq!(
            String::from(Text::try_from(longest.clone()).expect("5,000 code points")),
            longest
        );
        assert!(Text::try_from(format!("{longest}!")).is_err());
        assert!(Text::try_from(" \n\t ".to_owned()).is_err());
        assert_eq!(
            String::from(Text::try_from(" \0e\u{301} ".to_owned()).expect("not blank")),
            " \0e\u{301} "
        );
    }
}
