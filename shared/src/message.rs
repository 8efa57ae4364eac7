//! Messages, the points they earn, and the congratulation that every tenth point brings.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::text::{check_not_blank, text};
use crate::{ConversationId, Profile, ProfileId, Seq, Time};

/// A message as clients see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Message {
    /// The conversation it stands in.
    pub conversation_id: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// Posted by someone, or by the service.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Who posted it; `None` on a congratulation.
    #[schema(required)]
    pub author_id: Option<ProfileId>,
    /// Who posted it, in full; `None` on a congratulation or once that profile is deleted.
    #[schema(required)]
    pub author: Option<Profile>,
    /// 1–5,000 characters exactly as sent; empty once the message is deleted.
    #[schema(max_length = 5000)]
    pub text: String,
    /// Whatever the client keeps with it.
    pub metadata: Metadata,
    /// The author's total that this message brought about; on a congratulation the total congratulated.
    pub points: u64,
    /// When it was posted.
    pub created_at: Time,
    /// When it was last edited.
    #[schema(required)]
    pub edited_at: Option<Time>,
    /// When it was deleted.
    #[schema(required)]
    pub deleted_at: Option<Time>,
}

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Someone posted it.
    Text,
    /// The service added it: a congratulation.
    Action,
}

/// A message that was just posted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PostedMessage {
    /// The message; its author's points already count it.
    #[serde(flatten)]
    pub message: Message,
    /// The congratulation that it brought, at the next place.
    #[schema(required)]
    pub reward: Option<Message>,
}

text! {
    /// The text of a message: 1–5,000 characters, not blank, kept exactly as sent.
    Text, 1..=5000, r"[^\x09-\x0D\x20\x85\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]", "Good morning", |text| {
        check_not_blank(&text)?;
        Ok(text)
    }
}

/// A JSON object that clients keep with a message: at most 4,096 bytes as compact JSON, its numbers as they were sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(value_type = Object)]
#[serde(transparent)]
pub struct Metadata(Box<RawValue>);

impl Metadata {
    /// The largest metadata, in bytes of compact JSON.
    pub const MAX: usize = 4096;

    /// Its compact JSON, which is what the table keeps.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// Reads back what the table keeps.
    pub fn from_json(json: String) -> serde_json::Result<Self> {
        RawValue::from_string(json).map(Self)
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
        // What serde_json cannot represent, such as a lone surrogate, a client that reads a page of messages may not either.
        serde_json::from_str::<Map<String, Value>>(sent.get()).map_err(|error| error.to_string())?;
        let json = compact(sent.get());
        if json.len() > Self::MAX {
            return Err(format!("must have at most {} bytes as compact JSON, has {}", Self::MAX, json.len()));
        }
        Self::from_json(json).map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Box::<RawValue>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// JSON text without the white space between its tokens. Numbers stay as they are written, which they would not when parsed.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        let keep = in_string || !matches!(c, ' ' | '\n' | '\r' | '\t');
        in_string ^= *c == '"' && !escaped;
        escaped = in_string && *c == '\\' && !escaped;
        keep
    };
    json.chars().filter(keep).collect()
}

/// What a client sends to post a message.
#[derive(Clone, Debug, ToSchema)]
pub struct NewMessage {
    /// Who posts it.
    pub author_id: ProfileId,
    /// What it says.
    pub text: Text,
    /// What the client keeps with it.
    #[schema(required = false)]
    pub metadata: Metadata,
}

/// What a client sends to change a message; a field that is not there stays as it is.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct MessagePatch {
    /// The new text.
    #[schema(value_type = Text, required = false)]
    pub text: Option<Text>,
    /// The new metadata, whole.
    pub metadata: Option<Metadata>,
}

/// Whether this total brings a congratulation: every multiple of ten does.
#[must_use]
pub fn is_rewarded(points: u64) -> bool {
    points > 0 && points.is_multiple_of(10)
}

/// What a congratulation says.
#[must_use]
pub fn congratulation(first_name: &str, points: u64) -> String {
    format!("Congratulations {first_name}, you have reached {points} points!")
}

/// What a congratulation keeps: whom it congratulates, and on what.
pub fn congratulation_metadata(profile_id: ProfileId, points: u64) -> Metadata {
    let json = json!({ "profile_id": profile_id, "points": points }).to_string();
    Metadata::from_json(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(json: &str) -> Result<Metadata, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_tenth_point_is_rewarded_and_no_other() {
        let rewarded: Vec<u64> = (0..=30).filter(|&points| is_rewarded(points)).collect();
        assert_eq!(rewarded, [10, 20, 30]);
    }

    #[test]
    fn metadata_keeps_numbers_and_order_as_sent() {
        for json in [
            r#"{"":1}"#,
            r#"{"b":1.0,"a":1.10,"c":-0,"d":1e300,"e":0.1E-7}"#,
            r#"{" \" ":" \\","\\\\":" "}"#,
            r#"{"n":1234567890123456789012345678901234567890}"#,
            &format!(r#"{{"deep":{}{}}}"#, "[".repeat(40), "]".repeat(40)),
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
    fn text_is_counted_in_code_points_and_kept_as_sent() {
        let longest = "👍".repeat(5000);
        assert_eq!(String::from(Text::try_from(longest.clone()).expect("5,000 code points")), longest);
        assert!(Text::try_from(format!("{longest}!")).is_err());
        assert!(Text::try_from(" \n\t ".to_owned()).is_err());
        assert_eq!(String::from(Text::try_from(" \0e\u{301} ".to_owned()).expect("not blank")), " \0e\u{301} ");
    }
}
