//! PriorityClass.

use serde_json::Value;

use crate::get::{flag, int, optional_text, text};
use crate::shared::{Errors, immutable};
use crate::{FieldError, Path};

const SYSTEM_PREFIX: &str = "system-";
const USER_PRIORITY_MAX: i64 = 1_000_000_000;
/// Classes of the system with their values.
const SYSTEM_CLASSES: [(&str, i64); 2] = [
    ("system-node-critical", 2_000_001_000),
    ("system-cluster-critical", 2_000_000_000),
];

/// What is wrong with a new PriorityClass.
pub(crate) fn create(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let name = text(&object["metadata"]["name"]);
    let value = int(&object["value"]);
    if name.starts_with(SYSTEM_PREFIX) {
        if let Some(fault) = system_fault(name, value, flag(&object["globalDefault"])) {
            let detail = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {fault}"
            );
            errors.push(FieldError::forbidden("metadata.name", &detail));
        }
    } else if value > USER_PRIORITY_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        errors.push(FieldError::forbidden("value", &detail));
    }
    let policies = ["PreemptLowerPriority", "Never"];
    match optional_text(&object["preemptionPolicy"]) {
        Some("") => errors.push(FieldError::required("preemptionPolicy", "")),
        Some(policy) if !policies.contains(&policy) => {
            errors.push(FieldError::not_supported("preemptionPolicy", policy, &policies));
        }
        _ => {}
    }
    errors
}

fn system_fault(name: &str, value: i64, default: bool) -> Option<String> {
    match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, fixed)) if *fixed != value => Some(format!("value of {name} PriorityClass must be {fixed}")),
        Some(_) if default => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
    }
}

/// What is wrong with a PriorityClass that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    if int(&new["value"]) != int(&old["value"]) {
        errors.push(FieldError::forbidden("value", "may not be changed in an update."));
    }
    let key = "preemptionPolicy";
    errors.extend(immutable(&new[key], &old[key], &Path::Root.child(key)));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn users_stay_below_the_system() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
        assert!(create(&class("a", USER_PRIORITY_MAX)).is_empty());
        assert!(create(&class("system-node-critical", 2_000_001_000)).is_empty());
        for (name, value) in [
            ("a", USER_PRIORITY_MAX + 1),
            ("system-x", 1),
            ("system-node-critical", 1),
        ] {
            assert_eq!(create(&class(name, value)).len(), 1, "{name}");
        }
    }

    #[test]
    fn the_value_stays() {
        assert_eq!(update(&json!({"value": 2}), &json!({"value": 1})).len(), 1);
    }
}
