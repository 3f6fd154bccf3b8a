//! Environment variables and the references to fields and resources they and volumes make.

use serde_json::Value;

use crate::Path;
use crate::errors::Errors;
use crate::get::{given, items, text};
use crate::names::{dns_subdomain, qualified};
use crate::scalars::formats::{config_key, env_name};
use engenho_quantity::Quantity;

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of a pod that files of a volume may hold.
pub(crate) const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
const KNOWN_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const HUGE_PAGES: [&str; 2] = ["limits.hugepages-", "requests.hugepages-"];
const BYTE_DIVISORS: [&str; 13] = [
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
];

/// Variables of a container.
pub(super) fn variables(variables: &Value, path: &Path, errors: &mut Errors) {
    for (i, variable) in items(variables).iter().enumerate() {
        let path = path.index(i);
        match text(&variable["name"]) {
            "" => errors.required(path.child("name"), ""),
            name => errors.check(env_name, name, &path.child("name")),
        }
        if given(&variable["valueFrom"]) {
            source(variable, &path.child("valueFrom"), errors);
        }
    }
}

fn source(variable: &Value, path: &Path, errors: &mut Errors) {
    let from = &variable["valueFrom"];
    let mut sources = 0;
    if given(&from["fieldRef"]) {
        sources += 1;
        field_reference(&from["fieldRef"], &ENV_FIELDS, &path.child("fieldRef"), errors);
    }
    if given(&from["resourceFieldRef"]) {
        sources += 1;
        resource_reference(
            &from["resourceFieldRef"],
            false,
            &path.child("resourceFieldRef"),
            errors,
        );
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        if given(&from[kind]) {
            sources += 1;
            key_reference(&from[kind], &path.child(kind), errors);
        }
    }
    if sources == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.invalid(path, "", detail);
    } else if !text(&variable["value"]).is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(path, "", "may not have more than one field specified at a time");
    }
}

fn key_reference(reference: &Value, path: &Path, errors: &mut Errors) {
    errors.check(dns_subdomain, text(&reference["name"]), &path.child("name"));
    match text(&reference["key"]) {
        "" => errors.required(path.child("key"), ""),
        key => errors.check(config_key, key, &path.child("key")),
    }
}

/// `path['subscript']`.
fn subscripted(label: &str) -> Option<(&str, &str)> {
    let (path, subscript) = label.strip_suffix("']")?.split_once("['")?;
    (!path.is_empty()).then_some((path, subscript))
}

/// Why upstream knows no such field of a pod.
fn unknown_field(version: &str, label: &str) -> Option<String> {
    if version != "v1" {
        return Some(format!("unsupported pod version: {version}"));
    }
    match subscripted(label) {
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {label}")),
        None if KNOWN_FIELDS.contains(&label) || label == "spec.host" => None,
        None => Some(format!("field label not supported: {label}")),
    }
}

/// A reference to a field of the pod.
pub(crate) fn field_reference(reference: &Value, allowed: &[&str], path: &Path, errors: &mut Errors) {
    let (version, label) = (text(&reference["apiVersion"]), text(&reference["fieldPath"]));
    if version.is_empty() {
        errors.required(path.child("apiVersion"), "");
        return;
    }
    if label.is_empty() {
        errors.required(path.child("fieldPath"), "");
        return;
    }
    if let Some(why) = unknown_field(version, label) {
        errors.invalid(
            path.child("fieldPath"),
            label,
            &format!("error converting fieldPath: {why}"),
        );
        return;
    }
    match subscripted(label) {
        Some(("metadata.annotations", key)) => errors.check(qualified, &key.to_lowercase(), path),
        Some((_, key)) => errors.check(qualified, key, path),
        None => {
            let label = if label == "spec.host" { "spec.nodeName" } else { label };
            errors.one_of(label, allowed, &path.child("fieldPath"));
        }
    }
}

