//! Selectors of lists and watches: labels and fields.

mod fields;
mod labels;

pub use fields::{FieldSelector, field_requirements};
pub use labels::LabelSelector;

use serde_json::Value;

use crate::object;

/// Both selectors of a request.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// Over labels.
    pub labels: LabelSelector,
    /// Over fields.
    pub fields: FieldSelector,
}

impl Selector {
    /// Whether everything matches.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an object matches.
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(|key| object::label(object, key)) && self.fields.matches(object)
    }
}

/// Whether a LabelSelector selects an object; an empty one selects everything, none nothing.
pub fn selects(selector: &Value, object: &Value) -> bool {
    let Some(map) = selector.as_object() else { return false };
    let labels = map.get("matchLabels").and_then(Value::as_object);
    let matched = labels
        .into_iter()
        .flatten()
        .all(|(k, v)| object::label(object, k) == v.as_str());
    let expressions = map.get("matchExpressions").and_then(Value::as_array);
    matched
        && expressions.into_iter().flatten().all(|e| {
            let have = e["key"].as_str().and_then(|key| object::label(object, key));
            let listed = || {
                e["values"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|v| v.as_str() == have && have.is_some())
            };
            match e["operator"].as_str() {
                Some("In") => listed(),
                Some("NotIn") => !listed(),
                Some("Exists") => have.is_some(),
                Some("DoesNotExist") => have.is_none(),
                _ => false,
            }
        })
}
