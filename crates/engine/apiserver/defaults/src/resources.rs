//! Resource lists: rounding, requests that follow from limits, and what a pod as a whole asks for.

use serde_json::Value;

use crate::fields::{Fields, add_missing, is_bare, object};
use engenho_quantity::Quantity;
use engenho_quantity::amounts::{Amounts, of_containers, read, written};

/// The lists of a container's or a claim's `resources`.
const REQUIREMENTS: [&str; 2] = ["limits", "requests"];
/// Prefix of the names of huge pages, by size.
const HUGE_PAGES: &str = "hugepages-";

/// Rounds the amounts of each of these lists up to thousandths. What is no amount is left for validation.
pub fn round(map: &mut Fields, lists: &[&str]) {
    for list in lists {
        for value in object(map, list).into_iter().flat_map(Fields::values_mut) {
            let amount = match &*value {
                Value::Null => Ok(Quantity::ZERO),
                given => Quantity::read(given),
            };
            if let Ok(amount) = amount {
                *value = amount.in_milli().to_string().into();
            }
        }
    }
}

/// Rounds the limits and requests in `resources`.
pub fn round_requirements(map: &mut Fields) {
    if let Some(resources) = object(map, "resources") {
        round(resources, &REQUIREMENTS);
    }
}

/// A container of a pod asks for what it is limited to, unless it says otherwise.
pub fn requests_from_limits(container: &mut Fields) {
    if let Some(resources) = object(container, "resources") {
        let limits = resources.get("limits").and_then(Value::as_object).cloned();
        add_missing(resources, "requests", limits.as_ref());
    }
}

/// Completes a pod's own limits and requests from each other and from its containers'.
///
/// Runs after [`requests_from_limits`] of every container.
pub fn pod_level(spec: &mut Fields) {
    let partly_set = object(spec, "resources").is_some_and(|r| REQUIREMENTS.iter().any(|list| !is_bare(r, list)));
    if !partly_set {
        return;
    }
    let limits = aggregate(spec, "limits");
    let requests = aggregate(spec, "requests");
    let Some(resources) = object(spec, "resources") else {
        return;
    };
    let requested = |name: &String| {
        resources
            .get("requests")
            .and_then(Value::as_object)
            .is_some_and(|r| r.contains_key(name))
    };
    let mut huge = limits;
    huge.retain(|name, _| name.starts_with(HUGE_PAGES) && !requested(name));
    add_missing(resources, "limits", Some(&written(&huge)));

    if is_bare(resources, "limits") {
        return;
    }
    let mut shared = requests;
    shared.retain(|name, _| is_shared(name));
    add_missing(resources, "requests", Some(&written(&shared)));
    let limits: Option<Fields> = resources.get("limits").and_then(Value::as_object).map(|limits| {
        let known = limits
            .iter()
            .filter(|(name, _)| is_shared(name) || name.starts_with(HUGE_PAGES));
        known.map(|(name, amount)| (name.clone(), amount.clone())).collect()
    });
    add_missing(resources, "requests", limits.as_ref());
}

/// Resources of a pod as a whole that containers can use more of than they asked for.
fn is_shared(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

/// What the containers of a pod need at once, of the given list.
fn aggregate(spec: &Fields, list: &str) -> Amounts {
    let containers = |field: &str| spec.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    of_containers(
        containers("containers"),
        containers("initContainers"),
        |container, _| read(&container["resources"][list]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn completed(spec: Value) -> Value {
        let mut spec = spec.as_object().cloned().unwrap_or_default();
        pod_level(&mut spec);
        spec.remove("resources").unwrap_or_default()
    }

    #[test]
    fn a_pod_asks_for_what_it_is_limited_to() {
        let limits = json!({"cpu": "1", "memory": "1Gi", "example.com/x": "1"});
        let resources = completed(json!({"containers": [{}], "resources": {"limits": limits}}));
        assert_eq!(
            resources,
            json!({"limits": limits, "requests": {"cpu": "1", "memory": "1Gi"}})
        );
    }

    #[test]
    fn a_pod_asks_for_what_its_containers_do() {
        let of = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let resources = completed(json!({
            "containers": [{"resources": of("100m")}, {"resources": of("200m")}],
            "initContainers": [
                {"resources": of("50m"), "restartPolicy": "Always"},
                {"resources": of("1")},
            ],
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        }));
        assert_eq!(resources["requests"], json!({"cpu": "1050m", "memory": "1Gi"}));
    }

    #[test]
    fn huge_pages_are_limited_to_what_containers_are() {
        let container = json!({"resources": {"limits": {"hugepages-2Mi": "4Mi", "cpu": "1"}}});
        let resources = completed(json!({
            "containers": [container, container],
            "resources": {"requests": {"cpu": "1"}},
        }));
        let expected = json!({"limits": {"hugepages-2Mi": "8Mi"}, "requests": {"cpu": "1", "hugepages-2Mi": "8Mi"}});
        assert_eq!(resources, expected);
    }

    #[test]
    fn nothing_follows_from_nothing() {
        assert_eq!(completed(json!({"containers": [{}]})), Value::Null);
        assert_eq!(completed(json!({"resources": {}})), json!({}));
        assert_eq!(completed(json!({"resources": "x"})), json!("x"));
        let only_requests = json!({"requests": {"cpu": "1"}});
        assert_eq!(completed(json!({"resources": only_requests})), only_requests);
    }

    #[test]
    fn lists_are_rounded_where_they_can_be() {
        let mut map = json!({"resources": {"limits": {"cpu": "0.0001", "memory": 1024, "x": "?"}, "requests": []}});
        round_requirements(map.as_object_mut().unwrap());
        let expected = json!({"limits": {"cpu": "1m", "memory": "1024", "x": "?"}, "requests": []});
        assert_eq!(map["resources"], expected);
    }
}
