//! JSON without loss: duplicate members stay visible, and numbers keep their spelling.

use std::fmt::{self, Write};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of a JSON object, in order, duplicates included.
#[derive(Debug)]
pub struct Members(pub Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Returns JSON text without the white space between its tokens. Everything else, numbers included,
/// keeps its spelling.
pub(crate) fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        let keep = in_string || !matches!(c, ' ' | '\n' | '\r' | '\t');
        in_string ^= *c == '"' && !escaped;
        escaped = in_string && *c == '\\' && !escaped;
        keep
    };
    json.chars().filter(keep).collect()
}

/// Returns JSON in a canonical form, equal for all texts of one value: members sorted, strings with
/// one spelling. Numbers keep their spelling.
///
/// # Errors
/// An object with two members of one name, more than `levels` nested arrays and objects, or a
/// value that common JSON parsers refuse, such as `1e400` or a lone surrogate.
pub(crate) fn canonical(json: &str, levels: usize) -> Result<String, String> {
    let mut canonical = String::with_capacity(json.len());
    write_canonical(json, levels, &mut canonical)?;
    Ok(canonical)
}

fn write_canonical(json: &str, levels: usize, out: &mut String) -> Result<(), String> {
    let refused = |error: serde_json::Error| {
        // The position is relative to a part of the text.
        let reason = error.to_string();
        format!("must be valid JSON: {}", reason.split(" at line ").next().unwrap_or_default())
    };
    let deeper = || levels.checked_sub(1).ok_or("must not be nested more deeply than 32 levels");
    match json.as_bytes().first() {
        Some(b'{') => {
            let levels = deeper()?;
            let Members(mut members) = serde_json::from_str(json).map_err(refused)?;
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            if let Some(twice) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(format!("must not have two members named {:?}", twice[0].0));
            }
            let mut separator = '{';
            for (name, value) in &members {
                let name = serde_json::to_string(name).map_err(refused)?;
                let _ = write!(out, "{separator}{name}:");
                write_canonical(value.get(), levels, out)?;
                separator = ',';
            }
            out.push_str(if members.is_empty() { "{}" } else { "}" });
        }
        Some(b'[') => {
            let levels = deeper()?;
            let values: Vec<&RawValue> = serde_json::from_str(json).map_err(refused)?;
            let mut separator = '[';
            for value in &values {
                out.push(separator);
                write_canonical(value.get(), levels, out)?;
                separator = ',';
            }
            out.push_str(if values.is_empty() { "[]" } else { "]" });
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(json).map_err(refused)?;
            out.push_str(&serde_json::to_string(&text).map_err(refused)?);
        }
        _ => {
            serde_json::from_str::<serde_json::Value>(json).map_err(refused)?;
            out.push_str(json);
        }
    }
    Ok(())
}

/// Applies a JSON merge patch (RFC 7396) to a JSON object. What the patch does not name keeps its
/// spelling.
pub(crate) fn merge(target: &str, patch: &str) -> serde_json::Result<String> {
    let Members(patch) = serde_json::from_str(patch)?;
    let mut members = match target.starts_with('{') {
        true => serde_json::from_str::<Members>(target)?.0,
        false => Vec::new(),
    };
    for (name, value) in patch {
        let index = members.iter().position(|(other, _)| *other == name);
        let value = value.get();
        if value == "null" {
            if let Some(index) = index {
                members.remove(index);
            }
            continue;
        }
        let merged = if value.starts_with('{') {
            let current = index.map_or("", |index| members[index].1.get());
            RawValue::from_string(merge(current, value)?)?
        } else {
            RawValue::from_string(value.to_owned())?
        };
        match index {
            Some(index) => members[index].1 = merged,
            None => members.push((name, merged)),
        }
    }
    let members: Vec<String> = members
        .into_iter()
        .map(|(name, value)| Ok(format!("{}:{}", serde_json::to_string(&name)?, value.get())))
        .collect::<serde_json::Result<_>>()?;
    Ok(format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    fn canonical(json: &str) -> Result<String, String> {
        super::canonical(json, 32)
    }

    #[test]
    fn two_spellings_of_one_value_are_equal() {
        let one = canonical(r#"{ "b" : [1.0, true], "a": "\u0041\/" }"#);
        assert_eq!(one, canonical(r#"{"a":"A/","b":[1.0,true]}"#));
        assert_ne!(one, canonical(r#"{"a":"A/","b":[1,true]}"#), "numbers keep their spelling");
    }

    #[test]
    fn a_merge_patch_merges_objects_and_removes_members() {
        // Source: RFC 7396, appendix A.
        for (target, patch, merged) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":1.0}"#, r#"{"a":1.10}"#, r#"{"e":1.0,"a":1.10}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(super::merge(target, patch).expect("objects"), merged, "{target} {patch}");
        }
    }

    #[test]
    fn duplicate_members_deep_nesting_and_unusual_values_are_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(canonical(&nested(32)).is_ok());
        for json in [r#"{"a":1,"\u0061":2}"#, &nested(33), "1e400", r#""\ud800""#] {
            assert!(canonical(json).is_err(), "{json}");
        }
    }
}
