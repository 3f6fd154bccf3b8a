//! Conditions under which webhooks and policies apply.

use engenho_cel::Environment;
use serde_json::Value;

use super::expressions::{self, Kind};
use crate::get::{items, text};
use crate::labels::check;
use crate::names::qualified;
use crate::shared::Errors;
use crate::{FieldError, Path};

const CONDITIONS_MAX: usize = 64;

/// What is wrong with a list of conditions, which may refer to parameters or not.
pub(super) fn match_conditions(conditions: &Value, params: bool, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let conditions = items(conditions);
    if conditions.len() > CONDITIONS_MAX {
        errors.push(FieldError::too_many(path, conditions.len(), CONDITIONS_MAX));
    }
    let environment = Environment::admission(params, true);
    let mut seen = std::collections::BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = path.index(i);
        let field = at.child("expression");
        match text(&condition["expression"]).trim() {
            "" => errors.push(FieldError::required(field, "")),
            expression => errors.extend(expressions::wrong(expression, &environment, Kind::Condition, &field)),
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
        assert!(match_conditions(&json!([one]), false, &path).is_empty());
        assert_eq!(match_conditions(&json!([one, one, {}]), false, &path).len(), 3);
    }

    #[test]
    fn conditions_are_compiled() {
        let path = Path::Root.child("c");
        let of = |expression: &str| json!([{"name": "a", "expression": expression}]);
        for fine in [
            "object.metadata.name == 'a'",
            "authorizer.group('').resource('pods').check('get').allowed()",
            "namespaceObject == null || request.operation == 'CREATE'",
        ] {
            assert_eq!(match_conditions(&of(fine), false, &path), [], "{fine}");
        }
        assert_eq!(match_conditions(&of("params.a == 1"), true, &path), []);
        for (bad, message) in [
            (
                "params.a == 1",
                "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.a == 1\n | ^",
            ),
            ("object.a", "must evaluate to bool but got dyn"),
            (" 'a' ", "must evaluate to bool but got string"),
        ] {
            let errors = match_conditions(&of(bad), false, &path);
            let [error] = errors.as_slice() else {
                panic!("{bad}: {errors:?}")
            };
            assert_eq!(error.field, "c[0].expression");
            assert!(error.message.ends_with(message), "{bad}: {}", error.message);
        }
    }
}
