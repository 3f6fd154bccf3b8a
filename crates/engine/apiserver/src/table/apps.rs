//! Cells of workloads.

use serde_json::Value;

use super::Row;
use super::format::{containers, labels, selector};

pub(super) fn cells(plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    let number = |path: &str| Value::from(row.int(path));
    let [names, images] = containers(row.at("spec.template.spec"));
    let chosen = selector(row.at("spec.selector"));
    let (name, age) = (row.name(), row.age());
    let ready = || {
        Value::from(format!(
            "{}/{}",
            row.int("status.readyReplicas"),
            row.int("spec.replicas")
        ))
    };
    Some(match plural {
        "deployments" => vec![
            name,
            ready(),
            number("status.updatedReplicas"),
            number("status.availableReplicas"),
            age,
            names,
            images,
            chosen,
        ],
        "replicasets" => vec![
            name,
            number("spec.replicas"),
            number("status.replicas"),
            number("status.readyReplicas"),
            age,
            names,
            images,
            chosen,
        ],
        "statefulsets" => vec![name, ready(), age, names, images],
        "daemonsets" => vec![
            name,
            number("status.desiredNumberScheduled"),
            number("status.currentNumberScheduled"),
            number("status.numberReady"),
            number("status.updatedNumberScheduled"),
            number("status.numberAvailable"),
            labels(row.at("spec.template.spec.nodeSelector")),
            age,
            names,
            images,
            chosen,
        ],
        "controllerrevisions" => vec![name, controller(row).into(), number("revision"), age],
        _ => return None,
    })
}

/// The owner that controls the object: `deployment.apps/web`.
fn controller(row: &Row<'_>) -> String {
    let owners = row.at("metadata.ownerReferences").as_array().into_iter().flatten();
    let Some(owner) = owners.into_iter().find(|o| o["controller"] == true) else {
        return "<none>".into();
    };
    let kind = owner["kind"].as_str().unwrap_or_default().to_lowercase();
    let name = owner["name"].as_str().unwrap_or_default();
    match owner["apiVersion"].as_str().and_then(|v| v.split_once('/')) {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}
