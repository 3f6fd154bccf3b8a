//! Replication controllers.

use serde_json::Value;

use super::pod::{printed_labels, running_template, template_options};
use crate::errors::Errors;
use crate::get::{count, entries, given, int, text};
use crate::{FieldError, Path};

fn spec(controller: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (&controller["spec"], Path::Root.child("spec"));
    let (selector, template) = (&spec["selector"], &spec["template"]);
    errors.non_negative(&spec["minReadySeconds"], &path.child("minReadySeconds"));
    if count(selector) == 0 {
        errors.required(path.child("selector"), "");
    }
    errors.non_negative(&spec["replicas"], &path.child("replicas"));
    let field = path.child("template");
    if !given(template) {
        errors.required(field, "");
        return;
    }
    let labels = &template["metadata"]["labels"];
    let selected = |(key, value): &(&str, &Value)| labels.get(*key).is_some_and(|l| text(l) == text(value));
    if !entries(selector).iter().all(selected) {
        let detail = "`selector` does not match template `labels`";
        let metadata = field.child("metadata");
        errors.invalid(metadata.child("labels"), printed_labels(template), detail);
    }
    let options = template_options(old.map(|old| &old["spec"]["template"]));
    running_template(template, "ReplicationController", options, &field, errors);
}

/// A new controller.
pub(crate) fn create(controller: &Value) -> Vec<FieldError> {
    Errors::of(|errors| spec(controller, None, errors))
}

/// A controller that replaces another one: it is checked as a new one and as a changed one, and both is reported.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        spec(new, Some(old), errors);
        spec(new, Some(old), errors);
    })
}

/// The status of a controller or of a set of replicas.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Vec<FieldError> {
    const COUNTS: [&str; 5] = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ];
    let (status, path) = (&new["status"], Path::Root.child("status"));
    Errors::of(|errors| {
        errors.none_negative(status, &COUNTS, &path);
        let counts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
        not_more_than(status, &counts, "replicas", "status.replicas", &path, errors);
        not_more_than(
            status,
            &["availableReplicas"],
            "readyReplicas",
            "readyReplicas",
            &path,
            errors,
        );
    })
}

/// Counts that cannot be greater than another one.
pub(crate) fn not_more_than(
    status: &Value,
    counts: &[&str],
    most: &str,
    shown: &str,
    path: &Path,
    errors: &mut Errors,
) {
    for count in counts {
        if int(&status[*count]) > int(&status[most]) {
            let detail = format!("cannot be greater than {shown}");
            errors.invalid(path.child(count), int(&status[*count]), &detail);
        }
    }
}
