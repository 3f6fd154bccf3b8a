//! Revisions of controllers.

use serde_json::Value;

use crate::errors::Errors;
use crate::get::given;
use crate::{FieldError, Path};

/// A new revision.
pub(crate) fn create(revision: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        if !given(&revision["data"]) {
            errors.required("data", "data is mandatory");
        }
        errors.non_negative(&revision["revision"], &Path::Root.child("revision"));
    })
}

/// A revision that replaces another one. Upstream compares the text of the data as it was sent, so that other white
/// space counts as a change; here the same data is the same.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        errors.extend(create(new));
        if new["data"] != old["data"] {
            errors.invalid("data", new["data"].clone(), "field is immutable");
        }
    })
}
