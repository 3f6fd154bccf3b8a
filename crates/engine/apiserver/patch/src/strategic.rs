//! Strategic merge patch: a merge patch whose lists merge by key, as the schema says, and that carries directives.
//!
//! Directives: `$patch: replace|delete`, `$retainKeys`, `$deleteFromPrimitiveList/<field>`, `$setElementOrder/<field>`.
//! Follows k8s.io/apimachinery's `StrategicMergePatch`, including which mistakes are refused and how.

mod list;
mod order;

use crate::decode::{self, Decoded};
use crate::error::PatchError;
use crate::meta::{go_format, json_type};
use crate::schema::{Additional, PatchStrategy, SchemaNode, SchemaType};
use serde_json::{Map, Value};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";
/// Nesting followed; decoded documents stay below it.
const DEPTH_MAX: usize = 256;

/// Reads a strategic merge patch; anything but a JSON object is refused.
pub fn parse(bytes: &[u8]) -> Result<Decoded, PatchError> {
    let decoded = decode::json_untyped(bytes)?;
    match &decoded.value {
        Value::Object(_) => Ok(decoded),
        Value::Null => Ok(Decoded {
            value: Value::Object(Map::new()),
            ..decoded
        }),
        other => Err(PatchError::WrongType {
            found: json_type(other),
            wanted: "map[string]interface {}",
        }),
    }
}

/// Applies `patch` to `original` by the schema of the object.
pub fn apply<S: SchemaNode>(original: Value, patch: Value, schema: &S) -> Result<Value, PatchError> {
    let original = match original {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    let Value::Object(patch) = patch else {
        return Err(PatchError::WrongType {
            found: json_type(&patch),
            wanted: "map[string]interface {}",
        });
    };
    merge_map(original, patch, Some(schema), 0).map(Value::Object)
}

/// What the schema says of one field, for merging.
struct Field<S> {
    /// Schema of the field, or of the items when it is looked up as a list.
    schema: Option<S>,
    strategy: PatchStrategy,
    merge_key: Option<String>,
}

/// Looks a field up; below fields without a declared structure nothing is known and nothing is refused.
fn lookup<S: SchemaNode>(schema: Option<&S>, name: &str, as_list: bool) -> Result<Field<S>, PatchError> {
    let free = Field {
        schema: None,
        strategy: PatchStrategy::default(),
        merge_key: None,
    };
    let Some(schema) = schema else { return Ok(free) };
    let found = match (schema.property(name), schema.additional_properties()) {
        (Some(property), _) => property,
        (None, Additional::Schema(values)) => values,
        (None, Additional::Any) => return Ok(free),
        (None, _) if schema.preserve_unknown() || !schema.has_properties() => return Ok(free),
        (None, _) => return Err(PatchError::UnknownField { field: name.to_owned() }),
    };
    let (strategy, merge_key) = (
        found.patch_strategy(),
        found.merge_key().map(std::borrow::Cow::into_owned),
    );
    let schema = if as_list && found.schema_type() == SchemaType::Array {
        found.items()
    } else {
        Some(found)
    };
    Ok(Field {
        schema,
        strategy,
        merge_key,
    })
}

fn merge_map<S: SchemaNode>(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    schema: Option<&S>,
    depth: usize,
) -> Result<Map<String, Value>, PatchError> {
    if depth > DEPTH_MAX {
        return Err(PatchError::TooDeep { limit: DEPTH_MAX });
    }
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Map::new()),
            _ => {
                let text = go_format(&directive);
                patch.insert(DIRECTIVE.to_owned(), directive);
                Err(PatchError::UnknownDirective {
                    directive: text,
                    map: go_format(&Value::Object(patch)),
                })
            }
        };
    }
    retain_keys(&mut original, &mut patch)?;
    order::apply_directives(&mut original, &mut patch, schema, depth)?;

    for (key, value) in in_name_order(patch) {
        let (name, deletes) = match key.strip_prefix(DELETE_FROM_LIST) {
            Some(rest) => (
                rest.strip_prefix('/')
                    .ok_or(PatchError::PrimitiveListFormat)?
                    .to_owned(),
                true,
            ),
            None => (key, false),
        };
        if value.is_null() {
            original.remove(&name);
            continue;
        }
        let before = match (original.remove(&name), &value) {
            (Some(Value::Object(before)), Value::Object(_)) => Value::Object(before),
            (Some(Value::Array(before)), Value::Array(_)) => Value::Array(before),
            (before, _) => {
                // Nothing to merge with: take the patch's value, or leave what a deletion doesn't fit.
                let after = if deletes {
                    before
                } else {
                    without_directives(without_nulls(value))
                };
                if let Some(after) = after {
                    original.insert(name, after);
                }
                continue;
            }
        };
        let merged = match (before, value) {
            (Value::Object(before), Value::Object(value)) => {
                let field = lookup(schema, &name, false)?;
                if field.strategy.replace {
                    Value::Object(value)
                } else {
                    Value::Object(merge_map(before, value, field.schema.as_ref(), depth + 1)?)
                }
            }
            (Value::Array(before), Value::Array(value)) => {
                let field = lookup(schema, &name, true)?;
                Value::Array(list::merge(before, value, &field, deletes, depth)?)
            }
            (_, value) => value,
        };
        original.insert(name, merged);
    }
    Ok(original)
}

/// The fields by name, so that the result never depends on how the map keeps them (deletions come before additions).
fn in_name_order(object: Map<String, Value>) -> Vec<(String, Value)> {
    let mut fields: Vec<_> = object.into_iter().collect();
    fields.sort_by(|left, right| left.0.cmp(&right.0));
    fields
}

/// Applies `$retainKeys`: every field of the original that isn't listed goes.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(directive) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(keys) = directive else {
        return Err(PatchError::RetainKeysFormat);
    };
    let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
    for (name, value) in patch.iter() {
        let directive = name.starts_with(DELETE_FROM_LIST) || name.starts_with(SET_ELEMENT_ORDER);
        if !value.is_null() && !directive && !keys.contains(&name.as_str()) {
            return Err(PatchError::RetainKeysFormat);
        }
    }
    original.retain(|name, _| keys.contains(&name.as_str()));
    Ok(())
}

/// The value without the nulls that would delete something, at any depth.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        scalar => scalar,
    }
}

/// The value without objects that carry a `$patch` directive; `None` if it is one itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(object) if object.contains_key(DIRECTIVE) => None,
        Value::Object(object) => {
            let kept = object
                .into_iter()
                .filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        scalar => Some(scalar),
    }
}

#[cfg(test)]
mod tests;
