//! ValidatingAdmissionPolicy and its bindings.

use serde_json::Value;

use super::conditions::match_conditions;
use super::expressions::{self, Kind, Scope};
use super::rules::named_rules;
use super::{FAILURE_POLICIES, MATCH_POLICIES};
use crate::get::{given, items, optional_text, same, text, texts};
use crate::gojson::{self, Shape};
use crate::labels::{check, selector};
use crate::names::{dns_1035_label, dns_subdomain, path_segment, qualified};
use crate::shared::{self, Errors, group_version, one_of};
use crate::{FieldError, Path};

const ANNOTATIONS_MAX: usize = 20;
const VALUE_EXPRESSION_BYTES_MAX: usize = 5 * 1024;
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ANNOTATION: Shape = Shape::Struct(&[
    ("Key", "key", Shape::Text),
    ("ValueExpression", "valueExpression", Shape::Text),
]);

/// What is wrong with a new ValidatingAdmissionPolicy.
pub(crate) fn create(object: &Value) -> Errors {
    policy(object, true)
}

/// What is wrong with a ValidatingAdmissionPolicy that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let keys = ["paramKind", "matchConditions"];
    policy(
        new,
        keys.iter().any(|key| !same(&new["spec"][*key], &old["spec"][*key])),
    )
}

/// What is wrong with a status of a policy.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Errors {
    let mut errors = Errors::new();
    let status = &new["status"];
    let path = Path::Root.child("status");
    let checking = path.child("typeChecking");
    let warnings = checking.child("expressionWarnings");
    for (i, warning) in items(&status["typeChecking"]["expressionWarnings"]).iter().enumerate() {
        let at = warnings.index(i);
        for key in ["warning", "fieldRef"] {
            let value = text(&warning[key]);
            if value.is_empty() || (key == "fieldRef" && value.trim().is_empty()) {
                errors.push(FieldError::required(at.child(key), ""));
            }
        }
    }
    errors.extend(shared::conditions(&status["conditions"], &path.child("conditions")));
    errors
}

fn policy(object: &Value, with_conditions: bool) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    errors.extend(required_one_of(
        &spec["failurePolicy"],
        &FAILURE_POLICIES,
        &path.child("failurePolicy"),
    ));
    if given(&spec["paramKind"]) {
        errors.extend(param_kind(&spec["paramKind"], &path.child("paramKind")));
    }
    let constraints = path.child("matchConstraints");
    if given(&spec["matchConstraints"]) {
        errors.extend(match_resources(&spec["matchConstraints"], &constraints));
        if items(&spec["matchConstraints"]["resourceRules"]).is_empty() {
            errors.push(FieldError::required(constraints.child("resourceRules"), ""));
        }
    } else {
        errors.push(FieldError::required(constraints, ""));
    }
    let params = given(&spec["paramKind"]);
    if with_conditions {
        let at = path.child("matchConditions");
        errors.extend(match_conditions(&spec["matchConditions"], params, &at));
    }
    let variables = path.child("variables");
    let mut scope = Scope::new(params, !items(&spec["variables"]).is_empty());
    for (i, one) in items(&spec["variables"]).iter().enumerate() {
        errors.extend(variable(one, &mut scope, &variables.index(i)));
    }
    let (validations, annotations) = (items(&spec["validations"]), items(&spec["auditAnnotations"]));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required(path.child("validations"), detail));
        errors.push(FieldError::required(path.child("auditAnnotations"), detail));
        return errors;
    }
    let at = path.child("validations");
    for (i, one) in validations.iter().enumerate() {
        errors.extend(validation(one, &scope, &at.index(i)));
    }
    let at = path.child("auditAnnotations");
    if annotations.len() > ANNOTATIONS_MAX {
        let detail = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        let shape = Shape::List(&ANNOTATION);
        errors.push(gojson::invalid(at, &shape, &spec["auditAnnotations"], &detail));
    }
    let name = text(&object["metadata"]["name"]);
    let mut keys = std::collections::BTreeSet::new();
    for (i, one) in annotations.iter().enumerate() {
        errors.extend(annotation(one, name, &scope, &at.index(i)));
        let key = text(&one["key"]);
        if !keys.insert(key) {
            errors.push(FieldError::duplicate(at.index(i).child("key"), key));
        }
    }
    errors
}

fn required_one_of(value: &Value, supported: &[&str], path: &Path<'_>) -> Errors {
    match given(value) {
        true => one_of(value, supported, path),
        false => vec![FieldError::required(path, "")],
    }
}

