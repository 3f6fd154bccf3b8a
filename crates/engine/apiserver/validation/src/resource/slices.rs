//! ResourceSlice.

use serde_json::Value;

use super::common::{attribute_name, binding_conditions, each, each_once, pool_name, taint};
use crate::core::pod::scheduling::node_selector;
use crate::get::{count, entries, flag, given, int, items, optional_text, text};
use crate::gojson::{self, Shape};
use crate::labels::check;
use crate::names::{dns_label, dns_subdomain};
use crate::shared::{Errors, driver_name, immutable, is_false};
use crate::{FieldError, Path};

const DEVICES_MAX: usize = 128;
const COUNTER_SETS_MAX: usize = 32;
const COUNTERS_MAX: usize = 32;
const PROPERTIES_MAX: usize = 32;
const TAINTS_MAX: usize = 4;
const VALUE_BYTES_MAX: usize = 64;
/// Bytes of a key in a path: a domain, a slash and an identifier.
const KEY_BYTES_MAX: usize = 63 + 1 + 32;
const NOT_TRUE: &str = "must be either unset or set to true";
const ATTRIBUTE: Shape = Shape::Struct(&[
    ("IntValue", "int", Shape::Same),
    ("BoolValue", "bool", Shape::Same),
    ("StringValue", "string", Shape::Same),
    ("VersionValue", "version", Shape::Same),
]);

/// What is wrong with a new ResourceSlice.
pub(crate) fn create(object: &Value) -> Errors {
    spec(&object["spec"], None)
}

/// What is wrong with a ResourceSlice that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    spec(&new["spec"], Some(&old["spec"]))
}

fn spec(spec: &Value, old: Option<&Value>) -> Errors {
    let path = Path::Root.child("spec");
    let mut errors = driver_name(text(&spec["driver"]), &path.child("driver"));
    let pool = path.child("pool");
    errors.extend(pool_name(text(&spec["pool"]["name"]), &pool.child("name")));
    let slices = int(&spec["pool"]["resourceSliceCount"]);
    if slices <= 0 {
        let field = pool.child("resourceSliceCount");
        errors.push(FieldError::invalid(field, slices, "must be greater than zero"));
    }
    let generation = int(&spec["pool"]["generation"]);
    if generation < 0 {
        let field = pool.child("generation");
        errors.push(FieldError::invalid(
            field,
            generation,
            "must be greater than or equal to zero",
        ));
    }
    if let Some(old) = old {
        errors.extend(immutable(
            &spec["pool"]["name"],
            &old["pool"]["name"],
            &pool.child("name"),
        ));
        for key in ["driver", "nodeName"] {
            errors.extend(immutable(&spec[key], &old[key], &path.child(key)));
        }
    }
    errors.extend(nodes(spec, &path));
    let per_device = flag(&spec["perDeviceNodeSelection"]);
    errors.extend(each_once(
        &spec["devices"],
        DEVICES_MAX,
        "name",
        &path.child("devices"),
        |one, at| device(one, per_device, at),
    ));
    let sets = path.child("sharedCounters");
    errors.extend(each_once(
        &spec["sharedCounters"],
        COUNTER_SETS_MAX,
        "name",
        &sets,
        |set, at| counters(set, "name", at),
    ));
    errors
}

