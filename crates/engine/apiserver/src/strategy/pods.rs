//! What the server makes of Pods: quality of service, selectors that follow the Pod's own labels, fields of features
//! that are off.

use std::collections::BTreeMap;

use engenho_quantity::Quantity;
use serde_json::{Value, json};

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// The amounts of `cpu` and `memory` that are more than nothing.
fn amounts(list: &Value) -> BTreeMap<&'static str, Quantity> {
    ["cpu", "memory"]
        .into_iter()
        .map(|name| (name, Quantity::of(&list[name])))
        .filter(|(_, amount)| *amount > Quantity::ZERO)
        .collect()
}

/// Quality of service (upstream `ComputePodQOS`): Guaranteed if CPU and memory are limited everywhere, to what is asked
/// for; BestEffort if nothing is asked for; Burstable otherwise. Resources of the Pod as a whole count before those of
/// its containers.
pub(super) fn qos_class(pod: &Value) -> &'static str {
    let spec = &pod["spec"];
    let own = &spec["resources"];
    let of_pod = ["requests", "limits"]
        .iter()
        .any(|list| own[*list].as_object().is_some_and(|list| !list.is_empty()));
    let places: Vec<&Value> = if of_pod {
        vec![own]
    } else {
        let containers = items(spec, "containers").iter().chain(items(spec, "initContainers"));
        containers.map(|container| &container["resources"]).collect()
    };
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    let mut guaranteed = true;
    let add = |total: &mut BTreeMap<&'static str, Quantity>, more: &BTreeMap<&'static str, Quantity>| {
        for (name, amount) in more {
            let sum = total
                .get(name)
                .map_or(*amount, |before: &Quantity| before.plus(*amount));
            total.insert(name, sum);
        }
    };
    for resources in places {
        let limited = amounts(&resources["limits"]);
        add(&mut requests, &amounts(&resources["requests"]));
        guaranteed &= limited.len() == 2;
        add(&mut limits, &limited);
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if guaranteed && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Completes selectors that shall follow the Pod's labels: `matchLabelKeys` and `mismatchLabelKeys` of affinity terms,
/// `matchLabelKeys` of spread constraints (KEP-3633, KEP-3243).
pub(super) fn merge_label_keys(pod: &mut Value) {
    let labels = pod["metadata"]["labels"].clone();
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = spec.pointer_mut(&format!("/affinity/{kind}")) else {
            continue;
        };
        let required = affinity.get_mut("requiredDuringSchedulingIgnoredDuringExecution");
        for term in required.and_then(Value::as_array_mut).into_iter().flatten() {
            merge_keys(term, &labels);
        }
        let preferred = affinity.get_mut("preferredDuringSchedulingIgnoredDuringExecution");
        for weighted in preferred.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(term) = weighted.get_mut("podAffinityTerm") {
                merge_keys(term, &labels);
            }
        }
    }
    let constraints = spec.get_mut("topologySpreadConstraints");
    for constraint in constraints.and_then(Value::as_array_mut).into_iter().flatten() {
        merge_keys(constraint, &labels);
    }
}

fn merge_keys(term: &mut Value, labels: &Value) {
    if !term["labelSelector"].is_object() {
        return;
    }
    let mut more = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in items(term, field).iter().filter_map(Value::as_str) {
            if let Some(value) = labels[key].as_str() {
                more.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    if more.is_empty() {
        return;
    }
    match &mut term["labelSelector"]["matchExpressions"] {
        Value::Array(expressions) => expressions.append(&mut more),
        none @ Value::Null => *none = Value::Array(more),
        _ => {}
    }
}

/// Drops what belongs to features that are off by default, where the Pod before (or its template) has none of it.
pub(super) fn drop_disabled(pod: &mut Value, old: Option<&Value>) {
    let had = |field: &str| old.is_some_and(|old| !old["spec"][field].is_null());
    let had_rules = old.is_some_and(|old| {
        let mut containers = CONTAINERS.iter().flat_map(|list| items(&old["spec"], list));
        containers.any(|container| !container["restartPolicyRules"].is_null())
    });
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for field in ["hostnameOverride", "workloadRef"] {
        if !had(field) {
            spec.remove(field);
        }
    }
    if had_rules {
        return;
    }
    for list in CONTAINERS {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container.as_object_mut().and_then(|c| c.remove("restartPolicyRules"));
        }
    }
}

/// What only the server says of a Pod's status stays, whoever reports the rest.
pub(super) fn keep_status(new: &mut Value, old: &Value) {
    if new["status"]["qosClass"].as_str().unwrap_or_default().is_empty()
        && old["status"]["qosClass"].is_string()
        && (new["status"].is_object() || new["status"].is_null())
    {
        new["status"]["qosClass"] = old["status"]["qosClass"].clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service() {
        let both = json!({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "0.1", "memory": "1024Mi"}});
        let of = |spec: Value| qos_class(&json!({ "spec": spec }));
        assert_eq!(of(json!({"containers": [{"resources": both}]})), "Guaranteed");
        assert_eq!(of(json!({"containers": [{"resources": both}, {}]})), "Burstable");
        assert_eq!(of(json!({"containers": [{}]})), "BestEffort");
        assert_eq!(of(json!({"containers": [{}], "resources": both})), "Guaranteed");
        assert_eq!(
            of(json!({"containers": [{"resources": {"requests": {"cpu": "0"}}}]})),
            "BestEffort"
        );
        assert_eq!(
            of(json!({"containers": [{"resources": {"limits": {"cpu": "1", "example.com/x": "1"}}}]})),
            "Burstable"
        );
    }

    #[test]
    fn selectors_follow_labels() {
        let mut pod = json!({"metadata": {"labels": {"v": "1"}}, "spec": {
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {}, "matchLabelKeys": ["v", "w"], "mismatchLabelKeys": ["v"]}]}},
            "topologySpreadConstraints": [{"matchLabelKeys": ["v"]}]}});
        merge_label_keys(&mut pod);
        let terms = &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(
            terms[0]["labelSelector"]["matchExpressions"],
            json!([{"key": "v", "operator": "In", "values": ["1"]}, {"key": "v", "operator": "NotIn", "values": ["1"]}])
        );
        assert_eq!(
            pod["spec"]["topologySpreadConstraints"][0],
            json!({"matchLabelKeys": ["v"]})
        );
    }

    #[test]
    fn fields_of_disabled_features() {
        let spec = json!({"hostnameOverride": "a", "containers": [{"name": "c", "restartPolicyRules": []}]});
        let mut pod = json!({ "spec": spec });
        let before = pod.clone();
        drop_disabled(&mut pod, Some(&before));
        assert_eq!(pod, before);
        drop_disabled(&mut pod, None);
        assert_eq!(pod, json!({"spec": {"containers": [{"name": "c"}]}}));
    }
}
