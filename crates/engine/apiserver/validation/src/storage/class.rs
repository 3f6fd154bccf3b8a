//! StorageClass and VolumeAttributesClass.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::get::{count, entries, items, optional_text, same, text, texts};
use crate::labels::check;
use crate::names::qualified;
use crate::shared::{Errors, immutable, one_of};
use crate::{FieldError, Path};

const PARAMETERS_BYTES_MAX: usize = 256 * 1024;
const PARAMETERS_MAX: usize = 512;
/// How often a term is reported to repeat earlier ones: upstream does so for each of these.
const REPEATS_MAX: usize = 64;

/// What is wrong with a new StorageClass.
pub(crate) fn create(object: &Value) -> Errors {
    let root = Path::Root;
    let mut errors = provisioner(&object["provisioner"], &root.child("provisioner"));
    errors.extend(parameters(&object["parameters"], true, &root.child("parameters")));
    if !text(&object["reclaimPolicy"]).is_empty() {
        let path = root.child("reclaimPolicy");
        errors.extend(one_of(&object["reclaimPolicy"], &["Delete", "Retain"], &path));
    }
    let path = root.child("volumeBindingMode");
    match optional_text(&object["volumeBindingMode"]) {
        None => errors.push(FieldError::required(path, "")),
        Some(_) => {
            let modes = ["Immediate", "WaitForFirstConsumer"];
            errors.extend(one_of(&object["volumeBindingMode"], &modes, &path));
        }
    }
    errors.extend(topologies(&object["allowedTopologies"]));
    errors
}

/// What is wrong with a StorageClass that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = create(new);
    errors.extend(unchanged(new, old, &["parameters", "provisioner", "reclaimPolicy"]));
    let key = "volumeBindingMode";
    errors.extend(immutable(&new[key], &old[key], &Path::Root.child(key)));
    errors
}

/// What is wrong with a new VolumeAttributesClass.
pub(crate) fn create_attributes(object: &Value) -> Errors {
    let root = Path::Root;
    let mut errors = provisioner(&object["driverName"], &root.child("driverName"));
    errors.extend(parameters(&object["parameters"], false, &root.child("parameters")));
    errors
}

/// What is wrong with a VolumeAttributesClass that replaces another.
pub(crate) fn update_attributes(new: &Value, old: &Value) -> Errors {
    let mut errors = create_attributes(new);
    errors.extend(unchanged(new, old, &["driverName", "parameters"]));
    errors
}

fn unchanged(new: &Value, old: &Value, keys: &[&str]) -> Errors {
    keys.iter()
        .filter(|key| !same(&new[**key], &old[**key]))
        .map(|key| FieldError::forbidden(*key, &format!("updates to {key} are forbidden.")))
        .collect()
}

fn provisioner(value: &Value, path: &Path<'_>) -> Errors {
    match text(value) {
        "" => vec![FieldError::required(path, "")],
        name => check(qualified, &name.to_lowercase(), path),
    }
}

fn parameters(parameters: &Value, may_be_empty: bool, path: &Path<'_>) -> Errors {
    if count(parameters) > PARAMETERS_MAX {
        return vec![FieldError::too_long(path, PARAMETERS_MAX)];
    }
    let mut errors = Errors::new();
    let mut bytes = 0;
    for (key, value) in entries(parameters) {
        if key.is_empty() {
            errors.push(FieldError::invalid(path, key, "field can not be empty."));
        }
        bytes += key.len() + text(value).len();
    }
    if bytes > PARAMETERS_BYTES_MAX {
        errors.push(FieldError::too_long(path, PARAMETERS_BYTES_MAX));
    }
    if !may_be_empty && count(parameters) == 0 {
        errors.push(FieldError::required(path, "must contain at least one key/value pair"));
    }
    errors
}

fn topologies(topologies: &Value) -> Errors {
    let mut errors = Errors::new();
    let path = Path::Root.child("allowedTopologies");
    let terms = items(topologies);
    let mut seen: BTreeMap<BTreeMap<&str, BTreeSet<&str>>, usize> = BTreeMap::new();
    // An empty term equals what upstream's list of earlier terms begins with: one for each term.
    seen.insert(BTreeMap::new(), terms.len());
    for (i, term) in terms.iter().enumerate() {
        let at = path.index(i);
        let mut keys = BTreeMap::new();
        let expressions = at.child("matchLabelExpressions");
        for (i, expression) in items(&term["matchLabelExpressions"]).iter().enumerate() {
            let at = expressions.index(i);
            let mut values = BTreeSet::new();
            let values_path = at.child("values");
            if items(&expression["values"]).is_empty() {
                errors.push(FieldError::required(values_path, ""));
            }
            for (i, value) in texts(&expression["values"]).enumerate() {
                if !values.insert(value) {
                    errors.push(FieldError::duplicate(values_path.index(i), value));
                }
            }
            let key = text(&expression["key"]);
            errors.extend(check(qualified, key, &at.child("key")));
            if keys.insert(key, values).is_some() {
                errors.push(FieldError::duplicate(at.child("key"), key));
            }
        }
        let times = seen.entry(keys).or_default();
        let reported = (*times).min(REPEATS_MAX);
        errors.extend((0..reported).map(|_| FieldError::duplicate(expressions, "")));
        *times += 1;
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class() -> Value {
        json!({"provisioner": "Example.com/a", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})
    }

    #[test]
    fn a_class_does_not_change() {
        assert!(create(&class()).is_empty());
        let mut new = class();
        new["provisioner"] = json!("b");
        new["volumeBindingMode"] = json!("WaitForFirstConsumer");
        let errors = update(&new, &class());
        assert_eq!(errors[0].message, "Forbidden: updates to provisioner are forbidden.");
        assert_eq!(
            errors[1].message,
            "Invalid value: \"WaitForFirstConsumer\": field is immutable"
        );
    }

    #[test]
    fn terms_of_topologies_differ() {
        let term = json!({"matchLabelExpressions": [{"key": "z", "values": ["a"]}]});
        assert!(topologies(&json!([term])).is_empty());
        assert_eq!(topologies(&json!([term, term])).len(), 1);
        assert_eq!(topologies(&json!([{}, {}])).len(), 5);
    }
}
