//! Fields that are always on the wire, as null where nothing is known: times and lists that their types do not leave
//! out.

use serde_json::Value;

use crate::fields::Fields;

/// Times of a condition, by the kinds whose conditions have them.
const TRANSITION: &[&str] = &["lastTransitionTime"];
const PROBED: &[&str] = &["lastProbeTime", "lastTransitionTime"];
const UPDATED: &[&str] = &["lastUpdateTime", "lastTransitionTime"];
const HEARD: &[&str] = &["lastHeartbeatTime", "lastTransitionTime"];

/// Writes the nulls of the object itself, which are nobody's.
pub fn finish(group: &str, plural: &str, map: &mut Fields) {
    let top: &[&str] = match (group, plural) {
        ("", "events") => &["eventTime", "firstTimestamp", "lastTimestamp"],
        ("events.k8s.io", "events") => &["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"],
        ("discovery.k8s.io", "endpointslices") => &["ports"],
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => &["rules"],
        _ => &[],
    };
    fill(map, top);
}

/// Writes the nulls of conditions, which are theirs who report the condition.
pub fn apply(group: &str, version: &str, plural: &str, map: &mut Fields) {
    let of_condition = match (group, plural) {
        ("", "pods" | "persistentvolumeclaims") | ("batch", "jobs") => PROBED,
        ("apps", "deployments") | ("certificates.k8s.io", "certificatesigningrequests") => UPDATED,
        ("", "nodes") => HEARD,
        ("", "namespaces" | "replicationcontrollers")
        | ("apps", "replicasets" | "statefulsets" | "daemonsets")
        | ("apiextensions.k8s.io", "customresourcedefinitions")
        | ("apiregistration.k8s.io", "apiservices")
        | ("flowcontrol.apiserver.k8s.io", _) => TRANSITION,
        ("autoscaling", "horizontalpodautoscalers") if version == "v2" => TRANSITION,
        _ => &[],
    };
    if of_condition.is_empty() {
        return;
    }
    let conditions = map.get_mut("status").and_then(|status| status.get_mut("conditions"));
    for condition in conditions.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            fill(condition, of_condition);
        }
    }
}

fn fill(map: &mut Fields, fields: &[&str]) {
    for field in fields {
        if !map.contains_key(*field) {
            map.insert((*field).to_owned(), Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_null() {
        let mut pod = json!({"status": {"conditions": [{"type": "Ready", "lastTransitionTime": "x"}, 1]}});
        apply("", "v1", "pods", pod.as_object_mut().unwrap());
        assert_eq!(
            pod["status"]["conditions"],
            json!([{"type": "Ready", "lastProbeTime": null, "lastTransitionTime": "x"}, 1])
        );
        let mut event = json!({"eventTime": "x"});
        finish("", "events", event.as_object_mut().unwrap());
        assert_eq!(
            event,
            json!({"eventTime": "x", "firstTimestamp": null, "lastTimestamp": null})
        );
    }
}
