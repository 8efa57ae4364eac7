//! JSON bodies: each field is checked by its type's own constructor, and all that is wrong is told at once.
//!
//! serde's derive stops at the first error, and validators that run after it never see a wrong type or an unknown field; so the
//! body is read as an object and its fields are taken from it one by one.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use shared::error::FieldErrors;
use shared::{Error, Result};

use crate::http::{Invocation, is_patch};

/// The fields of a JSON object, as they are taken from it.
#[derive(Debug)]
pub struct Fields {
    left: BTreeMap<String, Box<RawValue>>,
    errors: FieldErrors,
}

impl Invocation {
    /// The fields of the body.
    pub fn fields(&self) -> Result<Fields> {
        let body = if is_patch(self) {
            let refusal = "The body must be application/merge-patch+json or application/json.";
            self.body(&["application/merge-patch+json", "application/json"], refusal)?
        } else {
            self.body(&["application/json"], "The body must be application/json.")?
        };
        let json: &RawValue = serde_json::from_slice(body).map_err(not_json)?;
        if !json.get().starts_with('{') {
            return Err(Error::invalid("body", "must be a JSON object"));
        }
        Ok(Fields { left: serde_json::from_str(json.get()).map_err(not_json)?, errors: FieldErrors::new() })
    }
}

fn not_json(error: serde_json::Error) -> Error {
    Error::Malformed(format!("The body is not JSON: {error}."))
}

impl Fields {
    /// A field that must be there.
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        match self.left.remove(name) {
            Some(value) => self.parse(name, &value),
            None => Err(self.wrong(name, "is required".into())),
        }
    }

    /// A field that has a default.
    pub fn optional<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T> {
        self.left.remove(name).map_or_else(|| Ok(T::default()), |value| self.parse(name, &value))
    }

    /// A field of a merge patch (RFC 7396) that has no default: absent leaves it as it is, `null` is refused.
    pub fn change<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        self.left.remove(name).map(|value| self.parse(name, &value)).transpose()
    }

    /// A field of a merge patch that has a default: absent leaves it as it is, `null` resets it.
    pub fn change_or_reset<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<Option<T>> {
        match self.left.remove(name) {
            Some(value) if value.get() == "null" => Ok(Some(T::default())),
            Some(value) => self.parse(name, &value).map(Some),
            None => Ok(None),
        }
    }

    /// Fails when any field taken was not valid, or any is left that nobody took.
    pub fn finish(mut self) -> Result<()> {
        for name in std::mem::take(&mut self.left).into_keys() {
            self.wrong(&name, "is unknown or read-only".into());
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid(self.errors)) }
    }

    fn parse<T: DeserializeOwned>(&mut self, name: &str, value: &RawValue) -> Result<T> {
        serde_json::from_str(value.get()).map_err(|error| {
            let why = error.to_string();
            // The position is one in the field, not in the body.
            let why = why.split(" at line ").next().unwrap_or_default();
            self.wrong(name, why.into())
        })
    }

    fn wrong(&mut self, name: &str, why: String) -> Error {
        self.errors.entry(name.into()).or_default().push(why.clone());
        Error::invalid(name, why)
    }
}
