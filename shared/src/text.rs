//! Rules that the texts of all resources share: length and forbidden characters.

/// The largest body of a request, in bytes after decoding.
pub const MAX_BODY: usize = 96 * 1024;

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

/// Checks that `text` has no control characters but line feed and tab.
pub fn check_printable(text: &str) -> Result<(), String> {
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        Err("must not have control characters other than line feed and tab".into())
    } else {
        Ok(())
    }
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
