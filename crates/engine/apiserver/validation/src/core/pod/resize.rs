//! Resizing of a pod in place: processor and memory of its containers may change, nothing else.

use serde_json::Value;

use super::annotations::MIRROR;
use super::containers::is_restarting;
use super::update::common;
use crate::errors::Errors;
use crate::get::{count, entries, given, items, text};
use crate::{FieldError, Path, shapes};
use engenho_quantity::Quantity;

/// A pod with other resources.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let whole = |pod: &Value| {
        let resources = &pod["spec"]["resources"];
        count(&resources["requests"]) + count(&resources["limits"]) > 0
    };
    let refused = if whole(old) || whole(new) {
        Some("pods with pod-level resources cannot be resized")
    } else if !old["metadata"]["annotations"][MIRROR].is_null() {
        Some("static pods cannot be resized")
    } else if text(&old["spec"]["os"]["name"]) == "windows" {
        Some("windows pods cannot be resized")
    } else {
        None
    };
    if let Some(detail) = refused {
        return vec![FieldError::forbidden("[]", detail)];
    }
    Errors::of(|errors| {
        common(new, old, errors);
        changes(new, old, errors);
    })
}

fn changes(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::Root.child("spec");
    let before = match text(&old["status"]["qosClass"]) {
        "" => quality_of_service(&old["spec"]),
        class => class,
    };
    if before != quality_of_service(&new["spec"]) {
        let class = text(&new["status"]["qosClass"]);
        errors.invalid(path, class, "Pod QOS Class may not change as a result of resizing");
    }
    let running = |s: &&Value| given(&s["state"]["running"]);
    if let Some(status) = items(&old["status"]["containerStatuses"]).iter().find(running)
        && !given(&status["resources"])
    {
        errors.forbidden(path, "Pod running on node without support for resize");
    }
    for (list, all) in [("initContainers", false), ("containers", true)] {
        let path = path.child(list);
        let pairs = items(&new["spec"][list]).iter().zip(items(&old["spec"][list]));
        for (i, (new, old)) in pairs.enumerate().filter(|(_, (_, old))| all || is_restarting(old)) {
            let item = path.index(i);
            removed(&new["resources"], &old["resources"], &item.child("resources"), errors);
        }
    }
    only_resources(&new["spec"], &old["spec"], &path, errors);
}

fn removed(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    for (list, detail) in [
        ("requests", "resource requests cannot be removed"),
        ("limits", "resource limits cannot be removed"),
    ] {
        if entries(&old[list])
            .iter()
            .any(|(name, _)| new[list].get(name).is_none())
        {
            errors.forbidden(path.child(list), detail);
        }
    }
}

/// The container with the processor and memory it had.
fn with_old_resources(new: &Value, old: &Value) -> Value {
    let mut resources = serde_json::Map::new();
    for list in ["limits", "requests"] {
        let Some(had) = old["resources"][list].as_object() else {
            continue;
        };
        let mut kept = new["resources"][list].as_object().cloned().unwrap_or_default();
        for name in ["cpu", "memory"] {
            kept.remove(name);
            if let Some(amount) = had.get(name) {
                kept.insert(name.to_owned(), amount.clone());
            }
        }
        resources.insert(list.to_owned(), Value::Object(kept));
    }
    let mut container = new.clone();
    if let Some(fields) = container.as_object_mut() {
        fields.insert("resources".to_owned(), Value::Object(resources));
    }
    container
}

fn only_resources(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let mut kept = new.clone();
    for list in ["containers", "initContainers"] {
        let (added, had) = (items(&new[list]), items(&old[list]));
        let mut containers = Vec::new();
        for (new, old) in added.iter().zip(had) {
            let regular = list == "containers";
            let mutable = regular || is_restarting(new);
            let container = if mutable {
                with_old_resources(new, old)
            } else {
                new.clone()
            };
            if !shapes::same("Container", &container, old) {
                let detail = match (regular, mutable) {
                    (true, _) => "only cpu and memory resources are mutable",
                    (false, true) => "only cpu and memory resources for sidecar containers are mutable",
                    (false, false) => "resources for non-sidecar init containers are immutable",
                };
                errors.forbidden(path, detail);
            }
            containers.push(container);
        }
        if let Some(spec) = kept
            .as_object_mut()
            .filter(|_| added.len() == had.len() && !added.is_empty())
        {
            spec.insert(list.to_owned(), Value::Array(containers));
        }
    }
    if errors.is_empty() && !shapes::same("PodSpec", &shapes::pod_spec(&kept), &shapes::pod_spec(old)) {
        errors.forbidden(path, "only cpu and memory resources are mutable");
    }
}

/// The class of service of a pod: guaranteed if each container's requests are its limits, best effort if there are none.
fn quality_of_service(spec: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| items(&spec[list]));
    let (mut guaranteed, mut any) = (true, false);
    let amount = |container: &Value, list: &str, name: &str| Quantity::of(&container["resources"][list][name]);
    for container in containers {
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(container, "requests", name), amount(container, "limits", name));
            any |= request > Quantity::ZERO || limit > Quantity::ZERO;
            guaranteed &= limit > Quantity::ZERO && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes_of_service() {
        let of = |resources: Value| quality_of_service(&json!({"containers": [{"resources": resources}]}));
        assert_eq!(of(json!({})), "BestEffort");
        assert_eq!(of(json!({"requests": {"cpu": "1"}})), "Burstable");
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(of(json!({"requests": both, "limits": both})), "Guaranteed");
    }
}