fn param_kind(kind: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let api_version = text(&kind["apiVersion"]);
    let field = path.child("apiVersion");
    let mut wrong = |value: &str, detail: &str| errors.push(FieldError::invalid(field, value, detail));
    match group_version(api_version) {
        _ if api_version.is_empty() => errors.push(FieldError::required(field, "")),
        Err(fault) => wrong(api_version, &fault),
        Ok((group, version)) => {
            let faults = dns_subdomain(group);
            if !group.is_empty() && !faults.is_empty() {
                wrong(group, &faults.join(","));
            }
            let faults = dns_1035_label(version);
            if version.is_empty() {
                wrong(api_version, "version must be specified");
            } else if !faults.is_empty() {
                wrong(version, &faults.join(","));
            }
        }
    }
    let name = text(&kind["kind"]);
    let faults = dns_1035_label(&name.to_lowercase());
    if name.is_empty() {
        errors.push(FieldError::required(path.child("kind"), ""));
    } else if !faults.is_empty() {
        let detail = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
        errors.push(FieldError::invalid(path.child("kind"), name, &detail));
    }
    errors
}

fn match_resources(resources: &Value, path: &Path<'_>) -> Errors {
    let mut errors = required_one_of(&resources["matchPolicy"], &MATCH_POLICIES, &path.child("matchPolicy"));
    for key in ["namespaceSelector", "objectSelector"] {
        match given(&resources[key]) {
            true => errors.extend(selector(&resources[key], false, &path.child(key))),
            false => errors.push(FieldError::required(path.child(key), "")),
        }
    }
    for key in ["resourceRules", "excludeResourceRules"] {
        errors.extend(named_rules(&resources[key], &path.child(key)));
    }
    errors
}

fn is_identifier(name: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.bytes().next().is_some_and(first)
        && name.bytes().all(|b| first(b) || b.is_ascii_digit())
        && !engenho_cel::RESERVED.contains(&name)
}

fn variable(variable: &Value, scope: &mut Scope, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let name = text(&variable["name"]);
    if name.trim().is_empty() {
        errors.push(FieldError::required(path.child("name"), "name is not specified"));
    } else if !is_identifier(name) {
        let detail = "name is not a valid CEL identifier";
        errors.push(FieldError::invalid(path.child("name"), name, detail));
    }
    let field = path.child("expression");
    match text(&variable["expression"]) {
        blank if blank.trim().is_empty() => errors.push(FieldError::required(field, "expression is not specified")),
        expression => errors.extend(scope.add(name, expression, &field)),
    }
    errors
}

fn validation(validation: &Value, scope: &Scope, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let field = path.child("expression");
    match text(&validation["expression"]) {
        blank if blank.trim().is_empty() => errors.push(FieldError::required(field, "expression is not specified")),
        expression => errors.extend(expressions::wrong(expression, &scope.all, Kind::Condition, &field)),
    }
    let expression = text(&validation["messageExpression"]);
    if !expression.is_empty() && expression.trim().is_empty() {
        let detail = "must be non-empty if specified";
        errors.push(FieldError::invalid(path.child("messageExpression"), expression, detail));
    } else if !expression.is_empty() {
        let at = path.child("messageExpression");
        errors.extend(expressions::wrong(expression, &scope.messages, Kind::Message, &at));
    }
    let message = text(&validation["message"]);
    if !message.is_empty() && message.trim().is_empty() {
        let detail = "message must be non-empty if specified";
        errors.push(FieldError::invalid(path.child("message"), message, detail));
    } else if message.trim().contains(['\n', '\r']) {
        let detail = "message must not contain line breaks";
        errors.push(FieldError::invalid(path.child("message"), message, detail));
    }
    errors.extend(one_of(&validation["reason"], &REASONS, &path.child("reason")));
    errors
}

fn annotation(annotation: &Value, policy: &str, scope: &Scope, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let key = text(&annotation["key"]);
    if policy.is_empty() {
        let detail = "requires metadata.name be non-empty";
        errors.push(FieldError::invalid(path.child("key"), key, detail));
    } else {
        errors.extend(check(qualified, &format!("{policy}/{key}"), &path.child("key")));
    }
    let expression = text(&annotation["valueExpression"]).trim();
    let field = path.child("valueExpression");
    if expression.is_empty() {
        errors.push(FieldError::required(field, "valueExpression is not specified"));
    } else if expression.len() > VALUE_EXPRESSION_BYTES_MAX {
        let detail = format!("must not exceed {VALUE_EXPRESSION_BYTES_MAX} bytes in length");
        errors.push(FieldError::required(field, &detail));
    } else {
        let written = text(&annotation["valueExpression"]);
        errors.extend(expressions::wrong_as(
            expression,
            written,
            &scope.all,
            Kind::Annotation,
            &field,
        ));
    }
    errors
}

/// What is wrong with a ValidatingAdmissionPolicyBinding.
pub(crate) fn create_binding(object: &Value) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = match text(&spec["policyName"]) {
        "" => vec![FieldError::required(path.child("policyName"), "")],
        name => check(dns_subdomain, name, &path.child("policyName")),
    };
    if given(&spec["paramRef"]) {
        errors.extend(param_reference(&spec["paramRef"], &path.child("paramRef")));
    }
    if given(&spec["matchResources"]) {
        // Upstream misspells the path.
        errors.extend(match_resources(&spec["matchResources"], &path.child("matchResouces")));
    }
    errors.extend(actions(&spec["validationActions"], &path.child("validationActions")));
    errors
}

