//! Roles and bindings of `rbac.authorization.k8s.io`.

use serde_json::Value;

use crate::get::{entries, given, items, same, text, texts};
use crate::gojson::{self, Shape};
use crate::labels::{self, check};
use crate::names;
use crate::{FieldError, Path};

type Errors = Vec<FieldError>;

const GROUP: &str = "rbac.authorization.k8s.io";
const ROLE_REF: Shape = Shape::Struct(&[
    ("APIGroup", "apiGroup", Shape::Text),
    ("Kind", "kind", Shape::Text),
    ("Name", "name", Shape::Text),
]);

/// What is wrong with a new object.
pub(crate) fn create(plural: &str, object: &Value) -> Errors {
    validate(plural, object, false)
}

/// What is wrong with an object that replaces another. The object is checked twice, as upstream does.
pub(crate) fn update(plural: &str, new: &Value, old: &Value) -> Errors {
    let lenient = items(&old["aggregationRule"]["clusterRoleSelectors"])
        .iter()
        .any(labels::has_invalid_value);
    let mut errors = validate(plural, new, lenient);
    errors.extend(errors.clone());
    if !same(&new["roleRef"], &old["roleRef"]) {
        errors.push(gojson::invalid(
            "roleRef",
            &ROLE_REF,
            &new["roleRef"],
            "cannot change roleRef",
        ));
    }
    errors
}

fn validate(plural: &str, object: &Value, lenient: bool) -> Errors {
    let mut errors = Errors::new();
    match plural {
        "roles" => rules(object, true, &mut errors),
        "clusterroles" => {
            rules(object, false, &mut errors);
            aggregation(object, lenient, &mut errors);
        }
        "rolebindings" => binding(object, &["Role", "ClusterRole"], true, &mut errors),
        "clusterrolebindings" => binding(object, &["ClusterRole"], false, &mut errors),
        _ => {}
    }
    errors
}

fn rules(object: &Value, namespaced: bool, errors: &mut Errors) {
    let path = Path::Root.child("rules");
    for (i, rule) in items(&object["rules"]).iter().enumerate() {
        let at = path.index(i);
        if items(&rule["verbs"]).is_empty() {
            let detail = "verbs must contain at least one value";
            errors.push(FieldError::required(at.child("verbs"), detail));
        }
        let urls = &rule["nonResourceURLs"];
        let (groups, resources) = (items(&rule["apiGroups"]), items(&rule["resources"]));
        let names = items(&rule["resourceNames"]);
        if !items(&rule["nonResourceURLs"]).is_empty() {
            let mut wrong =
                |detail| errors.push(FieldError::invalid(at.child("nonResourceURLs"), urls.clone(), detail));
            if namespaced {
                wrong("namespaced rules cannot apply to non-resource URLs");
            }
            if !(groups.is_empty() && resources.is_empty() && names.is_empty()) {
                wrong("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if groups.is_empty() {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(at.child("apiGroups"), detail));
        }
        if resources.is_empty() {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(at.child("resources"), detail));
        }
    }
}

fn aggregation(object: &Value, lenient: bool, errors: &mut Errors) {
    let rule = &object["aggregationRule"];
    if !given(rule) {
        return;
    }
    let above = Path::Root.child("aggregationRule");
    let path = above.child("clusterRoleSelectors");
    let selectors = items(&rule["clusterRoleSelectors"]);
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(path, detail));
    }
    for (i, selector) in selectors.iter().enumerate() {
        let at = path.index(i);
        errors.extend(labels::selector(selector, lenient, &at));
        if !converts(selector) {
            errors.push(FieldError::invalid(at, Value::Null, "invalid label selector."));
        }
    }
}

/// Whether a selector can be evaluated at all, whatever was tolerated of it.
fn converts(selector: &Value) -> bool {
    let label = |key: &str, value: &str| names::qualified(key).is_empty() && names::label_value(value).is_empty();
    entries(&selector["matchLabels"])
        .into_iter()
        .all(|(key, value)| label(key, text(value)))
        && items(&selector["matchExpressions"]).iter().all(|expression| {
            let values: Vec<&str> = texts(&expression["values"]).collect();
            let fits = match text(&expression["operator"]) {
                "In" | "NotIn" => !values.is_empty(),
                "Exists" | "DoesNotExist" => values.is_empty(),
                _ => false,
            };
            fits && label(text(&expression["key"]), "") && values.iter().all(|v| names::label_value(v).is_empty())
        })
}

fn binding(object: &Value, kinds: &[&str], namespaced: bool, errors: &mut Errors) {
    let reference = &object["roleRef"];
    let path = Path::Root.child("roleRef");
    let (group, kind, name) = (
        text(&reference["apiGroup"]),
        text(&reference["kind"]),
        text(&reference["name"]),
    );
    // Without a reference there is none whose group could have been defaulted.
    if group != GROUP && given(reference) {
        errors.push(FieldError::not_supported(path.child("apiGroup"), group, &[GROUP]));
    }
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("kind"), kind, kinds));
    }
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    } else {
        errors.extend(check(names::path_segment, name, &path.child("name")));
    }
    let path = Path::Root.child("subjects");
    for (i, one) in items(&object["subjects"]).iter().enumerate() {
        subject(one, namespaced, &path.index(i), errors);
    }
}

fn subject(subject: &Value, namespaced: bool, path: &Path<'_>, errors: &mut Errors) {
    let (kind, name, group) = (
        text(&subject["kind"]),
        text(&subject["name"]),
        text(&subject["apiGroup"]),
    );
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    }
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.extend(check(names::dns_subdomain, name, &path.child("name")));
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(path.child("apiGroup"), group, &[""]));
            }
            if !namespaced && text(&subject["namespace"]).is_empty() {
                errors.push(FieldError::required(path.child("namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(FieldError::not_supported(path.child("apiGroup"), group, &[GROUP]));
            }
        }
        _ => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(path.child("kind"), kind, &kinds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_name_what_they_apply_to() {
        let role = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}, {}]});
        let errors = create("roles", &role);
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "rules[0].nonResourceURLs",
                "rules[1].verbs",
                "rules[1].apiGroups",
                "rules[1].resources"
            ]
        );
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let binding = |name: &str| json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name}});
        let errors = update("rolebindings", &binding("b"), &binding("a"));
        assert_eq!(
            errors[0].message,
            r#"Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"b"}: cannot change roleRef"#
        );
        assert!(update("rolebindings", &binding("a"), &binding("a")).is_empty());
    }

    #[test]
    fn a_selector_that_cannot_be_evaluated_is_named_too() {
        let role = json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b c"}}]}});
        let errors = create("clusterroles", &role);
        assert_eq!(errors.len(), 2);
        assert_eq!(errors[1].message, "Invalid value: null: invalid label selector.");
    }
}
