//! Selectors of lists and watches: labels and fields.

mod fields;
mod labels;

pub use fields::FieldSelector;
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
