//! Profiles: authors of messages, and the points that they have earned.

use serde::Serialize;
use utoipa::ToSchema;

use crate::text::{check_printable, text, visible_text};
use crate::{ProfileId, Time};

/// A profile as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Profile {
    /// The id.
    pub id: ProfileId,
    /// 1–100 characters, at least one of them visible.
    #[schema(value_type = FirstName)]
    pub first_name: String,
    /// 0–100 characters.
    #[schema(value_type = Name)]
    pub last_name: String,
    /// First and last name; the first name alone if the last name is empty.
    pub full_name: String,
    /// 0–100 characters.
    #[schema(value_type = Name)]
    pub job_title: String,
    /// The number of messages that the profile has posted.
    pub points: u64,
    /// True if its creator was an administrator.
    pub is_admin: bool,
    /// The version, as in the profile's `ETag`: 1, and 1 more with each change. Points do not count.
    pub version: u64,
    /// When it was created.
    pub created_at: Time,
}

visible_text! {
    /// A first name: 1–100 characters as sent, at least one of them visible, no control characters, no
    /// bidi overrides; stored trimmed.
    FirstName, 1..=100, "Ada", |text| text.trim().to_owned()
}

text! {
    /// A last name or a job title: 0–100 characters as sent, no control characters, no bidi overrides;
    /// stored trimmed.
    #[derive(Default)]
    Name, 0..=100, r"^[^\x00-\x08\x0B-\x1F\x7F-\x9F\u202A-\u202E\u2066-\u2069]*$", "", |text| {
        check_printable(&text)?;
        Ok(text.trim().to_owned())
    }
}

/// The body of a request that creates a profile.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NewProfile {
    /// The first name.
    pub first_name: FirstName,
    /// The last name; empty by default.
    #[schema(required = false)]
    pub last_name: Name,
    /// The job title; empty by default.
    #[schema(required = false)]
    pub job_title: Name,
}

/// The body of a request that changes a profile. An absent field keeps its value.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct ProfilePatch {
    /// The new first name.
    #[schema(value_type = FirstName, required = false)]
    pub first_name: Option<FirstName>,
    /// The new last name.
    pub last_name: Option<Name>,
    /// The new job title.
    pub job_title: Option<Name>,
}

/// Joins first and last name.
#[must_use]
pub fn full_name(first_name: &str, last_name: &str) -> String {
    format!("{first_name} {last_name}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_as_sent_and_stored_trimmed() {
        assert_eq!(FirstName::try_from(" Ada\t".to_owned()), Ok(FirstName("Ada".into())));
        assert!(FirstName::try_from("é".repeat(100)).is_ok());
        assert!(FirstName::try_from(format!("{} ", "é".repeat(100))).is_err());
        assert!(Name::try_from(String::new()).is_ok());
        assert!(Name::try_from("n".repeat(101)).is_err());
    }

    #[test]
    fn a_first_name_is_visible_and_has_no_control_characters_or_bidi_overrides() {
        let invisible = ["", " ", "\u{2003}\n", "\u{200B}", "\u{FEFF}\u{AD}", "\u{E0041}"];
        for name in invisible.into_iter().chain(["A\u{0}", "A\u{7f}", "A\u{85}b", "\u{202E}A"]) {
            assert!(FirstName::try_from(name.to_owned()).is_err(), "{name:?}");
        }
        // A zero-width joiner is part of this emoji.
        for name in ["👩\u{200D}💻", "A\u{200B}", "\u{202F}ا", "é\n"] {
            assert!(FirstName::try_from(name.to_owned()).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_full_name_has_no_trailing_space() {
        assert_eq!(full_name("Ada", "Lovelace"), "Ada Lovelace");
        assert_eq!(full_name("Ada", ""), "Ada");
    }
}