/// A reference to a resource of a container.
pub(crate) fn resource_reference(reference: &Value, in_volume: bool, path: &Path, errors: &mut Errors) {
    let resource = text(&reference["resource"]);
    let huge_pages = HUGE_PAGES.iter().any(|prefix| resource.starts_with(prefix));
    if in_volume && text(&reference["containerName"]).is_empty() {
        errors.required(path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge_pages {
        errors.not_supported(path.child("resource"), resource, &RESOURCES);
    }
    divisor(resource, huge_pages, &reference["divisor"], path, errors);
}

fn divisor(resource: &str, huge_pages: bool, divisor: &Value, path: &Path, errors: &mut Errors) {
    let amount = Quantity::of(divisor);
    if amount == Quantity::ZERO {
        return;
    }
    let amount = amount.to_string();
    let bytes = BYTE_DIVISORS.contains(&amount.as_str());
    let kind = match resource {
        "limits.cpu" | "requests.cpu" => {
            if amount != "1" && amount != "1m" {
                let detail = "only divisor's values 1m and 1 are supported with the cpu resource";
                errors.invalid(path.child("divisor"), resource, detail);
            }
            return;
        }
        "limits.memory" | "requests.memory" => "memory",
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => "local ephemeral storage",
        _ if huge_pages => "hugepages",
        _ => return,
    };
    if !bytes {
        let detail = format!(
            "only divisor's values {} are supported with the {kind} resource",
            BYTE_DIVISORS.join(", ")
        );
        errors.invalid(path.child("divisor"), resource, &detail);
    }
}

/// Whole ConfigMaps and Secrets that become variables.
pub(super) fn sources(sources: &Value, path: &Path, errors: &mut Errors) {
    for (i, source) in items(sources).iter().enumerate() {
        let item = path.index(i);
        match text(&source["prefix"]) {
            "" => {}
            prefix => errors.check(env_name, prefix, &item.child("prefix")),
        }
        let mut given_sources = 0;
        for kind in ["configMapRef", "secretRef"] {
            if !given(&source[kind]) {
                continue;
            }
            given_sources += 1;
            let reference = item.child(kind);
            match text(&source[kind]["name"]) {
                "" => errors.required(reference.child("name"), ""),
                name => errors.check(dns_subdomain_prefix, name, &reference.child("name")),
            }
        }
        if given_sources == 0 {
            errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`");
        } else if given_sources > 1 {
            errors.invalid(path, "", "may not have more than one field specified at a time");
        }
    }
}

/// Names are checked as prefixes here, which may end with a dash.
fn dns_subdomain_prefix(name: &str) -> Vec<String> {
    match name.strip_suffix('-') {
        Some(head) if name.len() > 1 => dns_subdomain(&format!("{head}a")),
        _ => dns_subdomain(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(reference: Value) -> Vec<String> {
        let path = Path::Root.child("fieldRef");
        Errors::of(|e| field_reference(&reference, &ENV_FIELDS, &path, e))
            .into_iter()
            .map(|e| format!("{}: {}", e.field, e.message))
            .collect()
    }

    #[test]
    fn fields_of_pods() {
        assert!(found(json!({"apiVersion": "v1", "fieldPath": "metadata.labels['a']"})).is_empty());
        assert!(found(json!({"apiVersion": "v1", "fieldPath": "spec.host"})).is_empty());
        assert_eq!(
            found(json!({"apiVersion": "v1", "fieldPath": "spec.nope"})),
            [
                "fieldRef.fieldPath: Invalid value: \"spec.nope\": error converting fieldPath: field label not supported: spec.nope"
            ]
        );
        assert!(found(json!({"apiVersion": "v1", "fieldPath": "status.phase"}))[0].contains("Unsupported value"));
    }

    #[test]
    fn divisors_fit_their_resource() {
        let path = Path::Root.child("r");
        let wrong = json!({"resource": "limits.cpu", "divisor": "2"});
        assert_eq!(Errors::of(|e| resource_reference(&wrong, false, &path, e)).len(), 1);
        let right = json!({"resource": "limits.memory", "divisor": "1Mi"});
        assert!(Errors::of(|e| resource_reference(&right, false, &path, e)).is_empty());
    }
}
