//! Namespaces.

use serde_json::Value;

use crate::errors::Errors;
use crate::get::{given, text, texts};
use crate::names::qualified;
use crate::{FieldError, Path};

const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn finalizer(name: &str, path: &Path, errors: &mut Errors) {
    errors.check(qualified, name, path);
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid(path, name, detail);
    }
}

/// A new namespace.
pub(crate) fn create(namespace: &Value) -> Vec<FieldError> {
    let spec = Path::Root.child("spec");
    Errors::of(|errors| {
        for name in texts(&namespace["spec"]["finalizers"]) {
            finalizer(name, &spec.child("finalizers"), errors);
        }
    })
}

/// The status of a namespace.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Vec<FieldError> {
    let phase = text(&new["status"]["phase"]);
    let (expected, detail) = match given(&new["metadata"]["deletionTimestamp"]) {
        true => (
            "Terminating",
            "may only be 'Terminating' if `deletionTimestamp` is not empty",
        ),
        false => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
    };
    match phase == expected {
        true => Vec::new(),
        false => vec![FieldError::invalid("status.Phase", phase, detail)],
    }
}

/// The finalizers of a namespace.
pub(crate) fn finalize(new: &Value, _old: &Value) -> Vec<FieldError> {
    let spec = Path::Root.child("spec");
    let path = spec.child("finalizers");
    Errors::of(|errors| {
        for (i, name) in texts(&new["spec"]["finalizers"]).enumerate() {
            finalizer(name, &path.index(i), errors);
        }
    })
}
