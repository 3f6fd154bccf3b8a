//! Kinds that are served in several versions and stored in one: HorizontalPodAutoscalers and Events.

use engenho_catalog::{Resource, resource::api_version};
use serde_json::{Map, Value, json};

/// The annotations in which autoscaling/v1 carries what it has no fields for.
const V1_METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const V1_CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const V1_CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const V1_BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Whether objects change form between the wire and the store.
pub fn is_converted(resource: &Resource) -> bool {
    resource.storage_version.is_some()
}

/// Kind and version under which objects of a resource are stored.
pub fn stored_as(resource: &Resource) -> (&str, String) {
    let (group, version) = resource.storage_group_version();
    (&resource.kind, api_version(group, version))
}

/// From the served form to the stored one.
pub fn to_storage(resource: &Resource, mut object: Value) -> Value {
    if !is_converted(resource) {
        return object;
    }
    match (&*resource.group, &*resource.plural) {
        ("autoscaling", "horizontalpodautoscalers") => hpa_v1_to_v2(&mut object),
        ("events.k8s.io", "events") => event_to_core(&mut object),
        _ => {}
    }
    object["apiVersion"] = stored_as(resource).1.into();
    object
}

/// From the stored form to the served one.
pub fn from_storage(resource: &Resource, mut object: Value) -> Value {
    if !is_converted(resource) {
        return object;
    }
    match (&*resource.group, &*resource.plural) {
        ("autoscaling", "horizontalpodautoscalers") => hpa_v2_to_v1(&mut object),
        ("events.k8s.io", "events") => event_from_core(&mut object),
        _ => {}
    }
    object["apiVersion"] = resource.api_version().into();
    object
}

fn rename(map: &mut Map<String, Value>, pairs: &[(&str, &str)]) {
    for (from, to) in pairs {
        if let Some(value) = map.remove(*from) {
            map.insert((*to).into(), value);
        }
    }
}

const EVENT_FIELDS: [(&str, &str); 7] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

fn event_to_core(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        rename(map, &EVENT_FIELDS);
        for (field, zero) in [
            ("involvedObject", json!({})),
            ("source", json!({})),
            ("reportingComponent", json!("")),
        ] {
            map.entry(field).or_insert(zero);
        }
        for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
            map.entry(field).or_insert(Value::Null);
        }
        map.entry("reportingInstance").or_insert(json!(""));
    }
}

fn event_from_core(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        let back: Vec<(&str, &str)> = EVENT_FIELDS.iter().map(|(a, b)| (*b, *a)).collect();
        rename(map, &back);
        if map.get("reportingController").is_some_and(|v| v == "") {
            map.remove("reportingController");
        }
        if map.get("reportingInstance").is_some_and(|v| v == "") {
            map.remove("reportingInstance");
        }
        for field in ["regarding", "deprecatedSource"] {
            map.entry(field).or_insert(json!({}));
        }
        for field in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"] {
            map.entry(field).or_insert(Value::Null);
        }
    }
}

fn is_cpu_utilisation(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["type"] == "Utilization"
}

fn hpa_v2_to_v1(object: &mut Value) {
    let mut kept = Vec::new();
    let mut cpu = None;
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(Value::Array(metrics)) = spec.remove("metrics") {
            for metric in metrics {
                if cpu.is_none() && is_cpu_utilisation(&metric) {
                    cpu = metric["resource"]["target"].get("averageUtilization").cloned();
                } else {
                    kept.push(metric);
                }
            }
        }
        if let Some(cpu) = cpu {
            spec.insert("targetCPUUtilizationPercentage".into(), cpu);
        }
    }
    let mut notes = Vec::new();
    if !kept.is_empty() {
        notes.push((V1_METRICS, Value::Array(kept)));
    }
    if let Some(behavior) = object
        .get_mut("spec")
        .and_then(|s| s.as_object_mut()?.remove("behavior"))
    {
        notes.push((V1_BEHAVIOR, behavior));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.entry("currentReplicas").or_insert(json!(0));
        let current = status
            .remove("currentMetrics")
            .filter(|m| m.as_array().is_some_and(|a| !a.is_empty()));
        if let Some(Value::Array(metrics)) = current {
            let cpu = metrics
                .iter()
                .find(|m| m["type"] == "Resource" && m["resource"]["name"] == "cpu");
            if let Some(percent) = cpu.and_then(|m| m["resource"]["current"].get("averageUtilization")) {
                status.insert("currentCPUUtilizationPercentage".into(), percent.clone());
            }
            notes.push((V1_CURRENT_METRICS, Value::Array(metrics)));
        }
        if let Some(conditions) = status
            .remove("conditions")
            .filter(|c| c.as_array().is_some_and(|a| !a.is_empty()))
        {
            notes.push((V1_CONDITIONS, conditions));
        }
    }
    for (key, value) in notes {
        engenho_patch::meta::set_annotation(object, key, &value.to_string());
    }
}

fn hpa_v1_to_v2(object: &mut Value) {
    let mut take = |key: &str| -> Option<Value> {
        let annotations = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
        let text = annotations.remove(key)?;
        serde_json::from_str(text.as_str()?).ok()
    };
    let (metrics, behavior) = (take(V1_METRICS), take(V1_BEHAVIOR));
    let (current, conditions) = (take(V1_CURRENT_METRICS), take(V1_CONDITIONS));
    if object["metadata"]["annotations"].as_object().is_some_and(Map::is_empty)
        && let Some(meta) = engenho_patch::meta::metadata_mut(object)
    {
        meta.remove("annotations");
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let mut all = match metrics {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        };
        if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            all.insert(
                0,
                json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}),
            );
        }
        if !all.is_empty() {
            spec.insert("metrics".into(), Value::Array(all));
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".into(), behavior);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentCPUUtilizationPercentage");
        status.insert("currentMetrics".into(), current.unwrap_or(Value::Null));
        if let Some(conditions) = conditions {
            status.insert("conditions".into(), conditions);
        }
    }
}

#[cfg(test)]
mod tests {
    use engenho_catalog::Catalog;

    use super::*;

    #[test]
    fn hpa_v1_survives_the_store() {
        let catalog = Catalog::builtin();
        let resource = catalog
            .resource("autoscaling", "v1", "horizontalpodautoscalers")
            .expect("in the catalog");
        let v1 = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}});
        let stored = to_storage(resource, v1.clone());
        assert_eq!(stored["apiVersion"], "autoscaling/v2");
        assert_eq!(
            stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
            50
        );
        assert_eq!(from_storage(resource, stored), v1);
    }

    #[test]
    fn events_change_names() {
        let catalog = Catalog::builtin();
        let resource = catalog
            .resource("events.k8s.io", "v1", "events")
            .expect("in the catalog");
        let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "n",
            "regarding": {"kind": "Pod"}, "reportingController": "c", "eventTime": "2001-01-01T00:00:00.000000Z"});
        let stored = to_storage(resource, new.clone());
        assert_eq!(
            (&stored["message"], &stored["involvedObject"]["kind"]),
            (&json!("n"), &json!("Pod"))
        );
        assert_eq!(from_storage(resource, stored)["note"], "n");
    }
}
