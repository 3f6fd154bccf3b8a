//! ResourceClaim and ResourceClaimTemplate.

use serde_json::Value;

use super::common::{
    CONFIGS_MAX, REQUESTS_MAX, TAINT_EFFECTS, class_name, configuration, each, each_once, full_attribute_name,
    request_names, request_references, selectors,
};
use super::shapes::{CLAIM_SPEC, TEMPLATE_SPEC};
use super::status;
use crate::get::{given, int, items, optional_text, same, text};
use crate::gojson::{self, Shape};
use crate::labels::{annotations, check, labels};
use crate::names::{dns_label, label_value, qualified};
use crate::shared::Errors;
use crate::{FieldError, Path};

const CONSTRAINTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;

/// What is wrong with a new ResourceClaim.
pub(crate) fn create(object: &Value) -> Errors {
    spec(&object["spec"], false, &Path::Root.child("spec"))
}

/// What is wrong with a ResourceClaim that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = fixed(new, old, &CLAIM_SPEC);
    errors.extend(spec(&new["spec"], true, &Path::Root.child("spec")));
    errors
}

/// What is wrong with a status that replaces another.
pub(crate) fn update_status(new: &Value, old: &Value) -> Errors {
    status::update(new, old)
}

/// What is wrong with a new ResourceClaimTemplate.
pub(crate) fn create_template(object: &Value) -> Errors {
    template(&object["spec"], false)
}

/// What is wrong with a ResourceClaimTemplate that replaces another.
pub(crate) fn update_template(new: &Value, old: &Value) -> Errors {
    let mut errors = fixed(new, old, &TEMPLATE_SPEC);
    errors.extend(template(&new["spec"], true));
    errors
}

fn fixed(new: &Value, old: &Value, shape: &Shape) -> Errors {
    match same(&new["spec"], &old["spec"]) {
        true => Errors::new(),
        false => vec![gojson::invalid("spec", shape, &new["spec"], "field is immutable")],
    }
}

fn template(template: &Value, stored: bool) -> Errors {
    let path = Path::Root.child("spec");
    let metadata = path.child("metadata");
    let mut errors = annotations(&template["metadata"]["annotations"], &metadata.child("annotations"));
    errors.extend(labels(&template["metadata"]["labels"], &metadata.child("labels")));
    errors.extend(spec(&template["spec"], stored, &path.child("spec")));
    errors
}

fn spec(spec: &Value, stored: bool, path: &Path<'_>) -> Errors {
    let devices = &spec["devices"];
    let path = path.child("devices");
    let names = request_names(devices);
    let mut errors = each_once(
        &devices["requests"],
        REQUESTS_MAX,
        "name",
        &path.child("requests"),
        request,
    );
    errors.extend(each(
        &devices["constraints"],
        CONSTRAINTS_MAX,
        &path.child("constraints"),
        |constraint, at| {
            let mut errors = request_references(&constraint["requests"], &names, &at.child("requests"));
            let attributes = ["matchAttribute", "distinctAttribute"];
            match attributes.iter().find(|key| given(&constraint[**key])) {
                Some(key) => errors.extend(full_attribute_name(text(&constraint[*key]), &at.child(key))),
                None => errors.push(FieldError::required(at.child("matchAttribute"), "")),
            }
            errors
        },
    ));
    errors.extend(each(
        &devices["config"],
        CONFIGS_MAX,
        &path.child("config"),
        |config, at| {
            let mut errors = request_references(&config["requests"], &names, &at.child("requests"));
            errors.extend(configuration(config, stored, at));
            errors
        },
    ));
    errors
}

fn request(request: &Value, path: &Path<'_>) -> Errors {
    let mut errors = check(dns_label, text(&request["name"]), &path.child("name"));
    let rule = "exactly one of `exactly` or `firstAvailable` is required";
    match (given(&request["exactly"]), items(&request["firstAvailable"]).is_empty()) {
        (false, true) => errors.push(FieldError::required(path, rule)),
        (true, false) => {
            let detail = format!("{rule}, but multiple fields are set");
            errors.push(FieldError::invalid(path, Value::Null, &detail));
        }
        (true, true) => errors.extend(wanted(&request["exactly"], &path.child("exactly"))),
        (false, false) => {
            let list = &request["firstAvailable"];
            let at = path.child("firstAvailable");
            errors.extend(each_once(list, ALTERNATIVES_MAX, "name", &at, |one, at| {
                let mut errors = check(dns_label, text(&one["name"]), &at.child("name"));
                errors.extend(wanted(one, at));
                errors
            }));
        }
    }
    errors
}

