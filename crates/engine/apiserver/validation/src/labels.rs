//! Labels, annotations and selectors inside an object's spec.

use serde_json::Value;

use crate::get::{entries, items, text};
use crate::names::{label_value, qualified};
use crate::{FieldError, Path};

/// Bytes of all annotations at most.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// A check of a text as field errors.
pub fn check(check: fn(&str) -> Vec<String>, value: &str, field: &Path) -> Vec<FieldError> {
    check(value)
        .iter()
        .map(|wrong| FieldError::invalid(field, value, wrong))
        .collect()
}

/// A map of labels.
pub fn labels(labels: &Value, field: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in entries(labels) {
        errors.extend(check(qualified, key, field));
        errors.extend(check(label_value, text(value), field));
    }
    errors
}

/// A map of annotations.
pub fn annotations(annotations: &Value, field: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut bytes = 0;
    for (key, value) in entries(annotations) {
        let wrong = qualified(&key.to_lowercase());
        errors.extend(wrong.iter().map(|w| FieldError::invalid(field, key, w)));
        bytes += key.len() + text(value).len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(field, ANNOTATIONS_BYTES_MAX));
    }
    errors
}

/// A selector of labels (upstream `ValidateLabelSelector`); `lenient` lets invalid values pass, for objects that had
/// them before.
pub fn selector(selector: &Value, lenient: bool, field: &Path) -> Vec<FieldError> {
    let mut errors = labels(&selector["matchLabels"], &field.child("matchLabels"));
    let expressions = field.child("matchExpressions");
    for (i, expression) in items(&selector["matchExpressions"]).iter().enumerate() {
        errors.extend(requirement(expression, lenient, &expressions.index(i)));
    }
    errors
}

fn requirement(expression: &Value, lenient: bool, field: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let values = items(&expression["values"]);
    match text(&expression["operator"]) {
        "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
            field.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
            field.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(FieldError::invalid(
            field.child("operator"),
            other,
            "not a valid selector operator",
        )),
    }
    errors.extend(check(qualified, text(&expression["key"]), &field.child("key")));
    if !lenient {
        for (i, value) in values.iter().enumerate() {
            errors.extend(check(label_value, text(value), &field.child("values").index(i)));
        }
    }
    errors
}

/// Whether a selector holds values that labels cannot have.
pub fn has_invalid_value(selector: &Value) -> bool {
    items(&selector["matchExpressions"])
        .iter()
        .flat_map(|e| items(&e["values"]))
        .any(|v| !label_value(text(v)).is_empty())
}

/// Whether a selector selects everything that is given nothing to select by.
pub fn selects_all(selector: &Value) -> bool {
    crate::get::count(&selector["matchLabels"]) + crate::get::count(&selector["matchExpressions"]) == 0
}

/// Whether a selector selects what has these labels.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let by_label = entries(&selector["matchLabels"])
        .into_iter()
        .all(|(key, value)| labels.get(key).is_some_and(|l| text(l) == text(value)));
    by_label
        && items(&selector["matchExpressions"]).iter().all(|e| {
            let label = labels.get(text(&e["key"])).map(text);
            let listed = label.is_some_and(|l| items(&e["values"]).iter().any(|v| text(v) == l));
            match text(&e["operator"]) {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_checked_and_match() {
        let field = Path::Root.child("selector");
        let good = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]});
        assert!(selector(&good, false, &field).is_empty());
        assert!(matches(&good, &json!({"a": "b"})) && !matches(&good, &json!({"a": "b", "c": "d"})));
        let bad = json!({"matchExpressions": [{"key": "", "operator": "In"}, {"key": "a", "operator": "X"}]});
        let fields: Vec<String> = selector(&bad, false, &field).into_iter().map(|e| e.field).collect();
        assert_eq!(fields[0], "selector.matchExpressions[0].values");
        assert_eq!(fields.last().unwrap(), "selector.matchExpressions[1].operator");
    }
}
