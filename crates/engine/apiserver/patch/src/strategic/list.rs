//! Merging lists: scalars as sets, objects by their merge key.

use super::{DIRECTIVE, Field, merge_map, order};
use crate::error::PatchError;
use crate::meta::{go_format, json_type};
use crate::schema::SchemaNode;
use serde_json::Value;

/// Merges two lists the way the field's strategy asks; `deletes` means that `patch` lists scalars to take out.
pub(super) fn merge<S: SchemaNode>(
    original: Vec<Value>,
    patch: Vec<Value>,
    field: &Field<S>,
    deletes: bool,
    depth: usize,
) -> Result<Vec<Value>, PatchError> {
    if !field.strategy.merge && !deletes {
        return Ok(patch);
    }
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !check_same_type(&original, &patch)? {
        return merge_scalars(original, patch, field.merge_key.as_deref(), deletes);
    }
    let Some(key) = field.merge_key.as_deref() else {
        return Err(PatchError::NoKeyForList {
            name: "the list's items".to_owned(),
        });
    };
    let (original, patch) = take_directives(original, patch, key)?;
    let mut merged = original.clone();
    for item in &patch {
        let value = item.get(key).ok_or_else(|| no_key(item, key))?;
        match position(&merged, key, value)? {
            Some(index) => {
                let (Value::Object(before), Value::Object(after)) = (merged[index].take(), item.clone()) else {
                    return Err(PatchError::BadArgument {
                        wanted: "object",
                        found: json_type(item),
                    });
                };
                merged[index] = Value::Object(merge_map(before, after, field.schema.as_ref(), depth + 1)?);
            }
            None => merged.push(item.clone()),
        }
    }
    order::arrange(merged, &patch, &original, Some(key))
}

fn merge_scalars(
    original: Vec<Value>,
    patch: Vec<Value>,
    key: Option<&str>,
    deletes: bool,
) -> Result<Vec<Value>, PatchError> {
    if deletes {
        return Ok(original.into_iter().filter(|item| !patch.contains(item)).collect());
    }
    let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
    for item in original.iter().chain(&patch) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    order::arrange(merged, &patch, &original, key)
}

/// Whether the items are objects; refuses lists of lists and lists of mixed types.
pub(super) fn check_same_type(original: &[Value], patch: &[Value]) -> Result<bool, PatchError> {
    let mut first = None;
    for item in original.iter().chain(patch) {
        if item.is_array() {
            return Err(PatchError::ListOfLists);
        }
        let same = match (*first.get_or_insert(item), item) {
            (Value::Number(left), Value::Number(right)) => left.is_f64() == right.is_f64(),
            (left, right) => json_type(left) == json_type(right),
        };
        if !same {
            let lists = [
                go_format(&Value::from(original.to_vec())),
                go_format(&Value::from(patch.to_vec())),
            ];
            return Err(PatchError::MixedTypes {
                lists: format!("[{}]", lists.join(" ")),
            });
        }
    }
    Ok(first.is_some_and(Value::is_object))
}

/// Carries out `$patch` directives among the items: deleted ones leave `original`, a replace empties it.
fn take_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replaces = false;
    for item in patch {
        let Some(directive) = item.get(DIRECTIVE) else {
            rest.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let value = item.get(key).ok_or_else(|| no_key(&item, key))?;
                original.retain(|before| before.get(key) != Some(value));
            }
            Some("replace") => replaces = true,
            Some("merge") => return Err(PatchError::MergeDirectiveInList),
            _ => {
                let (directive, map) = (go_format(directive), go_format(&item));
                return Err(PatchError::UnknownDirective { directive, map });
            }
        }
    }
    if replaces {
        return Ok((rest, Vec::new()));
    }
    Ok((original, rest))
}

/// Index of the item whose `key` has this value.
pub(super) fn position(items: &[Value], key: &str, value: &Value) -> Result<Option<usize>, PatchError> {
    for (index, item) in items.iter().enumerate() {
        let Value::Object(object) = item else {
            return Err(PatchError::BadArgument {
                wanted: "map[string]interface {}",
                found: json_type(item),
            });
        };
        if object.get(key) == Some(value) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

pub(super) fn no_key(item: &Value, key: &str) -> PatchError {
    PatchError::NoMergeKey {
        item: go_format(item),
        key: key.to_owned(),
    }
}