/// Where the devices are: exactly one way to say it.
fn nodes(spec: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut set = Vec::new();
    match optional_text(&spec["nodeName"]) {
        None => {}
        Some("") => {
            let detail = "must be either unset or set to a non-empty string";
            errors.push(FieldError::invalid(path.child("nodeName"), "", detail));
        }
        Some(name) => {
            set.push("`nodeName`");
            errors.extend(check(dns_subdomain, name, &path.child("nodeName")));
        }
    }
    let selector = &spec["nodeSelector"];
    if given(selector) {
        set.push("`nodeSelector`");
        let at = path.child("nodeSelector");
        errors.extend(crate::errors::Errors::of(|errors| {
            node_selector(selector, false, &at, errors)
        }));
        if items(&selector["nodeSelectorTerms"]).len() != 1 {
            let detail = "must have exactly one node selector term";
            let terms = selector["nodeSelectorTerms"].clone();
            errors.push(FieldError::invalid(at.child("nodeSelectorTerms"), terms, detail));
        }
    }
    for (key, named) in [
        ("allNodes", "`allNodes`"),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`"),
    ] {
        if flag(&spec[key]) {
            set.push(named);
        } else if is_false(&spec[key]) {
            errors.push(FieldError::invalid(path.child(key), false, NOT_TRUE));
        }
    }
    let rule = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.len() {
        0 => errors.push(FieldError::required(path, rule)),
        1 => {}
        _ => {
            let detail = format!("{rule}, but multiple fields are set");
            errors.push(FieldError::invalid(path, format!("{{{}}}", set.join(", ")), &detail));
        }
    }
    errors
}

/// A key as it stands in a path: a long one loses its middle.
fn shown(key: &str) -> String {
    if key.len() <= KEY_BYTES_MAX {
        return key.to_owned();
    }
    let remaining = KEY_BYTES_MAX - 3;
    let head = String::from_utf8_lossy(&key.as_bytes()[..remaining.div_ceil(2)]);
    let tail = String::from_utf8_lossy(&key.as_bytes()[key.len() - remaining / 2..]);
    format!("{head}...{tail}")
}

fn device(device: &Value, per_device: bool, path: &Path<'_>) -> Errors {
    let mut errors = check(dns_label, text(&device["name"]), &path.child("name"));
    let properties = count(&device["attributes"]) + count(&device["capacity"]);
    if properties > PROPERTIES_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {PROPERTIES_MAX}");
        errors.push(FieldError::invalid(path, properties, &detail));
    }
    let at = path.child("attributes");
    for (key, value) in entries(&device["attributes"]) {
        let shown = shown(key);
        let at = at.key(&shown);
        errors.extend(attribute_name(key, &at));
        errors.extend(attribute(value, &at));
    }
    let at = path.child("capacity");
    for (key, _) in entries(&device["capacity"]) {
        errors.extend(attribute_name(key, &at.key(&shown(key))));
    }
    errors.extend(each(&device["taints"], TAINTS_MAX, &path.child("taints"), taint));
    let at = path.child("consumesCounters");
    errors.extend(each_once(
        &device["consumesCounters"],
        COUNTERS_MAX,
        "counterSet",
        &at,
        |one, at| counters(one, "counterSet", at),
    ));
    errors.extend(device_nodes(device, per_device, path));
    errors.extend(binding_conditions(device, path));
    errors
}

fn device_nodes(device: &Value, per_device: bool, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    if !per_device {
        if ["nodeName", "nodeSelector", "allNodes"]
            .iter()
            .any(|key| given(&device[*key]))
        {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.push(FieldError::invalid(path, Value::Null, detail));
        }
        return errors;
    }
    let mut set = Vec::new();
    match optional_text(&device["nodeName"]) {
        None => {}
        Some("") => errors.push(FieldError::invalid(path.child("nodeName"), "", "must not be empty")),
        Some(name) => {
            set.push("`nodeName`");
            errors.extend(check(dns_subdomain, name, &path.child("nodeName")));
        }
    }
    let selector = &device["nodeSelector"];
    if given(selector) {
        set.push("`nodeSelector`");
        let at = path.child("nodeSelector");
        errors.extend(crate::errors::Errors::of(|errors| {
            node_selector(selector, false, &at, errors)
        }));
    }
    if flag(&device["allNodes"]) {
        set.push("`allNodes`");
    } else if is_false(&device["allNodes"]) {
        errors.push(FieldError::invalid(path.child("allNodes"), false, NOT_TRUE));
    }
    let rule = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match set.len() {
        0 => errors.push(FieldError::required(path, rule)),
        1 => {}
        _ => errors.push(FieldError::invalid(path, format!("{{{}}}", set.join(", ")), rule)),
    }
    errors
}

fn attribute(attribute: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    if let Some(value) = optional_text(&attribute["string"])
        && value.len() > VALUE_BYTES_MAX
    {
        errors.push(FieldError::too_long(path.child("string"), VALUE_BYTES_MAX));
    }
    if let Some(value) = optional_text(&attribute["version"]) {
        if !is_semantic_version(value) {
            let detail = "must be a string compatible with semver.org spec 2.0.0";
            errors.push(FieldError::invalid(path.child("version"), value, detail));
        }
        if value.len() > VALUE_BYTES_MAX {
            errors.push(FieldError::too_long(path.child("version"), VALUE_BYTES_MAX));
        }
    }
    let values = ["bool", "int", "string", "version"];
    let detail = "exactly one value must be specified";
    match values.iter().filter(|key| given(&attribute[**key])).count() {
        0 => errors.push(FieldError::required(path, detail)),
        1 => {}
        _ => errors.push(gojson::invalid(path, &ATTRIBUTE, attribute, detail)),
    }
    errors
}

fn is_semantic_version(version: &str) -> bool {
    let (version, build) = match version.split_once('+') {
        Some((version, build)) => (version, Some(build)),
        None => (version, None),
    };
    let (numbers, release) = match version.split_once('-') {
        Some((numbers, release)) => (numbers, Some(release)),
        None => (version, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let number = |s: &str| digits(s) && (s == "0" || !s.starts_with('0'));
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && release.is_none_or(|r| r.split('.').all(|part| number(part) || (word(part) && !digits(part))))
        && build.is_none_or(|b| b.split('.').all(word))
}

/// A set of counters under the name in `key`.
fn counters(set: &Value, key: &str, path: &Path<'_>) -> Errors {
    let mut errors = match text(&set[key]) {
        "" => vec![FieldError::required(path.child(key), "")],
        name => check(dns_label, name, &path.child(key)),
    };
    let at = path.child("counters");
    let number = count(&set["counters"]);
    if number == 0 {
        errors.push(FieldError::required(at, ""));
        return errors;
    }
    if number > COUNTERS_MAX {
        errors.push(FieldError::too_many(at, number, COUNTERS_MAX));
    }
    for (name, _) in entries(&set["counters"]) {
        errors.extend(check(dns_label, name, &at.key(name)));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(extra: Value) -> Value {
        let mut spec =
            json!({"driver": "d.example.com", "pool": {"name": "p", "resourceSliceCount": 1}, "allNodes": true});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"spec": spec})
    }

    #[test]
    fn devices_have_typed_attributes() {
        let device = |attribute: Value| slice(json!({"devices": [{"name": "a", "attributes": {"x": attribute}}]}));
        assert_eq!(create(&device(json!({"int": 1}))), []);
        for bad in [json!({}), json!({"int": 1, "bool": true}), json!({"version": "1.02.3"})] {
            assert_eq!(create(&device(bad.clone())).len(), 1, "{bad}");
        }
    }

    #[test]
    fn devices_are_in_one_place() {
        assert_eq!(create(&slice(json!({"nodeName": "n"}))).len(), 1);
        assert_eq!(create(&slice(json!({"allNodes": false}))).len(), 2);
        assert_eq!(
            update(&slice(json!({"driver": "e.example.com"})), &slice(json!({}))).len(),
            1
        );
    }

    #[test]
    fn versions() {
        for (version, fine) in [
            ("1.2.3", true),
            ("1.2.3-a.1+b", true),
            ("1.2", false),
            ("1.2.3-01", false),
        ] {
            assert_eq!(is_semantic_version(version), fine, "{version}");
        }
    }

    #[test]
    fn long_keys_lose_their_middle() {
        let key = "é".repeat(100);
        assert!(shown(&key).contains("..."));
        assert_eq!(shown("a"), "a");
    }
}
