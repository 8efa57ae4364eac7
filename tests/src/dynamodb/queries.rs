//! A `Query` that sees some items as they were before.

use serde_json::{Value, json};

use super::{Executed, ItemKey, Request};

/// An item that a query sees in place of the stored one.
pub(super) struct Replacement {
    pub(super) key: ItemKey,
    /// `None`: the query does not see the item.
    pub(super) item: Option<Value>,
}

/// Runs a query and applies the replacements. Returns also whether they made a difference.
///
/// The whole range is read first, because an item beyond the limit may take the place of an
/// invisible one.
pub(super) fn query_as_seen(
    request: &Request,
    replacements: &[Replacement],
    run: impl Fn(&Request) -> Executed,
) -> (Executed, bool) {
    let of_index = !request.body["IndexName"].is_null();
    if !replacements.iter().any(|replacement| concerns(request, replacement)) {
        return (run(request), false);
    }
    let mut whole = request.body.clone();
    whole.as_object_mut().expect("an object").remove("Limit");
    let mut executed = run(&request.with_body(whole));
    let Some(items) = executed.body["Items"].as_array_mut() else { return (executed, false) };
    let mut differs = false;
    for Replacement { key, item } in replacements {
        let position = items.iter().position(|found| ItemKey::of(found) == *key);
        let removed = position.map(|position| items.remove(position));
        let seen = match (&removed, item) {
            (_, Some(item)) if of_index => is_listed(request, item).then(|| projected_key(item)),
            (Some(_), Some(item)) => Some(project(request, item)),
            _ => None,
        };
        differs |= removed != seen;
        items.extend(seen);
    }
    let sort_key = if of_index { "id" } else { "sk" };
    items.sort_by_key(|item| item[sort_key]["S"].as_str().unwrap_or_default().to_owned());
    if request.body["ScanIndexForward"] == false {
        items.reverse();
    }
    let limit = request.body["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let last = match limit {
        Some(limit) if items.len() > limit => {
            items.truncate(limit);
            items
                .last()
                .map(|item| if of_index { item.clone() } else { ItemKey::of(item).to_json() })
        }
        _ => None,
    };
    executed.body["Count"] = json!(executed.body["Items"].as_array().map_or(0, Vec::len));
    if let Some(last) = last {
        executed.body["LastEvaluatedKey"] = last;
    }
    (executed, differs)
}

/// Returns whether a replacement may be in the range of a query.
fn concerns(request: &Request, Replacement { key, .. }: &Replacement) -> bool {
    let values = &request.body["ExpressionAttributeValues"];
    match values[":pk"]["S"].as_str() {
        Some(pk) => key.pk == pk,
        None => ["PROFILE", "CONVERSATION"].contains(&&*key.sk) || key.sk.starts_with("MEMBER#"),
    }
}

/// Returns whether the index listed an item in the range of a query.
fn is_listed(request: &Request, item: &Value) -> bool {
    let values = &request.body["ExpressionAttributeValues"];
    let before = values[":before"]["S"].as_str();
    let start = request.body["ExclusiveStartKey"]["id"]["S"].as_str();
    let id = item["id"]["S"].as_str().unwrap_or_default();
    item["listing"] == values[":listing"]
        && [before, start].into_iter().flatten().all(|bound| id < bound)
}

/// Returns the attributes that the index has.
fn projected_key(item: &Value) -> Value {
    let names = ["pk", "sk", "listing", "id"];
    names.iter().map(|name| ((*name).to_owned(), item[*name].clone())).collect()
}

/// Applies the projection of a query to an item.
fn project(request: &Request, item: &Value) -> Value {
    match request.body["ProjectionExpression"].as_str() {
        None => item.clone(),
        Some(names) => {
            let names = names.split(',').map(str::trim);
            names.map(|name| (name.to_owned(), item[name].clone())).collect()
        }
    }
}
