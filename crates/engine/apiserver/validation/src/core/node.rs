//! Nodes.

use std::collections::HashSet;

use serde_json::Value;

use super::dual_stack;
use super::pod::scheduling::effect;
use super::resource_names::quantity;
use crate::errors::Errors;
use crate::get::{entries, given, items, text, texts};
use crate::names::{dns_label, dns_subdomain, label_value, qualified};
use crate::scalars::addresses::legacy_cidr;
use crate::scalars::formats::config_key;
use crate::{FieldError, Path, shapes};

const TAINTS: &str = "scheduler.alpha.kubernetes.io/taints";
const AVOID_PODS: &str = "scheduler.alpha.kubernetes.io/preferAvoidPods";

/// A new node.
pub(crate) fn create(node: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        let metadata = Path::Root.child("metadata");
        annotations(&node["metadata"]["annotations"], &metadata.child("annotations"), errors);
        taints(&node["spec"]["taints"], &metadata.child("taints"), errors);
        amounts(node, errors);
        networks(&node["spec"]["podCIDRs"], errors);
    })
}

/// A node that replaces another one: it is checked as a new one and as a changed one, and both is reported.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = create(new);
    errors.extend(update_status(new, old));
    errors
}

/// A node whose status replaces another one.
pub(crate) fn update_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let (metadata, spec, status) = (
        Path::Root.child("metadata"),
        Path::Root.child("spec"),
        Path::Root.child("status"),
    );
    Errors::of(|errors| {
        annotations(&new["metadata"]["annotations"], &metadata.child("annotations"), errors);
        amounts(new, errors);
        addresses(&new["status"]["addresses"], &status.child("addresses"), errors);
        kept(new, old, &spec, errors);
        config_source(&new["spec"]["configSource"], false, &spec.child("configSource"), errors);
        for which in ["assigned", "active", "lastKnownGood"] {
            let path = status.child("config");
            config_source(&new["status"]["config"][which], true, &path.child(which), errors);
        }
        taints(&new["spec"]["taints"], &metadata.child("taints"), errors);
        if text(&new["spec"]["externalID"]) != text(&old["spec"]["externalID"]) {
            errors.forbidden(spec.child("externalID"), "may not be updated");
        }
    })
}

fn annotations(annotations: &Value, path: &Path, errors: &mut Errors) {
    match text(&annotations[TAINTS]) {
        "" => {}
        json => match serde_json::from_str::<Value>(json) {
            Ok(list) => taints(&list, &path.child(TAINTS), errors),
            Err(error) => errors.invalid(path, TAINTS, &error.to_string()),
        },
    }
    match text(&annotations[AVOID_PODS]) {
        "" => {}
        json => match serde_json::from_str::<Value>(json) {
            Ok(avoid) => avoid_pods(&avoid, &path.child(AVOID_PODS), errors),
            Err(error) => errors.invalid(path.child("AvoidPods"), AVOID_PODS, &error.to_string()),
        },
    }
}

fn avoid_pods(avoid: &Value, path: &Path, errors: &mut Errors) {
    for (i, entry) in items(&avoid["preferAvoidPods"]).iter().enumerate() {
        let (item, owner) = (path.index(i), &entry["podSignature"]["podController"]);
        let field = item.child("PodSignature");
        if !given(owner) {
            errors.required(field, "");
        } else if owner["controller"].as_bool() == Some(false) {
            let controller = field.child("PodController");
            errors.invalid(controller.child("Controller"), false, "must point to a controller");
        }
    }
}

fn taints(taints: &Value, path: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, taint) in items(taints).iter().enumerate() {
        let item = path.index(i);
        let (key, value, kind) = (text(&taint["key"]), text(&taint["value"]), text(&taint["effect"]));
        errors.check(qualified, key, &item.child("key"));
        let wrong = label_value(value);
        if !wrong.is_empty() {
            errors.invalid(item.child("value"), value, &wrong.join(";"));
        }
        match kind {
            "" => errors.required(item.child("effect"), ""),
            kind => effect(kind, &item.child("effect"), errors),
        }
        if !seen.insert((kind, key)) {
            let printed = shapes::compact("Taint", taint);
            let detail = "taints must be unique by key and effect pair";
            errors.push(FieldError::duplicate_printed(item, &printed).with_detail(detail));
        }
    }
}

fn amounts(node: &Value, errors: &mut Errors) {
    let status = Path::Root.child("status");
    for list in ["capacity", "allocatable"] {
        let path = status.child(list);
        for (name, amount) in entries(&node["status"][list]) {
            quantity(name, amount, &path.child(name), errors);
        }
    }
}

fn networks(networks: &Value, errors: &mut Errors) {
    let spec = Path::Root.child("spec");
    let path = spec.child("podCIDRs");
    let list: Vec<&str> = texts(networks).collect();
    for (i, network) in list.iter().enumerate() {
        errors.check(legacy_cidr, network, &path.index(i));
    }
    if list.len() < 2 {
        return;
    }
    let dual = dual_stack::of_networks(&list).unwrap_or_else(|detail| {
        let detail = format!("invalid PodCIDRs. failed to check with dual stack with error:{detail}");
        errors.push(FieldError::internal(path, &detail));
        false
    });
    if !dual || list.len() > 2 {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.invalid(path, networks.clone(), detail);
    }
    let mut seen = HashSet::new();
    for (i, network) in list.iter().enumerate() {
        if !seen.insert(network) {
            errors.duplicate(path.index(i), *network);
        }
    }
}

fn addresses(addresses: &Value, path: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, address) in items(addresses).iter().enumerate() {
        if !seen.insert((text(&address["type"]), text(&address["address"]))) {
            let printed = shapes::compact("NodeAddress", address);
            errors.push(FieldError::duplicate_printed(path.index(i), &printed));
        }
    }
}

/// Networks and the provider's name of the node stay once they are given.
fn kept(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let list = |node: &Value| -> Vec<String> { texts(&node["spec"]["podCIDRs"]).map(str::to_owned).collect() };
    let (has, had) = (list(new), list(old));
    let changes = match has.len() == had.len() {
        true => has.iter().zip(&had).filter(|(a, b)| a != b).count(),
        false => usize::from(!had.is_empty()),
    };
    for _ in 0..changes {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(path.child("podCIDRs"), detail);
    }
    let provider = text(&old["spec"]["providerID"]);
    if !provider.is_empty() && provider != text(&new["spec"]["providerID"]) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(path.child("providerID"), detail);
    }
}

fn config_source(source: &Value, in_status: bool, path: &Path, errors: &mut Errors) {
    if !given(source) {
        return;
    }
    let (map, field) = (&source["configMap"], path.child("configMap"));
    if !given(map) {
        let printed = shapes::compact("NodeConfigSource", source);
        let detail = "exactly one reference subfield must be non-nil";
        errors.push(FieldError::invalid_printed(path, &printed, detail));
        return;
    }
    for name in ["uid", "resourceVersion"] {
        let empty = text(&map[name]).is_empty();
        if in_status && empty {
            errors.required(field.child(name), &format!("{name} must be set in status"));
        } else if !in_status && !empty {
            errors.forbidden(field.child(name), &format!("{name} must not be set in spec"));
        }
    }
    let checks: [(&str, fn(&str) -> Vec<String>); 3] = [
        ("namespace", dns_label),
        ("name", dns_subdomain),
        ("kubeletConfigKey", config_key),
    ];
    for (name, check) in checks {
        match text(&map[name]) {
            "" => errors.required(field.child(name), &format!("{name} must be set")),
            value => errors.check(check, value, &field.child(name)),
        }
    }
}