/// Which devices, and how many.
fn wanted(wanted: &Value, path: &Path<'_>) -> Errors {
    let mut errors = class_name(&wanted["deviceClassName"], &path.child("deviceClassName"));
    errors.extend(selectors(&wanted["selectors"], &path.child("selectors")));
    let count = int(&wanted["count"]);
    let field = path.child("count");
    match text(&wanted["allocationMode"]) {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(field, count, detail));
        }
        "ExactCount" if count <= 0 => errors.push(FieldError::invalid(field, count, "must be greater than zero")),
        "All" | "ExactCount" => {}
        other => {
            let modes = ["All", "ExactCount"];
            errors.push(FieldError::not_supported(path.child("allocationMode"), other, &modes));
        }
    }
    let at = path.child("tolerations");
    for (i, one) in items(&wanted["tolerations"]).iter().enumerate() {
        errors.extend(toleration(one, &at.index(i)));
    }
    errors
}

fn toleration(toleration: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let (key, value) = (text(&toleration["key"]), text(&toleration["value"]));
    if !key.is_empty() {
        errors.extend(check(qualified, key, &path.child("key")));
    }
    match optional_text(&toleration["operator"]).unwrap_or_default() {
        "Exists" if value.is_empty() => {}
        "Exists" => {
            let detail = "must be empty for operator `Exists`";
            errors.push(FieldError::invalid(path.child("value"), value, detail));
        }
        "Equal" => errors.extend(check(label_value, value, &path.child("value"))),
        "" => errors.push(FieldError::required(path.child("operator"), "")),
        other => {
            let operators = ["Equal", "Exists"];
            errors.push(FieldError::not_supported(path.child("operator"), other, &operators));
        }
    }
    let effect = text(&toleration["effect"]);
    if !effect.is_empty() && !TAINT_EFFECTS.contains(&effect) {
        errors.push(FieldError::not_supported(path.child("effect"), effect, &TAINT_EFFECTS));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(request: Value) -> Value {
        json!({"spec": {"devices": {"requests": [request]}}})
    }

    fn exactly(extra: Value) -> Value {
        let mut exactly = json!({"deviceClassName": "dc", "allocationMode": "ExactCount", "count": 1});
        exactly
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        claim(json!({"name": "r", "exactly": exactly}))
    }

    #[test]
    fn requests_say_what_they_want() {
        assert_eq!(create(&exactly(json!({}))), []);
        for bad in [
            json!({"deviceClassName": ""}),
            json!({"allocationMode": "X"}),
            json!({"allocationMode": "All"}),
            json!({"count": 0}),
            json!({"selectors": [{}]}),
            json!({"tolerations": [{"operator": "Exists", "value": "x"}]}),
        ] {
            assert_eq!(create(&exactly(bad.clone())).len(), 1, "{bad}");
        }
        assert_eq!(create(&claim(json!({"name": "r"}))).len(), 1);
    }

    #[test]
    fn the_spec_stays() {
        let (old, new) = (exactly(json!({})), exactly(json!({"count": 2})));
        assert!(update(&old, &old).is_empty());
        let message = &update(&new, &old)[0].message;
        assert!(
            message.starts_with(r#"Invalid value: {"Devices":{"Requests":[{"Name":"r","Exactly":{"DeviceClassName":"dc","Selectors":null,"#),
            "{message}"
        );
    }

    #[test]
    fn templates_have_labels_of_their_own() {
        let template = json!({"spec": {"metadata": {"labels": {"a": "b c"}}, "spec": exactly(json!({}))["spec"]}});
        assert_eq!(create_template(&template)[0].field, "spec.metadata.labels");
    }
}
