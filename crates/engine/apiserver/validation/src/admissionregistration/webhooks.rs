//! ValidatingWebhookConfiguration and MutatingWebhookConfiguration.

use serde_json::Value;

use super::conditions::match_conditions;
use super::rules::rules;
use super::{FAILURE_POLICIES, MATCH_POLICIES};
use crate::get::{given, items, optional_int, optional_text, same, text, texts};
use crate::labels::{check, selector};
use crate::names::dns_1035_label;
use crate::shared::{Errors, fully_qualified_name, one_of, webhook_client};
use crate::{FieldError, Path};

const SIDE_EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// What is asked of webhooks; an update asks no more than the old object fulfils.
#[derive(Debug, Clone, Copy)]
struct Asked {
    conditions: bool,
    no_side_effects: bool,
    known_versions: bool,
    unique_names: bool,
    label_values: bool,
}

const ALL: Asked = Asked {
    conditions: true,
    no_side_effects: true,
    known_versions: true,
    unique_names: true,
    label_values: true,
};

/// What is wrong with a new configuration of webhooks.
pub(crate) fn create(object: &Value) -> Errors {
    validate(object, ALL)
}

/// What is wrong with a configuration that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    validate(new, asked(new, old))
}

fn asked(new: &Value, old: &Value) -> Asked {
    let (new, old) = (items(&new["webhooks"]), items(&old["webhooks"]));
    let same_conditions = new.len() == old.len()
        && new
            .iter()
            .zip(old)
            .all(|(a, b)| same(&a["matchConditions"], &b["matchConditions"]));
    let mut names = std::collections::BTreeSet::new();
    let selectors = old
        .iter()
        .flat_map(|hook| [&hook["namespaceSelector"], &hook["objectSelector"]]);
    let mut selectors = selectors.map(|one| selector(one, false, &Path::Root));
    Asked {
        conditions: !same_conditions,
        no_side_effects: old
            .iter()
            .all(|hook| matches!(text(&hook["sideEffects"]), "None" | "NoneOnDryRun")),
        known_versions: old.iter().all(|hook| {
            let versions = &hook["admissionReviewVersions"];
            items(versions).is_empty() || texts(versions).any(|v| REVIEW_VERSIONS.contains(&v))
        }),
        unique_names: old.iter().all(|hook| names.insert(text(&hook["name"]))),
        label_values: selectors.all(|errors| errors.is_empty()),
    }
}

fn validate(object: &Value, asked: Asked) -> Errors {
    let mut errors = Errors::new();
    let path = Path::Root.child("webhooks");
    let mut names = std::collections::BTreeSet::new();
    for (i, one) in items(&object["webhooks"]).iter().enumerate() {
        let at = path.index(i);
        errors.extend(hook(one, asked, &at));
        let versions = at.child("admissionReviewVersions");
        errors.extend(review_versions(&one["admissionReviewVersions"], asked, &versions));
        let name = text(&one["name"]);
        if asked.unique_names && !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(at.child("name"), name));
        }
    }
    errors
}

fn hook(hook: &Value, asked: Asked, path: &Path<'_>) -> Errors {
    let mut errors = fully_qualified_name(text(&hook["name"]), &path.child("name"));
    errors.extend(rules(&hook["rules"], &path.child("rules")));
    errors.extend(one_of(
        &hook["failurePolicy"],
        &FAILURE_POLICIES,
        &path.child("failurePolicy"),
    ));
    errors.extend(one_of(
        &hook["matchPolicy"],
        &MATCH_POLICIES,
        &path.child("matchPolicy"),
    ));
    let allowed = match asked.no_side_effects {
        true => &SIDE_EFFECTS[..2],
        false => &SIDE_EFFECTS[..],
    };
    if optional_text(&hook["sideEffects"]).is_none() {
        let detail = format!("must specify one of {}", allowed.join(", "));
        errors.push(FieldError::required(path.child("sideEffects"), &detail));
    }
    errors.extend(one_of(&hook["sideEffects"], allowed, &path.child("sideEffects")));
    if let Some(seconds) = optional_int(&hook["timeoutSeconds"])
        && !(1..=30).contains(&seconds)
    {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(path.child("timeoutSeconds"), seconds, detail));
    }
    for key in ["namespaceSelector", "objectSelector"] {
        if given(&hook[key]) {
            errors.extend(selector(&hook[key], !asked.label_values, &path.child(key)));
        }
    }
    let policies = ["IfNeeded", "Never"];
    let key = "reinvocationPolicy";
    errors.extend(one_of(&hook[key], &policies, &path.child(key)));
    errors.extend(webhook_client(&hook["clientConfig"], &path.child("clientConfig")));
    if asked.conditions {
        let at = path.child("matchConditions");
        errors.extend(match_conditions(&hook["matchConditions"], false, &at));
    }
    errors
}

fn review_versions(versions: &Value, asked: Asked, path: &Path<'_>) -> Errors {
    let known = REVIEW_VERSIONS.join(", ");
    if items(versions).is_empty() {
        let detail = format!("must specify one of {known}");
        return vec![FieldError::required(path, &detail)];
    }
    let mut errors = Errors::new();
    let mut seen = std::collections::BTreeSet::new();
    for (i, version) in texts(versions).enumerate() {
        if !seen.insert(version) {
            errors.push(FieldError::invalid(path.index(i), version, "duplicate version"));
            continue;
        }
        errors.extend(check(dns_1035_label, version, &path.index(i)));
    }
    if asked.known_versions && !REVIEW_VERSIONS.iter().any(|version| seen.contains(version)) {
        let detail = format!("must include at least one of {known}");
        errors.push(FieldError::invalid(path, versions.clone(), &detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn configuration(extra: Value) -> Value {
        let mut hook = json!({
            "name": "a.b.c",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://a.b/c"},
        });
        hook.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"webhooks": [hook]})
    }

    #[test]
    fn a_plain_one_is_valid() {
        assert_eq!(create(&configuration(json!({}))), []);
        let fields: Vec<String> = create(&json!({"webhooks": [{}]}))
            .into_iter()
            .map(|e| e.field)
            .collect();
        let expected = ["name", "sideEffects", "clientConfig", "admissionReviewVersions"];
        assert_eq!(fields, expected.map(|field| format!("webhooks[0].{field}")));
    }

    #[test]
    fn what_was_tolerated_stays_so() {
        for bad in [
            json!({"sideEffects": "Some"}),
            json!({"admissionReviewVersions": ["v9"]}),
            json!({"matchConditions": [{}]}),
        ] {
            let object = configuration(bad);
            assert!(!create(&object).is_empty() && update(&object, &object).is_empty());
        }
    }
}
