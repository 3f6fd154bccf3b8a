//! The objects that exist when a server has just started, one JSON object a line.

use std::fmt::Write as _;

use anyhow::Context;
use serde_json::{Value, json};

use super::source::{Source, list, text};

/// Lists of objects whose content follows from the version alone. What depends on settings (the `kubernetes` Service, its
/// address and range) or on the process (leases) is made by the server itself.
const LISTS: [&str; 9] = [
    "api_v1_namespaces",
    "apis_apiregistration.k8s.io_v1_apiservices",
    "apis_flowcontrol.apiserver.k8s.io_v1_flowschemas",
    "apis_flowcontrol.apiserver.k8s.io_v1_prioritylevelconfigurations",
    "apis_rbac.authorization.k8s.io_v1_clusterrolebindings",
    "apis_rbac.authorization.k8s.io_v1_clusterroles",
    "apis_rbac.authorization.k8s.io_v1_rolebindings",
    "apis_rbac.authorization.k8s.io_v1_roles",
    "apis_scheduling.k8s.io_v1_priorityclasses",
];

/// Makes the table.
pub fn table(source: &mut Source) -> anyhow::Result<String> {
    let mut out = String::from("\n");
    for name in LISTS {
        let document = source.json(&format!("boot/{name}.json"))?;
        let kind = text(&document, "kind")?;
        let kind = kind
            .strip_suffix("List")
            .with_context(|| format!("{name} isn't a list but {kind}"))?;
        let version = text(&document, "apiVersion")?;
        let mut objects = list(&document, "items")?.to_vec();
        objects.sort_by_key(|object| {
            let part = |member| object["metadata"][member].as_str().unwrap_or_default().to_owned();
            (part("namespace"), part("name"))
        });
        for mut object in objects {
            strip(&mut object);
            object["apiVersion"] = json!(version);
            object["kind"] = json!(kind);
            let _ = writeln!(out, "{object}");
        }
    }
    Ok(out)
}

/// Takes out what a server sets on creation.
fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for member in ["managedFields", "uid", "resourceVersion", "creationTimestamp"] {
            metadata.remove(member);
        }
    }
    let conditions = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        condition.remove("lastTransitionTime");
    }
}
