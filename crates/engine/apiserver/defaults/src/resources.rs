//! Resource lists: rounding, requests that follow from limits, and what a pod as a whole asks for.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fields::{Fields, add_missing, is_bare, items, object, text};
use engenho_quantity::Quantity;

/// The lists of a container's or a claim's `resources`.
const REQUIREMENTS: [&str; 2] = ["limits", "requests"];
/// Prefix of the names of huge pages, by size.
const HUGE_PAGES: &str = "hugepages-";

/// Amounts by resource.
type Amounts = BTreeMap<String, Quantity>;

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
    let huge: Fields = limits
        .iter()
        .filter(|(name, _)| name.starts_with(HUGE_PAGES) && !requested(name))
        .map(written)
        .collect();
    add_missing(resources, "limits", Some(&huge));

    if is_bare(resources, "limits") {
        return;
    }
    let shared: Fields = requests
        .iter()
        .filter(|(name, _)| is_shared(name))
        .map(written)
        .collect();
    add_missing(resources, "requests", Some(&shared));
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

fn written((name, amount): (&String, &Quantity)) -> (String, Value) {
    (name.clone(), amount.to_string().into())
}

/// What the containers of a pod need at once, of the given list: all that run for good, or the largest that runs before
/// them together with the sidecars started by then.
fn aggregate(spec: &mut Fields, list: &str) -> Amounts {
    let mut total = Amounts::new();
    for container in items(spec, "containers") {
        add(&mut total, &amounts(container, list));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in items(spec, "initContainers") {
        let own = amounts(container, list);
        if text(container, "restartPolicy") == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            largest(&mut starting, &sidecars);
        } else {
            let mut now = own;
            add(&mut now, &sidecars);
            largest(&mut starting, &now);
        }
    }
    largest(&mut total, &starting);
    total
}

fn amounts(container: &mut Fields, list: &str) -> Amounts {
    object(container, "resources")
        .and_then(|resources| object(resources, list))
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::read(value).ok()?)))
        .collect()
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |before| before.plus(*amount));
        total.insert(name.clone(), sum);
    }
}

fn largest(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if total.get(name).is_none_or(|before| amount > before) {
            total.insert(name.clone(), *amount);
        }
    }
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
