//! Lease.

use serde_json::Value;

use crate::get::{optional_int, optional_text, text};
use crate::labels::check;
use crate::names::qualified;
use crate::shared::Errors;
use crate::{FieldError, Path};

/// The strategies that upstream defines.
const STRATEGIES: [&str; 1] = ["OldestEmulationVersion"];

/// What is wrong with a Lease.
pub(crate) fn create(object: &Value) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    if let Some(seconds) = optional_int(&spec["leaseDurationSeconds"])
        && seconds <= 0
    {
        let field = path.child("leaseDurationSeconds");
        errors.push(FieldError::invalid(field, seconds, "must be greater than 0"));
    }
    if let Some(transitions) = optional_int(&spec["leaseTransitions"])
        && transitions < 0
    {
        let field = path.child("leaseTransitions");
        errors.push(FieldError::invalid(
            field,
            transitions,
            "must be greater than or equal to 0",
        ));
    }
    if let Some(strategy) = optional_text(&spec["strategy"]) {
        // The name stands twice in the path, upstream too.
        let above = path.child("strategy");
        let field = above.child("strategy");
        if strategy.contains('/') {
            errors.extend(check(qualified, strategy, &field));
        } else if !STRATEGIES.contains(&strategy) {
            errors.push(FieldError::not_supported(field, strategy, &STRATEGIES));
        }
    }
    if !text(&spec["preferredHolder"]).is_empty() && text(&spec["strategy"]).is_empty() {
        let detail = "may only be specified if `strategy` is defined";
        errors.push(FieldError::forbidden(path.child("preferredHolder"), detail));
    }
    errors
}

/// What is wrong with a Lease that replaces another.
pub(crate) fn update(new: &Value, _old: &Value) -> Errors {
    create(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn leases_last() {
        assert!(create(&json!({"spec": {"leaseDurationSeconds": 1, "leaseTransitions": 0}})).is_empty());
        let bad = json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1, "preferredHolder": "x"}});
        assert_eq!(update(&bad, &json!({})).len(), 3);
        assert_eq!(
            create(&json!({"spec": {"strategy": "X"}}))[0].field,
            "spec.strategy.strategy"
        );
    }
}