/// What is wrong with a ValidatingAdmissionPolicyBinding that replaces another.
pub(crate) fn update_binding(new: &Value, _old: &Value) -> Errors {
    create_binding(new)
}

fn param_reference(reference: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let name = text(&reference["name"]);
    let selects = given(&reference["selector"]);
    let exclusive = "name and selector are mutually exclusive";
    errors.extend(check(path_segment, name, &path.child("name")));
    if !name.is_empty() && selects {
        errors.push(FieldError::forbidden(path.child("name"), exclusive));
    }
    if selects {
        errors.extend(selector(&reference["selector"], false, &path.child("selector")));
        if !name.is_empty() {
            errors.push(FieldError::forbidden(path.child("selector"), exclusive));
        }
    }
    if name.is_empty() && !selects {
        errors.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    let field = path.child("parameterNotFoundAction");
    match optional_text(&reference["parameterNotFoundAction"]).unwrap_or_default() {
        "" => errors.push(FieldError::required(field, "")),
        "Deny" | "Allow" => {}
        other => errors.push(FieldError::not_supported(field, other, &["Deny", "Allow"])),
    }
    errors
}

fn actions(actions: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = std::collections::BTreeSet::new();
    for (i, action) in texts(actions).enumerate() {
        let supported = ["Audit", "Deny", "Warn"];
        if !supported.contains(&action) {
            errors.push(FieldError::not_supported(path.index(i), action, &supported));
        }
        if !seen.insert(action) {
            errors.push(FieldError::duplicate(path.index(i), action));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(path, actions.clone(), detail));
    }
    if seen.is_empty() {
        errors.push(FieldError::required(path, "at least one validation action is required"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain() -> Value {
        let rule = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        json!({
            "metadata": {"name": "p"},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "matchPolicy": "Exact",
                    "namespaceSelector": {},
                    "objectSelector": {},
                    "resourceRules": [rule],
                },
                "validations": [{"expression": "true"}],
            },
        })
    }

    #[test]
    fn a_policy_says_what_it_checks() {
        assert_eq!(create(&plain()), []);
        let fields: Vec<String> = create(&json!({})).into_iter().map(|e| e.field).collect();
        let expected = ["failurePolicy", "matchConstraints", "validations", "auditAnnotations"];
        assert_eq!(fields, expected.map(|field| format!("spec.{field}")));
    }

    #[test]
    fn expressions_are_compiled() {
        let mut policy = plain();
        let spec = &mut policy["spec"];
        spec["variables"] = json!([
            {"name": "a", "expression": "object.spec.a"},
            {"name": "b", "expression": "variables.a + oops"},
            {"name": "c", "expression": "variables.d"},
            {"name": "d", "expression": "variables.b || true"},
        ]);
        spec["validations"] = json!([
            {"expression": "variables.d && variables.b", "messageExpression": "'a' + string(variables.a)"},
            {"expression": "params.a", "messageExpression": "authorizer.path('/').check('get').reason()"},
            {"expression": "variables.d", "messageExpression": "1"},
        ]);
        spec["auditAnnotations"] = json!([
            {"key": "k", "valueExpression": "variables.d ? 'a' : 'b'"},
            {"key": "l", "valueExpression": " 1 "},
        ]);
        let errors = create(&policy);
        let found: Vec<(&str, &str)> = errors
            .iter()
            .map(|error| (&*error.field, error.message.lines().next().unwrap()))
            .collect();
        let expected = [
            (
                "spec.variables[1].expression",
                "Invalid value: \"variables.a + oops\": compilation failed: ERROR: <input>:1:15: undeclared reference to 'oops' (in container '')",
            ),
            (
                "spec.variables[2].expression",
                "Invalid value: \"variables.d\": compilation failed: ERROR: <input>:1:10: undefined field 'd'",
            ),
            (
                "spec.validations[1].expression",
                "Invalid value: \"params.a\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')",
            ),
            (
                "spec.validations[1].messageExpression",
                "Invalid value: \"authorizer.path('/').check('get').reason()\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'authorizer' (in container '')",
            ),
            (
                "spec.validations[2].messageExpression",
                "Invalid value: \"1\": must evaluate to string but got int",
            ),
            (
                "spec.auditAnnotations[1].valueExpression",
                "Invalid value: \" 1 \": must evaluate to one of [string null_type] but got int",
            ),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn kinds_of_parameters() {
        let path = Path::Root.child("k");
        assert!(param_kind(&json!({"apiVersion": "a.b/v1", "kind": "Kind"}), &path).is_empty());
        assert_eq!(
            param_kind(&json!({"apiVersion": "a/b/c", "kind": "K_"}), &path).len(),
            2
        );
        assert_eq!(param_kind(&json!({}), &path).len(), 2);
    }

    #[test]
    fn a_binding_names_policy_and_actions() {
        let binding = json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}});
        assert_eq!(create_binding(&binding), []);
        let bad = json!({"spec": {"policyName": "p", "validationActions": ["Deny", "Warn", "X"], "paramRef": {}}});
        assert_eq!(create_binding(&bad).len(), 4);
    }
}
