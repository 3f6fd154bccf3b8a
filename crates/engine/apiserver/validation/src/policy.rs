//! PodDisruptionBudget.

use serde_json::Value;

use crate::Path;
use crate::get::given;
use crate::gojson::{self, Shape};
use crate::labels::{has_invalid_value, selector};
use crate::scalars::timing::{non_negative_int_or_percent, not_more_than_hundred_percent};
use crate::shared::{Errors, conditions, not_negative, one_of};

const SPEC: Shape = Shape::Struct(&[
    ("MinAvailable", "minAvailable", Shape::Same),
    ("Selector", "selector", Shape::Same),
    ("MaxUnavailable", "maxUnavailable", Shape::Same),
    ("UnhealthyPodEvictionPolicy", "unhealthyPodEvictionPolicy", Shape::Same),
]);

/// What is wrong with a new PodDisruptionBudget.
pub(crate) fn create(object: &Value) -> Errors {
    validate(&object["spec"], false)
}

/// What is wrong with a PodDisruptionBudget that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    validate(&new["spec"], has_invalid_value(&old["spec"]["selector"]))
}

/// What is wrong with a status that replaces another.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Errors {
    let status = &new["status"];
    let path = Path::Root.child("status");
    let mut errors = conditions(&status["conditions"], &path.child("conditions"));
    for key in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        errors.extend(not_negative(&status[key], &path.child(key)));
    }
    errors
}

fn validate(spec: &Value, lenient: bool) -> Errors {
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    if given(&spec["minAvailable"]) && given(&spec["maxUnavailable"]) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(gojson::invalid(path, &SPEC, spec, detail));
    }
    for key in ["minAvailable", "maxUnavailable"] {
        if given(&spec[key]) {
            errors.extend(non_negative_int_or_percent(&spec[key], &path.child(key)));
            errors.extend(not_more_than_hundred_percent(&spec[key], &path.child(key)));
        }
    }
    errors.extend(selector(&spec["selector"], lenient, &path.child("selector")));
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    let key = "unhealthyPodEvictionPolicy";
    errors.extend(one_of(&spec[key], &policies, &path.child(key)));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_bound_at_most() {
        let budget = json!({"spec": {"minAvailable": 1, "maxUnavailable": "200%"}});
        let errors = create(&budget);
        assert!(errors[0].message.starts_with(
            r#"Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":"200%","UnhealthyPodEvictionPolicy":null}"#
        ));
        assert_eq!(errors[1].field, "spec.maxUnavailable");
        assert!(create(&json!({"spec": {"minAvailable": "50%"}})).is_empty());
    }

    #[test]
    fn counts_are_not_negative() {
        assert_eq!(
            update_status(&json!({"status": {"currentHealthy": -1}}), &json!({})).len(),
            1
        );
    }
}
