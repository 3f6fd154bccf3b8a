//! Conditions under which webhooks and policies apply.

use serde_json::Value;

use crate::get::{items, text};
use crate::labels::check;
use crate::names::qualified;
use crate::shared::Errors;
use crate::{FieldError, Path};

const CONDITIONS_MAX: usize = 64;

/// What is wrong with a list of conditions.
pub(super) fn match_conditions(conditions: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let conditions = items(conditions);
    if conditions.len() > CONDITIONS_MAX {
        errors.push(FieldError::too_many(path, conditions.len(), CONDITIONS_MAX));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = path.index(i);
        if text(&condition["expression"]).trim().is_empty() {
            errors.push(FieldError::required(at.child("expression"), ""));
        }
        match text(&condition["name"]) {
            "" => errors.push(FieldError::required(at.child("name"), "")),
            name => {
                errors.extend(check(qualified, name, &at.child("name")));
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(at.child("name"), name));
                }
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_have_names_of_their_own() {
        let path = Path::Root.child("c");
        let one = json!({"name": "a", "expression": "true"});
        assert!(match_conditions(&json!([one]), &path).is_empty());
        assert_eq!(match_conditions(&json!([one, one, {}]), &path).len(), 3);
    }
}
