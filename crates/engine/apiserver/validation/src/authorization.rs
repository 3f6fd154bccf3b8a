//! Reviews of `authorization.k8s.io`.

use serde_json::{Map, Value};

use crate::get::{given, is_empty, items, text};
use crate::gojson::{self, Shape};
use crate::labels::check;
use crate::names::{label_value, qualified};
use crate::shared::Errors;
use crate::{FieldError, Path};

const PATH_AND_VERB: Shape = Shape::Maybe(&Shape::Struct(&[
    ("Path", "path", Shape::Text),
    ("Verb", "verb", Shape::Text),
]));

/// What is wrong with a SelfSubjectAccessReview.
pub(crate) fn create_self_access(object: &Value) -> Errors {
    let mut errors = attributes(object, false);
    errors.extend(no_metadata(object, &[], "must be empty"));
    errors
}

/// What is wrong with a SubjectAccessReview.
pub(crate) fn create_access(object: &Value) -> Errors {
    let mut errors = attributes(object, true);
    errors.extend(no_metadata(object, &[], "must be empty"));
    errors
}

/// What is wrong with a LocalSubjectAccessReview.
pub(crate) fn create_local_access(object: &Value) -> Errors {
    let mut errors = attributes(object, true);
    errors.extend(no_metadata(
        object,
        &["namespace"],
        "must be empty except for namespace",
    ));
    let spec = &object["spec"];
    let namespace = text(&spec["resourceAttributes"]["namespace"]);
    if given(&spec["resourceAttributes"]) && namespace != text(&object["metadata"]["namespace"]) {
        let field = "spec.resourceAttributes.namespace";
        errors.push(FieldError::invalid(field, namespace, "must match metadata.namespace"));
    }
    let other = &spec["nonResourceAttributes"];
    if given(other) {
        let detail = "disallowed on this kind of request";
        errors.push(gojson::invalid(
            "spec.nonResourceAttributes",
            &PATH_AND_VERB,
            other,
            detail,
        ));
    }
    errors
}

fn attributes(object: &Value, of_someone: bool) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    match (given(resource), given(other)) {
        (true, true) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.push(gojson::invalid(
                path.child("nonResourceAttributes"),
                &PATH_AND_VERB,
                other,
                detail,
            ));
        }
        (false, false) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(FieldError::invalid(
                path.child("resourceAttributes"),
                Value::Null,
                detail,
            ));
        }
        _ => {}
    }
    if of_someone && text(&spec["user"]).is_empty() && is_empty(&spec["groups"]) {
        let detail = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(path.child("user"), "", detail));
    }
    let at = path.child("resourceAttributes");
    for key in ["fieldSelector", "labelSelector"] {
        if given(&resource[key]) {
            errors.extend(selector_attributes(
                &resource[key],
                key == "labelSelector",
                &at.child(key),
            ));
        }
    }
    errors
}

fn selector_attributes(attributes: &Value, of_labels: bool, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let raw = text(&attributes["rawSelector"]);
    let requirements = items(&attributes["requirements"]);
    let at = path.child("requirements");
    if !raw.is_empty() && !requirements.is_empty() {
        let detail = "may not specified at the same time as requirements";
        errors.push(FieldError::invalid(path.child("rawSelector"), raw, detail));
    }
    if raw.is_empty() && requirements.is_empty() {
        let detail = format!("when {path} is specified, requirements or rawSelector is required");
        errors.push(FieldError::required(at, &detail));
    }
    for (i, one) in requirements.iter().enumerate() {
        errors.extend(requirement(one, of_labels, &at.index(i)));
    }
    errors
}

/// A requirement; operators that are not known are left to who evaluates them.
fn requirement(requirement: &Value, of_labels: bool, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let key = text(&requirement["key"]);
    if !of_labels && key.is_empty() {
        errors.push(FieldError::required(path.child("key"), "must be specified"));
    }
    let values = items(&requirement["values"]);
    match text(&requirement["operator"]) {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(path.child("values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(path.child("values"), detail));
        }
        _ => {}
    }
    if of_labels {
        errors.extend(check(qualified, key, &path.child("key")));
        let at = path.child("values");
        for (i, value) in values.iter().enumerate() {
            errors.extend(check(label_value, text(value), &at.index(i)));
        }
    }
    errors
}

/// A review is not stored and has no metadata.
fn no_metadata(object: &Value, except: &[&str], detail: &str) -> Errors {
    let metadata = object["metadata"].as_object().cloned().unwrap_or_default();
    let kept = |key: &str| !except.contains(&key) && key != "managedFields";
    let rest: Map<String, Value> = metadata.clone().into_iter().filter(|(key, _)| kept(key)).collect();
    let nothing = |value: &Value| value.is_null() || value.is_object() && is_empty(value) || value.as_str() == Some("");
    if rest
        .values()
        .all(|value| nothing(value) || value.as_array().is_some_and(Vec::is_empty))
    {
        return Errors::new();
    }
    vec![FieldError::invalid("metadata", Value::Object(metadata), detail)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    #[test]
    fn one_kind_of_attributes() {
        let both = json!({"spec": {"resourceAttributes": {}, "nonResourceAttributes": {"path": "/", "verb": "get"}}});
        assert_eq!(
            messages(&create_self_access(&both)),
            [
                r#"spec.nonResourceAttributes: Invalid value: {"Path":"/","Verb":"get"}: cannot be specified in combination with resourceAttributes"#
            ]
        );
        assert_eq!(create_access(&json!({})).len(), 2);
    }

    #[test]
    fn a_local_review_stays_in_its_namespace() {
        let review = json!({
            "metadata": {"namespace": "a", "creationTimestamp": null},
            "spec": {"user": "u", "resourceAttributes": {"namespace": "b"}},
        });
        assert_eq!(create_local_access(&review).len(), 1);
        assert_eq!(create_access(&review)[0].field, "metadata");
    }

    #[test]
    fn selectors_are_given_in_one_way() {
        let attributes =
            json!({"fieldSelector": {}, "labelSelector": {"requirements": [{"key": "", "operator": "New"}]}});
        let review = json!({"spec": {"resourceAttributes": attributes}});
        let fields: Vec<String> = create_self_access(&review).into_iter().map(|e| e.field).collect();
        assert_eq!(fields[0], "spec.resourceAttributes.fieldSelector.requirements");
        assert_eq!(fields[1], "spec.resourceAttributes.labelSelector.requirements[0].key");
    }
}
