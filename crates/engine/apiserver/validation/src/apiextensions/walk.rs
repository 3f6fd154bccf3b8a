//! All schemas within a schema.

use serde_json::Value;

use crate::get::{entries, items};

/// How deep schemas are looked into; the API cannot carry deeper ones.
pub(super) const DEPTH_MAX: usize = 400;

/// Whether any schema within has a property.
pub(super) fn any(schema: &Value, has: fn(&Value) -> bool) -> bool {
    let mut left = vec![(schema, 0)];
    while let Some((schema, depth)) = left.pop() {
        if !schema.is_object() || depth > DEPTH_MAX {
            continue;
        }
        if has(schema) {
            return true;
        }
        left.extend(below(schema).into_iter().map(|inner| (inner, depth + 1)));
    }
    false
}

fn below(schema: &Value) -> Vec<&Value> {
    let mut inner: Vec<&Value> = ["items", "not", "additionalProperties", "additionalItems"]
        .iter()
        .map(|key| &schema[*key])
        .collect();
    for key in ["items", "allOf", "anyOf", "oneOf"] {
        inner.extend(items(&schema[key]));
    }
    for key in ["properties", "patternProperties", "definitions", "dependencies"] {
        inner.extend(entries(&schema[key]).into_iter().map(|(_, value)| value));
    }
    inner
}
