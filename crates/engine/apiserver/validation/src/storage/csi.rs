//! CSIDriver, CSINode and CSIStorageCapacity.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::get::{given, items, optional_int, same, text, texts};
use crate::gojson::{self, Shape};
use crate::labels::{check, has_invalid_value, selector};
use crate::names::{dns_subdomain, qualified};
use crate::scalars::timing::NEGATIVE;
use crate::shared::{Errors, driver_name, immutable, not_negative, one_of};
use crate::{FieldError, Path};
use engenho_quantity::Quantity;

const NODE_ID_BYTES_MAX: usize = 256;
const FS_GROUP_POLICIES: [&str; 3] = ["File", "None", "ReadWriteOnceWithFSType"];
const LIFECYCLE_MODES: [&str; 2] = ["Persistent", "Ephemeral"];
const NODE_DRIVER: Shape = Shape::Struct(&[
    ("Name", "name", Shape::Text),
    ("NodeID", "nodeID", Shape::Text),
    ("TopologyKeys", "topologyKeys", Shape::Same),
    (
        "Allocatable",
        "allocatable",
        Shape::Maybe(&Shape::Struct(&[("Count", "count", Shape::Same)])),
    ),
]);

/// What is wrong with a new CSIDriver.
pub(crate) fn create_driver(object: &Value) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    let required = [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ];
    for (key, named) in required {
        if !given(&spec[key]) {
            errors.push(FieldError::required(path.child(named), ""));
        }
    }
    errors.extend(one_of(
        &spec["fsGroupPolicy"],
        &FS_GROUP_POLICIES,
        &path.child("fsGroupPolicy"),
    ));
    errors.extend(token_requests(&spec["tokenRequests"], &path.child("tokenRequests")));
    let modes = path.child("volumeLifecycleModes");
    for mode in texts(&spec["volumeLifecycleModes"]).filter(|mode| !LIFECYCLE_MODES.contains(mode)) {
        errors.push(FieldError::not_supported(modes, mode, &LIFECYCLE_MODES));
    }
    if !given(&spec["seLinuxMount"]) {
        errors.push(FieldError::required(path.child("seLinuxMount"), ""));
    }
    errors
}

/// What is wrong with a CSIDriver that replaces another.
pub(crate) fn update_driver(new: &Value, old: &Value) -> Errors {
    let mut errors = create_driver(new);
    let path = Path::Root.child("spec");
    for (key, named) in [
        ("attachRequired", "attachedRequired"),
        ("volumeLifecycleModes", "volumeLifecycleModes"),
    ] {
        errors.extend(immutable(&new["spec"][key], &old["spec"][key], &path.child(named)));
    }
    errors
}

fn token_requests(requests: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut audiences = BTreeSet::new();
    for (i, request) in items(requests).iter().enumerate() {
        let at = path.index(i);
        let audience = text(&request["audience"]);
        if !audiences.insert(audience) {
            errors.push(FieldError::duplicate(at.child("audience"), audience));
            continue;
        }
        let Some(seconds) = optional_int(&request["expirationSeconds"]) else {
            continue;
        };
        let mut wrong = |detail| errors.push(FieldError::invalid(at.child("expirationSeconds"), seconds, detail));
        if seconds < 600 {
            wrong("may not specify a duration less than 10 minutes");
        }
        if seconds > 1 << 32 {
            wrong("may not specify a duration larger than 2^32 seconds");
        }
    }
    errors
}

