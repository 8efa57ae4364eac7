//! Profiles: who posts, and the points they have earned.

use serde::Serialize;

use crate::text::{check_length, check_not_blank, check_printable, text};
use crate::{ProfileId, Time};

/// A profile as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// 1–100 characters, not blank.
    pub first_name: String,
    /// 0–100 characters.
    pub last_name: String,
    /// First and last name, or the first alone when there is no last.
    pub full_name: String,
    /// 0–100 characters.
    pub job_title: String,
    /// How many messages it has posted.
    pub points: u64,
    /// Whether its owner was an administrator when it was created.
    pub is_admin: bool,
    /// When it was created.
    pub created_at: Time,
}

text! {
    /// A first name: 1–100 characters as sent, not blank, no control characters; kept trimmed.
    FirstName, |text| {
        check_length(&text, 1, 100)?;
        check_not_blank(&text)?;
        check_printable(&text)?;
        Ok(text.trim().to_owned())
    }
}

text! {
    /// A last name or a job title: 0–100 characters as sent, no control characters; kept trimmed.
    #[derive(Default)]
    Name, |text| {
        check_length(&text, 0, 100)?;
        check_printable(&text)?;
        Ok(text.trim().to_owned())
    }
}

/// What a client sends to create a profile.
#[derive(Clone, Debug)]
pub struct NewProfile {
    /// Required.
    pub first_name: FirstName,
    /// Empty unless sent.
    pub last_name: Name,
    /// Empty unless sent.
    pub job_title: Name,
}

/// What a client sends to change a profile; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    /// The new first name.
    pub first_name: Option<FirstName>,
    /// The new last name.
    pub last_name: Option<Name>,
    /// The new job title.
    pub job_title: Option<Name>,
}

/// First and last name as one.
#[must_use]
pub fn full_name(first_name: &str, last_name: &str) -> String {
    format!("{first_name} {last_name}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_as_sent_and_kept_trimmed() {
        assert_eq!(FirstName::try_from(" Ada\t".to_owned()), Ok(FirstName("Ada".into())));
        assert!(FirstName::try_from("é".repeat(100)).is_ok());
        assert!(FirstName::try_from(format!("{} ", "é".repeat(100))).is_err());
        assert!(Name::try_from(String::new()).is_ok());
        assert!(Name::try_from("n".repeat(101)).is_err());
    }

    #[test]
    fn a_first_name_is_not_blank_and_has_no_control_characters() {
        for name in ["", " ", "\u{2003}\n", "A\u{0}", "A\u{7f}", "A\u{85}b"] {
            assert!(FirstName::try_from(name.to_owned()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_full_name_has_no_trailing_space() {
        assert_eq!(full_name("Ada", "Lovelace"), "Ada Lovelace");
        assert_eq!(full_name("Ada", ""), "Ada");
    }
}
