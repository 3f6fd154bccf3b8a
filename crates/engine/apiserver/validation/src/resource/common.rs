//! What claims, classes and slices share.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::get::{given, items, text, texts};
use crate::labels::check;
use crate::names::{dns_label, dns_subdomain, label_value, qualified};
use crate::scalars::formats::c_identifier;
use crate::shared::{Errors, driver_name};
use crate::{FieldError, Path};

pub(super) const REQUESTS_MAX: usize = 32;
pub(super) const CONFIGS_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
const EXPRESSION_BYTES_MAX: usize = 10 * 1024;
const PARAMETERS_BYTES_MAX: usize = 10 * 1024;
const POOL_NAME_BYTES_MAX: usize = 253;
const ID_BYTES_MAX: usize = 32;
const BINDING_CONDITIONS_MAX: usize = 4;
pub(super) const TAINT_EFFECTS: [&str; 2] = ["NoExecute", "NoSchedule"];

/// Checks the items of a list, then how many there are.
pub(super) fn each(list: &Value, max: usize, path: &Path<'_>, item: impl Fn(&Value, &Path<'_>) -> Errors) -> Errors {
    let list = items(list);
    let mut errors = Errors::new();
    for (i, one) in list.iter().enumerate() {
        errors.extend(item(one, &path.index(i)));
    }
    if list.len() > max {
        errors.push(FieldError::too_many(path, list.len(), max));
    }
    errors
}

/// Like `each`, for items of which each has a key of its own, in the field `key` or, if that is empty, itself.
pub(super) fn each_once(
    list: &Value,
    max: usize,
    key: &str,
    path: &Path<'_>,
    item: impl Fn(&Value, &Path<'_>) -> Errors,
) -> Errors {
    let mut errors = each(list, max, path, item);
    let mut seen = BTreeSet::new();
    for (i, one) in items(list).iter().enumerate() {
        let at = path.index(i);
        let name = text(if key.is_empty() { one } else { &one[key] });
        if !seen.insert(name) {
            errors.push(match key {
                "" => FieldError::duplicate(at, name),
                key => FieldError::duplicate(at.child(key), name),
            });
        }
    }
    errors
}

/// The names of a claim's requests with those of their alternatives.
pub(super) fn request_names(devices: &Value) -> BTreeMap<&str, BTreeSet<&str>> {
    let requests = items(&devices["requests"]).iter();
    requests
        .map(|one| (text(&one["name"]), names(&one["firstAvailable"])))
        .collect()
}

fn names(list: &Value) -> BTreeSet<&str> {
    items(list).iter().map(|one| text(&one["name"])).collect()
}

/// A reference to a request or one of its alternatives.
pub(super) fn request_reference(name: &str, requests: &BTreeMap<&str, BTreeSet<&str>>, path: &Path<'_>) -> Errors {
    let detail =
        "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let segments: Vec<&str> = name.split('/').collect();
    if segments.len() > 2 {
        return vec![FieldError::invalid(path, name, detail)];
    }
    let mut errors = Errors::new();
    for segment in &segments {
        errors.extend(check(dns_label, segment, path));
    }
    let alternatives = requests.get(segments[0]);
    let known = alternatives.is_some_and(|names| segments.get(1).is_none_or(|name| names.contains(name)));
    if !known {
        errors.push(FieldError::invalid(path, name, detail));
    }
    errors
}

/// References to requests, each once.
pub(super) fn request_references(names: &Value, requests: &BTreeMap<&str, BTreeSet<&str>>, path: &Path<'_>) -> Errors {
    each_once(names, REQUESTS_MAX, "", path, |name, at| {
        request_reference(text(name), requests, at)
    })
}

/// The name of a class of devices.
pub(super) fn class_name(value: &Value, path: &Path<'_>) -> Errors {
    match text(value) {
        "" => vec![FieldError::required(path, "")],
        name => check(dns_subdomain, name, path),
    }
}

/// Selectors of devices.
pub(super) fn selectors(list: &Value, path: &Path<'_>) -> Errors {
    each(list, SELECTORS_MAX, path, |selector, at| {
        let above = at.child("cel");
        if !given(&selector["cel"]) {
            return vec![FieldError::required(above, "")];
        }
        match text(&selector["cel"]["expression"]).len() > EXPRESSION_BYTES_MAX {
            true => vec![FieldError::too_long(above.child("expression"), EXPRESSION_BYTES_MAX)],
            false => Errors::new(),
        }
    })
}

/// What a driver is told; what was stored before is not measured again.
pub(super) fn configuration(config: &Value, stored: bool, path: &Path<'_>) -> Errors {
    let opaque = path.child("opaque");
    if !given(&config["opaque"]) {
        return vec![FieldError::required(opaque, "")];
    }
    let mut errors = driver_name(text(&config["opaque"]["driver"]), &opaque.child("driver"));
    let max = if stored { usize::MAX } else { PARAMETERS_BYTES_MAX };
    errors.extend(raw_object(
        &config["opaque"]["parameters"],
        max,
        &opaque.child("parameters"),
    ));
    errors
}

/// An object of any form, of so many bytes at most.
pub(super) fn raw_object(value: &Value, max: usize, path: &Path<'_>) -> Errors {
    if !given(value) {
        return vec![FieldError::required(path, "")];
    }
    if max < usize::MAX && value.to_string().len() > max {
        return vec![FieldError::too_long(path, max)];
    }
    match value.is_object() {
        true => Errors::new(),
        false => vec![FieldError::invalid(
            path,
            "<value omitted>",
            "parameters must be a valid JSON object",
        )],
    }
}

/// The name of a pool of devices.
pub(super) fn pool_name(name: &str, path: &Path<'_>) -> Errors {
    if name.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = Errors::new();
    if name.len() > POOL_NAME_BYTES_MAX {
        errors.push(FieldError::too_long(path, POOL_NAME_BYTES_MAX));
    }
    for part in name.split('/') {
        errors.extend(check(dns_subdomain, part, path));
    }
    errors
}

/// The name of an attribute, with a domain or without.
pub(super) fn attribute_name(name: &str, path: &Path<'_>) -> Errors {
    if name.is_empty() {
        return vec![FieldError::required(path, "name required")];
    }
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [id] => identifier(id, path),
        [domain, id] => {
            let mut errors = match domain {
                "" => vec![FieldError::required(path, "the domain must not be empty")],
                domain => driver_name(domain, path),
            };
            errors.extend(match id {
                "" => vec![FieldError::required(path, "the name must not be empty")],
                id => identifier(id, path),
            });
            errors
        }
        _ => Errors::new(),
    }
}

