//! RuntimeClass.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::core::pod::options::Options;
use crate::core::pod::{resources, scheduling};
use crate::get::{given, items, text};
use crate::gojson::{self, Shape};
use crate::labels::{check, labels};
use crate::names::dns_label;
use crate::shared::{Errors, immutable};
use crate::{FieldError, Path};

const TOLERATION: Shape = Shape::Struct(&[
    ("Key", "key", Shape::Text),
    ("Operator", "operator", Shape::Text),
    ("Value", "value", Shape::Text),
    ("Effect", "effect", Shape::Text),
    ("TolerationSeconds", "tolerationSeconds", Shape::Same),
]);

/// What is wrong with a new RuntimeClass.
pub(crate) fn create(object: &Value) -> Errors {
    let root = Path::Root;
    let mut errors = check(dns_label, text(&object["handler"]), &root.child("handler"));
    if given(&object["overhead"]) {
        let limits = json!({"limits": object["overhead"]["podFixed"]});
        let path = root.child("overhead");
        errors.extend(crate::errors::Errors::of(|errors| {
            resources::container(&limits, &[], Options::default(), &path, errors);
        }));
    }
    if given(&object["scheduling"]) {
        errors.extend(placement(&object["scheduling"], &root.child("scheduling")));
    }
    errors
}

/// What is wrong with a RuntimeClass that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = create(new);
    errors.extend(immutable(
        &new["handler"],
        &old["handler"],
        &Path::Root.child("handler"),
    ));
    errors
}

fn placement(placement: &Value, path: &Path<'_>) -> Errors {
    let mut errors = labels(&placement["nodeSelector"], &path.child("nodeSelector"));
    let at = path.child("tolerations");
    let list = &placement["tolerations"];
    // The name stands twice in the path, upstream too.
    let within = at.child("tolerations");
    errors.extend(crate::errors::Errors::of(|errors| {
        scheduling::tolerations(list, &within, errors)
    }));
    let mut seen = HashSet::new();
    for (i, toleration) in items(list).iter().enumerate() {
        let key = ["key", "operator", "value", "effect"].map(|key| text(&toleration[key]));
        if !seen.insert(key) {
            let shown = gojson::text(&TOLERATION, toleration);
            errors.push(FieldError {
                reason: "FieldValueDuplicate",
                field: at.index(i).into(),
                message: format!("Duplicate value: {shown}"),
            });
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_a_handler_that_stays() {
        assert!(create(&json!({"handler": "runc"})).is_empty());
        assert_eq!(create(&json!({})).len(), 1);
        assert_eq!(update(&json!({"handler": "a"}), &json!({"handler": "b"})).len(), 1);
    }

    #[test]
    fn overhead_and_tolerations_are_checked() {
        let toleration = json!({"key": "k", "operator": "Exists"});
        let class = json!({
            "handler": "runc",
            "overhead": {"podFixed": {"cpu": "-1"}},
            "scheduling": {"tolerations": [toleration, toleration, {"operator": "X"}]},
        });
        let fields: Vec<String> = create(&class).into_iter().map(|e| e.field).collect();
        assert_eq!(
            fields,
            [
                "overhead.limits[cpu]",
                "scheduling.tolerations.tolerations[2].operator",
                "scheduling.tolerations.tolerations[2].operator",
                "scheduling.tolerations[1]",
            ]
        );
    }
}
