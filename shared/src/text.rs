//! Rules that the texts of all resources share: length and forbidden characters. Hashes of texts.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The largest body of a request, in bytes after decoding.
pub const MAX_BODY: usize = 96 * 1024;

/// Returns SHA-256 in base64url: 43 characters.
#[must_use]
pub fn hash(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

/// Checks that `text` has `min` to `max` characters (Unicode code points).
pub fn check_length(text: &str, min: usize, max: usize) -> Result<(), String> {
    let length = text.chars().count();
    if (min..=max).contains(&length) {
        Ok(())
    } else {
        Err(format!("must have {min} to {max} characters, has {length}"))
    }
}

/// Checks that `text` has a character that is not white space.
pub fn check_not_blank(text: &str) -> Result<(), String> {
    if text.chars().all(char::is_whitespace) { Err("must not be blank".into()) } else { Ok(()) }
}

/// Checks that `text` has a character that a reader sees.
pub fn check_visible(text: &str) -> Result<(), String> {
    if text.chars().all(is_invisible) {
        Err("must have at least one visible character".into())
    } else {
        Ok(())
    }
}

/// Checks that `text` has no control characters but line feed and tab, and no bidi overrides, which
/// would reorder the text around it.
pub fn check_printable(text: &str) -> Result<(), String> {
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        Err("must not have control characters other than line feed and tab".into())
    } else if text.chars().any(is_bidi_override) {
        Err("must not have bidi overrides (U+202A to U+202E, U+2066 to U+2069)".into())
    } else {
        Ok(())
    }
}

fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether a character shows nothing: white space, control characters, the Braille blank, and
/// those with the property `Default_Ignorable_Code_Point`. Source:
/// <https://www.unicode.org/Public/17.0.0/ucd/DerivedCoreProperties.txt>
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{AD}'
                | '\u{34F}'
                | '\u{61C}'
                | '\u{115F}'..='\u{1160}'
                | '\u{17B4}'..='\u{17B5}'
                | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
                | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFF8}'
                | '\u{1BCA0}'..='\u{1BCA3}'
                | '\u{1D173}'..='\u{1D17A}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// Declares a text type. Its only constructor, `TryFrom<String>`, which serde uses too, checks for `$min`
/// to `$max` characters and then calls `$check`. `$pattern` documents `$check` in the OpenAPI document,
/// as an ECMA-262 regular expression.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $min:tt..=$max:tt, $pattern:tt, $example:tt, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[schema(value_type = String, min_length = $min, max_length = $max, pattern = $pattern, example = $example)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let check: fn(String) -> Result<String, String> = $check;
                $crate::text::check_length(&text, $min, $max)?;
                check(text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}
pub(crate) use text;

/// Declares a text type with [`check_printable`] and [`check_visible`] as its rules, stored as `$stored`
/// returns it.
///
/// The pattern lists invisible characters up to U+FFFF only: beyond, its syntax would depend on the
/// flag `u`.
macro_rules! visible_text {
    ($(#[$doc:meta])* $name:ident, $min:tt..=$max:tt, $example:tt, $stored:expr) => {
        $crate::text::text! {
            $(#[$doc])*
            $name, $min..=$max,
            "^[^\\x00-\\x08\\x0B-\\x1F\\x7F-\\x9F\\u202A-\\u202E\\u2066-\\u2069]*\
             [^\\x00-\\x20\\x7F-\\xA0\\xAD\\u034F\\u061C\\u115F\\u1160\\u1680\\u17B4\\u17B5\\u180B-\\u180F\
             \\u2000-\\u200F\\u2028-\\u202F\\u205F-\\u206F\\u2800\\u3000\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\
             \\uFFF0-\\uFFF8]\
             [^\\x00-\\x08\\x0B-\\x1F\\x7F-\\x9F\\u202A-\\u202E\\u2066-\\u2069]*$",
            $example,
            |text| {
                let stored: fn(String) -> String = $stored;
                $crate::text::check_printable(&text)?;
                $crate::text::check_visible(&text)?;
                Ok(stored(text))
            }
        }
    };
}
pub(crate) use visible_text;