/// The name of an attribute, with a domain.
pub(super) fn full_attribute_name(name: &str, path: &Path<'_>) -> Errors {
    let mut errors = attribute_name(name, path);
    if !name.is_empty() && !name.contains('/') {
        errors.push(FieldError::invalid(path, name, "must include a domain"));
    }
    errors
}

fn identifier(id: &str, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    if id.len() > ID_BYTES_MAX {
        errors.push(FieldError::too_long(path, ID_BYTES_MAX));
    }
    let wrong = c_identifier(id);
    errors.extend(wrong.iter().map(|detail| FieldError::type_invalid(path, id, detail)));
    errors
}

/// A taint on a device.
pub(super) fn taint(taint: &Value, path: &Path<'_>) -> Errors {
    let mut errors = check(qualified, text(&taint["key"]), &path.child("key"));
    errors.extend(check(label_value, text(&taint["value"]), &path.child("value")));
    match text(&taint["effect"]) {
        "" => errors.push(FieldError::required(path.child("effect"), "")),
        effect if !TAINT_EFFECTS.contains(&effect) => {
            errors.push(FieldError::not_supported(path.child("effect"), effect, &TAINT_EFFECTS));
        }
        _ => {}
    }
    errors
}

/// Conditions that bind a device, or fail to: both or none, and none twice.
pub(super) fn binding_conditions(device: &Value, path: &Path<'_>) -> Errors {
    let keys = ["bindingConditions", "bindingFailureConditions"];
    let mut errors = Errors::new();
    for key in keys {
        let at = path.child(key);
        errors.extend(each(&device[key], BINDING_CONDITIONS_MAX, &at, |one, at| {
            check(qualified, text(one), at)
        }));
    }
    let binding: Vec<&str> = texts(&device[keys[0]]).collect();
    for key in keys {
        let at = path.child(key);
        let mut seen = BTreeSet::new();
        for (i, condition) in texts(&device[key]).enumerate() {
            if !seen.insert(condition) {
                errors.push(FieldError::duplicate(at.index(i), condition));
            }
            if key == keys[1] && binding.contains(&condition) {
                let detail = "bindingFailureConditions must not overlap with bindingConditions";
                errors.push(FieldError::invalid(at.index(i), condition, detail));
            }
        }
    }
    for (key, other) in [(keys[0], keys[1]), (keys[1], keys[0])] {
        if items(&device[key]).is_empty() && !items(&device[other]).is_empty() {
            let detail = format!("{key} are required to use {other}");
            errors.push(FieldError::invalid(path.child(key), device[key].clone(), &detail));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_name_requests() {
        let devices = json!({"requests": [{"name": "a"}, {"name": "b", "firstAvailable": [{"name": "x"}]}]});
        let names = request_names(&devices);
        let path = Path::Root.child("r");
        for (name, wrong) in [
            ("a", 0),
            ("b", 0),
            ("b/x", 0),
            ("a/x", 1),
            ("c", 1),
            ("a/b/c", 1),
            ("A", 2),
        ] {
            assert_eq!(request_reference(name, &names, &path).len(), wrong, "{name}");
        }
    }

    #[test]
    fn attributes_have_names() {
        let path = Path::Root.child("a");
        assert!(full_attribute_name("a.b/model", &path).is_empty());
        assert_eq!(
            full_attribute_name("x", &path)[0].message,
            "Invalid value: \"x\": must include a domain"
        );
        assert_eq!(attribute_name("1-", &path)[0].reason, "FieldValueTypeInvalid");
        assert_eq!(attribute_name("/", &path).len(), 2);
    }

    #[test]
    fn conditions_come_in_both_kinds() {
        let path = Path::Root.child("d");
        assert_eq!(binding_conditions(&json!({"bindingConditions": ["a"]}), &path).len(), 1);
        let both = json!({"bindingConditions": ["a", "a"], "bindingFailureConditions": ["a"]});
        assert_eq!(binding_conditions(&both, &path).len(), 2);
    }
}
