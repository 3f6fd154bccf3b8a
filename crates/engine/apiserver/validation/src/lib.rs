//! Validation of objects of built-in kinds: pure functions over JSON, one module a group of kinds. Paths, reasons, texts
//! and their order are those of Kubernetes 1.34, so that the Status bodies match. Metadata of the object itself is the
//! server's to check.

mod field;
pub mod get;
pub mod labels;
pub mod names;
pub mod scalars;

pub use field::{FieldError, Path, go_quoted, html_safe};
use serde_json::Value;

/// What is wrong with a new object, as it is after defaulting.
pub fn create(group: &str, _version: &str, plural: &str, object: &Value) -> Vec<FieldError> {
    let rules: fn(&Value) -> Vec<FieldError> = match (group, plural) {
        _ => return Vec::new(),
    };
    rules(object)
}

/// What is wrong with an object that is to replace an old one.
pub fn update(group: &str, _version: &str, plural: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let rules: fn(&Value, &Value) -> Vec<FieldError> = match (group, plural) {
        _ => return Vec::new(),
    };
    rules(new, old)
}

/// What is wrong with an object that is to replace an old one through a subresource. Subresources whose body is an
/// object of its own (`binding`, `eviction`) have that body as `new`.
pub fn update_subresource(
    group: &str,
    _version: &str,
    plural: &str,
    subresource: &str,
    new: &Value,
    old: &Value,
) -> Vec<FieldError> {
    let rules: fn(&Value, &Value) -> Vec<FieldError> = match (group, plural, subresource) {
        _ => return Vec::new(),
    };
    rules(new, old)
}
