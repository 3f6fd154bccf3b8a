//! Sets of replicas.

use serde_json::Value;

use super::selected_template;
use crate::core::pod::template_options;
use crate::errors::Errors;
use crate::{FieldError, Path};

fn spec(set: &Value, old: Option<&Value>, errors: &mut Errors) {
    let path = Path::Root.child("spec");
    errors.none_negative(&set["spec"], &["replicas", "minReadySeconds"], &path);
    let options = template_options(old.map(|old| &old["spec"]["template"]));
    selected_template(&set["spec"], options, &path, errors);
}

/// A new set.
pub(crate) fn create(set: &Value) -> Vec<FieldError> {
    Errors::of(|errors| spec(set, None, errors))
}

/// A set that replaces another one: what it selects may not change. It is checked as a new one and as a changed one, and
/// both is reported.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        spec(new, Some(old), errors);
        spec(new, Some(old), errors);
        selector_kept(new, old, errors);
    })
}

/// The selector of a controller stays.
pub(super) fn selector_kept(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (&new["spec"]["selector"], &old["spec"]["selector"]);
    if !crate::get::same(new, old) {
        errors.invalid_selector("spec.selector", new, "field is immutable");
    }
}