/// What is wrong with a new CSINode.
pub(crate) fn create_node(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = Path::Root.child("spec");
    let path = spec.child("drivers");
    let mut seen = BTreeSet::new();
    for (i, driver) in items(&object["spec"]["drivers"]).iter().enumerate() {
        let at = path.index(i);
        let (name, id) = (text(&driver["name"]), text(&driver["nodeID"]));
        errors.extend(driver_name(name, &at.child("name")));
        if id.is_empty() {
            errors.push(FieldError::required(at.child("nodeID"), ""));
        }
        if id.len() > NODE_ID_BYTES_MAX {
            let detail = format!("must be {NODE_ID_BYTES_MAX} characters or less");
            errors.push(FieldError::invalid(at.child("nodeID"), id, &detail));
        }
        let allocatable = at.child("allocatable");
        errors.extend(not_negative(
            &driver["allocatable"]["count"],
            &allocatable.child("count"),
        ));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(at.child("name"), name));
        }
        let mut keys = BTreeSet::new();
        for key in texts(&driver["topologyKeys"]) {
            if key.is_empty() {
                errors.push(FieldError::required(at, ""));
            }
            if !keys.insert(key) {
                errors.push(FieldError::duplicate(at, key));
            }
            errors.extend(check(qualified, key, &at));
        }
    }
    errors
}

/// What is wrong with a CSINode that replaces another; upstream checks it twice.
pub(crate) fn update_node(new: &Value, old: &Value) -> Errors {
    let mut errors = create_node(new);
    errors.extend(errors.clone());
    let after: BTreeMap<&str, &Value> = items(&new["spec"]["drivers"])
        .iter()
        .map(|driver| (text(&driver["name"]), driver))
        .collect();
    for before in items(&old["spec"]["drivers"]) {
        match after.get(text(&before["name"])) {
            Some(after) if !same(before, after) => {
                errors.push(gojson::invalid(
                    "spec.drivers",
                    &NODE_DRIVER,
                    after,
                    "field is immutable",
                ));
            }
            _ => {}
        }
    }
    errors
}

/// What is wrong with a new CSIStorageCapacity.
pub(crate) fn create_capacity(object: &Value) -> Errors {
    capacity(object, false)
}

/// What is wrong with a CSIStorageCapacity that replaces another.
pub(crate) fn update_capacity(new: &Value, old: &Value) -> Errors {
    let mut errors = capacity(new, has_invalid_value(&old["nodeTopology"]));
    for key in ["nodeTopology", "storageClassName"] {
        errors.extend(immutable(&new[key], &old[key], &Path::Root.child(key)));
    }
    errors
}

fn capacity(object: &Value, lenient: bool) -> Errors {
    let root = Path::Root;
    let mut errors = selector(&object["nodeTopology"], lenient, &root.child("nodeTopology"));
    let class = text(&object["storageClassName"]);
    errors.extend(check(dns_subdomain, class, &root.child("storageClassName")));
    if let Ok(quantity) = Quantity::read(&object["capacity"])
        && quantity < Quantity::ZERO
    {
        errors.push(FieldError::invalid("capacity", quantity.to_string(), NEGATIVE));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_driver_says_what_it_needs() {
        let spec =
            json!({"attachRequired": true, "podInfoOnMount": false, "storageCapacity": false, "seLinuxMount": false});
        let driver = json!({"spec": spec});
        assert!(create_driver(&driver).is_empty());
        let mut new = driver.clone();
        new["spec"]["attachRequired"] = json!(false);
        assert_eq!(update_driver(&new, &driver)[0].field, "spec.attachedRequired");
        assert_eq!(create_driver(&json!({})).len(), 4);
    }

    #[test]
    fn a_node_keeps_its_identity() {
        let node = |id: &str| json!({"spec": {"drivers": [{"name": "d", "nodeID": id}]}});
        assert!(update_node(&node("a"), &node("a")).is_empty());
        assert_eq!(
            update_node(&node("b"), &node("a"))[0].message,
            r#"Invalid value: {"Name":"d","NodeID":"b","TopologyKeys":null,"Allocatable":null}: field is immutable"#
        );
    }

    #[test]
    fn capacities_are_not_negative() {
        let capacity = json!({"storageClassName": "a", "capacity": "-1"});
        assert_eq!(create_capacity(&capacity).len(), 1);
    }
}
