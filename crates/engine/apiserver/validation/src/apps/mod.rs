//! Kinds of the group `apps`.

pub(crate) mod daemon_set;
pub(crate) mod deployment;
pub(crate) mod replica_set;
pub(crate) mod revision;
pub(crate) mod stateful_set;

use serde_json::Value;

use crate::core::pod::options::Options;
use crate::core::pod::{printed_labels, running_template};
use crate::errors::Errors;
use crate::get::{given, int, items, optional_int, text};
use crate::names::qualified;
use crate::scalars::timing::{int_or_percent_value, non_negative_int_or_percent, not_more_than_hundred_percent};
use crate::{FieldError, Path, labels, shapes};

/// Whether a selector can be made of what is written.
pub(crate) fn is_usable(selector: &Value) -> bool {
    items(&selector["matchExpressions"]).iter().all(|e| {
        let values = items(&e["values"]).len();
        let fits = match text(&e["operator"]) {
            "In" | "NotIn" => values > 0,
            "Exists" | "DoesNotExist" => values == 0,
            _ => false,
        };
        fits && qualified(text(&e["key"])).is_empty()
    }) && !labels::has_invalid_value(selector)
        && labels::labels(&selector["matchLabels"], &Path::Root).is_empty()
}

/// Whether a selector that may be missing selects the labels of a template; a missing one selects nothing.
pub(crate) fn selects(selector: &Value, template: &Value) -> bool {
    given(selector) && labels::matches(selector, &template["metadata"]["labels"])
}

/// The selector of a controller, which must be given and select something.
fn selector(selector: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    if !given(selector) {
        errors.required(path, "");
        return;
    }
    errors.extend(labels::selector(selector, false, path));
    not_empty(selector, kind, path, errors);
}

fn not_empty(selector: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    if given(selector) && labels::selects_all(selector) {
        errors.invalid_selector(path, selector, &format!("empty selector is invalid for {kind}"));
    }
}

/// The labels of a template must be those selected.
fn labels_selected(selector: &Value, template: &Value, path: &Path, errors: &mut Errors) {
    if !selects(selector, template) {
        let metadata = path.child("metadata");
        let detail = "`selector` does not match template `labels`";
        errors.invalid(metadata.child("labels"), printed_labels(template), detail);
    }
}

/// Selector and template of a controller of replicas.
fn selected_template(spec: &Value, options: Options, path: &Path, errors: &mut Errors) {
    let field = path.child("selector");
    selector(&spec["selector"], "deployment", &field, errors);
    if !is_usable(&spec["selector"]) {
        errors.invalid_selector(field, &spec["selector"], "invalid label selector");
        return;
    }
    let path = path.child("template");
    if !given(&spec["selector"]) || !labels::selects_all(&spec["selector"]) {
        labels_selected(&spec["selector"], &spec["template"], &path, errors);
    }
    running_template(&spec["template"], "ReplicaSet", options, &path, errors);
}

impl Errors {
    /// A malformed selector, printed with its fields in order.
    pub(crate) fn invalid_selector(&mut self, field: impl Into<String>, selector: &Value, detail: &str) {
        let printed = shapes::compact("LabelSelector", selector);
        self.push(FieldError::invalid_printed(field, &printed, detail));
    }
}

/// How many may be missing or surplus during an update; whether none of both.
fn surge_and_unavailable(rolling: &Value, path: &Path, errors: &mut Errors) -> (bool, bool) {
    for name in ["maxUnavailable", "maxSurge"] {
        errors.extend(non_negative_int_or_percent(&rolling[name], &path.child(name)));
    }
    let some = |name: &str| int_or_percent_value(&rolling[name]) != 0;
    (some("maxUnavailable"), some("maxSurge"))
}

fn at_most_all(rolling: &Value, name: &str, path: &Path, errors: &mut Errors) {
    errors.extend(not_more_than_hundred_percent(&rolling[name], &path.child(name)));
}

/// Collisions of hashes are only ever counted up.
fn collisions(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let of = |object: &Value| optional_int(&object["status"]["collisionCount"]);
    let decremented = match (of(new), of(old)) {
        (None, Some(_)) => true,
        (Some(new), Some(old)) => new < old,
        _ => false,
    };
    if decremented {
        let count = int(&new["status"]["collisionCount"]);
        errors.invalid(path.child("collisionCount"), count, "cannot be decremented");
    }
}
