//! JSON bodies. Each field is checked by its type's own constructor, and all invalid fields are
//! reported together.
//!
//! serde's derive stops at the first error, and a validator that runs after it never sees a wrong type
//! or an unknown field. So the body is read as an object, and its fields are taken one by one.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use shared::error::FieldErrors;
use shared::json::Members;

use super::error::Error;
use super::invocation::Invocation;

/// The fields of a JSON object that no handler has taken yet, and the errors so far.
#[derive(Debug, Default)]
pub struct Fields {
    left: BTreeMap<String, Box<RawValue>>,
    errors: FieldErrors,
}

impl Invocation {
    /// Returns the fields of a JSON body. Errors: 400 malformed, 415, 422 not an object.
    pub fn json(&self) -> Result<Fields, Error> {
        Fields::parse(self.body(&["application/json"])?)
    }

    /// Returns the fields of a JSON body; none if there is no body. Errors: as
    /// [`Invocation::json`].
    pub fn json_or_nothing(&self) -> Result<Fields, Error> {
        if self.has_body() { self.json() } else { Ok(Fields::default()) }
    }

    /// Returns the fields of a JSON merge patch (RFC 7396). Errors: 400 malformed, 415, 422 not an
    /// object.
    pub fn merge_patch(&self) -> Result<Fields, Error> {
        Fields::parse(self.body(&["application/merge-patch+json", "application/json"])?)
    }
}

impl Fields {
    /// Parses a JSON object. Errors: 400 malformed, 422 not an object.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        let malformed = |error| Error::Malformed(format!("The body is not JSON: {error}."));
        let json: &RawValue = serde_json::from_slice(body).map_err(malformed)?;
        if !json.get().starts_with('{') {
            return Err(shared::Error::invalid("body", "must be a JSON object").into());
        }
        let Members(members) = serde_json::from_str(json.get()).map_err(malformed)?;
        let mut fields = Self { left: BTreeMap::new(), errors: FieldErrors::new() };
        for (name, value) in members {
            if fields.left.insert(name.clone(), value).is_some() {
                fields.reject(&name, "is given more than once".into());
            }
        }
        Ok(fields)
    }

    /// Takes a field that must be present.
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> shared::Result<T> {
        match self.left.remove(name) {
            Some(value) => self.read(name, &value),
            None => Err(self.reject(name, "is required".into())),
        }
    }

    /// Takes a number that must be present.
    pub fn required_number<T>(&mut self, name: &str) -> shared::Result<T>
    where
        T: FromStr<Err: Display>,
    {
        match self.left.remove(name) {
            Some(value) => {
                value.get().parse().map_err(|e: T::Err| self.reject(name, e.to_string()))
            }
            None => Err(self.reject(name, "is required".into())),
        }
    }

    /// Takes a field that has a default.
    pub fn optional<T: DeserializeOwned + Default>(&mut self, name: &str) -> shared::Result<T> {
        let value = self.left.remove(name);
        value.map_or_else(|| Ok(T::default()), |value| self.read(name, &value))
    }

    /// Takes a field of a merge patch that has no default: if absent it keeps its value, and `null` is
    /// invalid.
    pub fn change<T: DeserializeOwned>(&mut self, name: &str) -> shared::Result<Option<T>> {
        self.left.remove(name).map(|value| self.read(name, &value)).transpose()
    }

    /// Takes a field of a merge patch that has a default: if absent it keeps its value, and `null`
    /// resets it.
    pub fn change_or_reset<T>(&mut self, name: &str) -> shared::Result<Option<T>>
    where
        T: DeserializeOwned + Default,
    {
        match self.left.remove(name) {
            Some(value) if value.get() == "null" => Ok(Some(T::default())),
            Some(value) => self.read(name, &value).map(Some),
            None => Ok(None),
        }
    }

    /// Fails with all errors of the fields taken, and of the fields that no handler took.
    pub fn finish(mut self) -> shared::Result<()> {
        for name in std::mem::take(&mut self.left).into_keys() {
            self.reject(&name, "is unknown or read-only".into());
        }
        if self.errors.is_empty() { Ok(()) } else { Err(shared::Error::Invalid(self.errors)) }
    }

    fn read<T: DeserializeOwned>(&mut self, name: &str, value: &RawValue) -> shared::Result<T> {
        serde_json::from_str(value.get()).map_err(|error| self.reject(name, reason(&error)))
    }

    /// Records the error of a field.
    pub(crate) fn reject(&mut self, name: &str, reason: String) -> shared::Error {
        self.errors.entry(name.into()).or_default().push(reason.clone());
        shared::Error::invalid(name, reason)
    }
}

/// Returns why a field's value is invalid, in words that follow the field's name.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The position is relative to the field, not to the body.
    let text = text.split(" at line ").next().unwrap_or_default();
    match text.strip_prefix("invalid type: ").and_then(|text| text.rsplit_once(", expected ")) {
        Some((_, "a map")) => "must be a JSON object".into(),
        Some((_, expected)) => format!("must be {expected}"),
        None if error.is_syntax() => format!("must be valid JSON: {text}"),
        None => text.into(),
    }
}
