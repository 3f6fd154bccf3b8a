//! The order of merged lists: `$setElementOrder` first, then the patch's order, then the live order.

use super::{DIRECTIVE, SET_ELEMENT_ORDER, list, lookup, without_directives};
use crate::error::PatchError;
use crate::meta::{go_format, json_type};
use crate::schema::SchemaNode;
use serde_json::{Map, Value};

/// Carries out each `$setElementOrder/<field>` together with the list it orders, and takes both out of the patch.
pub(super) fn apply_directives<S: SchemaNode>(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    schema: Option<&S>,
    depth: usize,
) -> Result<(), PatchError> {
    let mut directives: Vec<String> = patch
        .keys()
        .filter(|name| name.starts_with(SET_ELEMENT_ORDER))
        .cloned()
        .collect();
    directives.sort();
    for directive in directives {
        let order = match patch.remove(&directive) {
            Some(Value::Array(order)) => order,
            other => return Err(not_a_list(other.as_ref())),
        };
        let name = directive
            .strip_prefix(SET_ELEMENT_ORDER)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(PatchError::SetElementOrderFormat)?;
        let before = as_list(original.get(name))?;
        let change = as_list(patch.get(name))?;
        let field = lookup(schema, name, true)?;
        let key = field.merge_key.as_deref();
        check_consistent(change.as_deref().unwrap_or_default(), &order, key)?;

        let live = before.clone().unwrap_or_default();
        let merged = match (before, change) {
            (None, None) => continue,
            (Some(before), None) => before,
            (None, Some(change)) => match without_directives(Value::Array(change)) {
                Some(Value::Array(items)) => items,
                _ => continue,
            },
            (Some(before), Some(change)) => list::merge(before, change, &field, false, depth)?,
        };
        patch.remove(name);
        original.insert(name.to_owned(), Value::Array(arrange(merged, &order, &live, key)?));
    }
    Ok(())
}

fn not_a_list(found: Option<&Value>) -> PatchError {
    PatchError::BadArgument {
        wanted: "[]interface {}",
        found: found.map_or("null", json_type),
    }
}

fn as_list(value: Option<&Value>) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        other => Err(not_a_list(other)),
    }
}

/// The patch's items must appear in the order list, in the same order; deletions don't count.
fn check_consistent(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut wanted = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let value = identity(item, key)?;
        let mut found = false;
        for other in wanted.by_ref() {
            if identity(other, key)? == value {
                found = true;
                break;
            }
        }
        if !found {
            let format = |items: &[Value]| go_format(&Value::from(items.to_vec()));
            return Err(PatchError::OrderMismatch {
                patch: format(patch),
                order: format(order),
            });
        }
    }
    Ok(())
}

/// What an item is recognised by: its merge key's value, or itself.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> Result<&'a Value, PatchError> {
    let Some(key) = key else { return Ok(item) };
    match item {
        Value::Object(object) => object.get(key).ok_or_else(|| list::no_key(item, key)),
        other => Err(PatchError::BadArgument {
            wanted: "map[string]interface {}",
            found: json_type(other),
        }),
    }
}

/// Orders `merged`: items named in `order` follow it, the others keep their `live` order, and the two are interleaved
/// so that an item that was in front of another in `live` stays there where possible.
pub(super) fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    live: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    let ranks = |items: &[Value]| -> Result<Vec<Value>, PatchError> {
        items.iter().map(|item| identity(item, key).cloned()).collect()
    };
    let (order, live) = (ranks(order)?, ranks(live)?);
    let rank = |ranks: &[Value], value: &Value| ranks.iter().position(|other| other == value);

    let mut ordered = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let value = identity(&item, key)?.clone();
        let in_live = rank(&live, &value);
        match rank(&order, &value) {
            Some(position) => ordered.push((position, in_live, item)),
            None => others.push((in_live.unwrap_or(usize::MAX), in_live, item)),
        }
    }
    ordered.sort_by_key(|(position, ..)| *position);
    others.sort_by_key(|(position, ..)| *position);

    let mut arranged = Vec::with_capacity(ordered.len() + others.len());
    let (mut ordered, mut others) = (ordered.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let take_other = match (others.peek(), ordered.peek()) {
            (Some((_, Some(left), _)), Some((_, Some(right), _))) => left < right,
            (Some(_), None) => true,
            (_, Some(_)) => false,
            (None, None) => return Ok(arranged),
        };
        let next = if take_other { others.next() } else { ordered.next() };
        arranged.extend(next.map(|(.., item)| item));
    }
}
