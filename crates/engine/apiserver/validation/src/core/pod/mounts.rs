//! Mounts of volumes and block devices in containers.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::Path;
use crate::errors::Errors;
use crate::get::{flag, given, items, optional_text, text};
use crate::scalars::paths::{local_descending, no_backsteps};

/// The volumes of a pod that are valid, by name.
pub(crate) type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

fn by_name<'a>(list: &'a Value, path: &str) -> BTreeMap<&'a str, &'a str> {
    items(list)
        .iter()
        .map(|item| (text(&item["name"]), text(&item[path])))
        .collect()
}

/// Mounts of a container.
pub(super) fn mounts(container: &Value, volumes: &Volumes, path: &Path, errors: &mut Errors) {
    let devices = by_name(&container["volumeDevices"], "devicePath");
    let mut seen = HashSet::new();
    for (i, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let item = path.index(i);
        let (name, target) = (text(&mount["name"]), text(&mount["mountPath"]));
        if name.is_empty() {
            errors.required(item.child("name"), "");
        }
        if !volumes.contains_key(name) {
            errors.not_found(item.child("name"), name);
        }
        if target.is_empty() {
            errors.required(item.child("mountPath"), "");
        }
        if !seen.insert(target) {
            errors.invalid(item.child("mountPath"), target, "must be unique");
        }
        if devices.contains_key(name) {
            errors.invalid(item.child("name"), name, "must not already exist in volumeDevices");
        }
        if devices.values().any(|d| *d == target) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(item.child("mountPath"), target, detail);
        }
        sub_paths(
            mount,
            volumes.get(name).is_some_and(|v| given(&v["image"])),
            path,
            &item,
            errors,
        );
        propagation(mount, container, &path.child("mountPropagation"), errors);
        recursive_read_only(mount, &path.child("recursiveReadOnly"), errors);
    }
}

fn sub_paths(mount: &Value, of_image: bool, list: &Path, item: &Path, errors: &mut Errors) {
    let (sub, expression) = (text(&mount["subPath"]), text(&mount["subPathExpr"]));
    if of_image {
        for (name, value) in [("subPath", sub), ("subPathExpr", expression)] {
            if !value.is_empty() {
                errors.invalid(item.child(name), value, "not allowed in image volume sources");
            }
        }
    }
    if !sub.is_empty() {
        errors.extend(local_descending(sub, &list.child("subPath")));
    }
    if !expression.is_empty() {
        if !sub.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(item.child("subPathExpr"), expression, detail);
        }
        errors.extend(local_descending(expression, &list.child("subPathExpr")));
    }
}

fn propagation(mount: &Value, container: &Value, path: &Path, errors: &mut Errors) {
    let Some(mode) = optional_text(&mount["mountPropagation"]) else {
        return;
    };
    errors.one_of(mode, &["Bidirectional", "HostToContainer", "None"], path);
    if mode == "Bidirectional" && !flag(&container["securityContext"]["privileged"]) {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(path, detail);
    }
}

fn recursive_read_only(mount: &Value, path: &Path, errors: &mut Errors) {
    match optional_text(&mount["recursiveReadOnly"]) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !flag(&mount["readOnly"]) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if optional_text(&mount["mountPropagation"]).is_some_and(|m| m != "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.forbidden(path, detail);
            }
        }
        Some(other) => errors.not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// Block devices of a container.
pub(super) fn devices(container: &Value, volumes: &Volumes, path: &Path, errors: &mut Errors) {
    let mounts = by_name(&container["volumeMounts"], "mountPath");
    let (mut names, mut targets) = (HashSet::new(), HashSet::new());
    for (i, device) in items(&container["volumeDevices"]).iter().enumerate() {
        let item = path.index(i);
        let (name, target) = (text(&device["name"]), text(&device["devicePath"]));
        let volume = volumes.get(name);
        if name.is_empty() {
            errors.required(item.child("name"), "");
        }
        if names.contains(name) {
            errors.invalid(item.child("name"), name, "must be unique");
        }
        match volume {
            Some(v) if !given(&v["persistentVolumeClaim"]) && !given(&v["ephemeral"]) => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(item.child("name"), name, detail);
            }
            Some(_) => {}
            None => errors.not_found(item.child("name"), name),
        }
        if target.is_empty() {
            errors.required(item.child("devicePath"), "");
        }
        if targets.contains(target) {
            errors.invalid(item.child("devicePath"), target, "must be unique");
        }
        if !target.is_empty() && !no_backsteps(target, path).is_empty() {
            errors.invalid(item.child("devicePath"), target, "can not contain backsteps ('..')");
        } else {
            targets.insert(target);
        }
        if mounts.contains_key(name) {
            errors.invalid(item.child("name"), name, "must not already exist in volumeMounts");
        }
        if mounts.values().any(|m| *m == target) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.invalid(item.child("devicePath"), target, detail);
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mounts_name_volumes_and_stay_below() {
        let container = json!({"volumeMounts": [
            {"name": "v", "mountPath": "/a", "subPath": "/x"},
            {"name": "nope", "mountPath": "/a"},
        ]});
        let volume = json!({"emptyDir": {}});
        let volumes = Volumes::from([("v", &volume)]);
        let path = Path::Root.child("m");
        let fields: Vec<String> = Errors::of(|e| mounts(&container, &volumes, &path, e))
            .into_iter()
            .map(|e| e.field)
            .collect();
        assert_eq!(fields, ["m.subPath", "m[1].name", "m[1].mountPath"]);
    }
}
