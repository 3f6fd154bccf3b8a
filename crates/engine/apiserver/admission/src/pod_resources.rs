//! What a pod as a whole asks for and is limited to.

use std::collections::BTreeMap;

use engenho_quantity::Quantity;
use serde_json::Value;

use crate::get::{fields, items, text};
use engenho_quantity::amounts::{Amounts, Runs, add, largest, of_containers, read};

/// The two lists of a container's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Requests,
    Limits,
}

impl List {
    fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// Whether a pod as a whole can have its own amount of this resource.
fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// Whether the pod has amounts of its own, beside its containers'.
pub(crate) fn has_pod_level(pod: &Value) -> bool {
    let resources = &pod["spec"]["resources"];
    let lists = [&resources["requests"], &resources["limits"]];
    lists
        .into_iter()
        .any(|list| fields(list).any(|(name, _)| is_pod_level(name)))
}

/// What the specification alone says.
pub(crate) fn specified(pod: &Value, list: List) -> Amounts {
    total(pod, list, &BTreeMap::new())
}

/// What the pod takes, including what its containers still have from before a resize and what running it costs.
pub(crate) fn effective(pod: &Value, list: List) -> Amounts {
    let status = &pod["status"];
    let statuses = items(&status["containerStatuses"])
        .iter()
        .chain(items(&status["initContainerStatuses"]));
    let by_name = statuses.map(|status| (text(&status["name"]), status)).collect();
    let mut total = total(pod, list, &by_name);
    let mut overhead = read(&pod["spec"]["overhead"]);
    if list == List::Limits {
        overhead.retain(|name, _| total.get(name).is_some_and(|limit| *limit != Quantity::ZERO));
    }
    add(&mut total, &overhead);
    total
}

fn total(pod: &Value, list: List, statuses: &BTreeMap<&str, &Value>) -> Amounts {
    let spec = &pod["spec"];
    let refused_resize = is_resize_infeasible(pod);
    let of = |container: &Value, runs: Runs| match statuses.get(text(&container["name"])) {
        Some(status) if runs == Runs::On && !status["resources"].is_null() => {
            actual(container, status, list, refused_resize)
        }
        _ => read(&container["resources"][list.field()]),
    };
    let mut total = of_containers(items(&spec["containers"]), items(&spec["initContainers"]), of);
    let own = read(&spec["resources"][list.field()]);
    total.extend(own.into_iter().filter(|(name, _)| is_pod_level(name)));
    total
}

/// What a container holds: the most of what it should have and has, or what it has if it cannot have more.
fn actual(container: &Value, status: &Value, list: List, refused_resize: bool) -> Amounts {
    let mut held = read(&status["resources"][list.field()]);
    if list == List::Requests {
        largest(&mut held, &read(&status["allocatedResources"]));
    }
    if !refused_resize {
        largest(&mut held, &read(&container["resources"][list.field()]));
    }
    held
}

fn is_resize_infeasible(pod: &Value) -> bool {
    items(&pod["status"]["conditions"])
        .iter()
        .any(|condition| text(&condition["type"]) == "PodResizePending" && text(&condition["reason"]) == "Infeasible")
}

#[cfg(test)]
mod tests {
    use super::*;
    use engenho_quantity::amounts::written;
    use serde_json::json;

    fn cpu(amount: &str) -> Value {
        json!({"requests": {"cpu": amount}, "limits": {"cpu": amount}})
    }

    fn both(pod: &Value) -> [Value; 2] {
        [List::Requests, List::Limits].map(|list| Value::Object(written(&effective(pod, list))))
    }

    #[test]
    fn containers_run_together_and_init_containers_before() {
        let pod = json!({"spec": {
            "containers": [{"resources": cpu("1")}, {"resources": cpu("500m")}],
            "initContainers": [
                {"resources": cpu("2")},
                {"resources": cpu("1"), "restartPolicy": "Always"},
                {"resources": cpu("4")},
            ],
        }});
        assert_eq!(both(&pod), [json!({"cpu": "5"}), json!({"cpu": "5"})]);
    }

    #[test]
    fn a_pod_may_have_its_own_amounts() {
        let pod = json!({"spec": {
            "containers": [{"resources": {"requests": {"cpu": "1", "a.b/c": "1"}}}],
            "resources": {"requests": {"cpu": "3", "a.b/c": "9"}},
        }});
        assert!(has_pod_level(&pod));
        assert_eq!(both(&pod), [json!({"cpu": "3", "a.b/c": "1"}), json!({})]);
    }

    #[test]
    fn overhead_is_asked_for_and_raises_limits_there_are() {
        let mut pod = json!({"spec": {
            "containers": [{"resources": cpu("1")}],
            "overhead": {"cpu": "250m", "memory": "1Mi"},
        }});
        assert_eq!(
            both(&pod),
            [json!({"cpu": "1250m", "memory": "1Mi"}), json!({"cpu": "1250m"})]
        );
        assert_eq!(
            Value::Object(written(&specified(&pod, List::Requests))),
            json!({"cpu": "1"})
        );
        pod["spec"]["containers"] = json!([{"resources": {"limits": {"cpu": "0"}}}]);
        assert_eq!(
            both(&pod),
            [json!({"cpu": "250m", "memory": "1Mi"}), json!({"cpu": "0"})]
        );
    }

    #[test]
    fn a_resize_counts_with_the_larger_amount() {
        let mut pod = json!({
            "spec": {"containers": [{"name": "c", "resources": cpu("1")}]},
            "status": {"containerStatuses": [
                {"name": "c", "resources": cpu("2"), "allocatedResources": {"cpu": "3"}},
            ]},
        });
        assert_eq!(both(&pod), [json!({"cpu": "3"}), json!({"cpu": "2"})]);
        pod["spec"]["containers"][0]["resources"] = cpu("4");
        assert_eq!(both(&pod), [json!({"cpu": "4"}), json!({"cpu": "4"})]);
        pod["status"]["conditions"] = json!([{"type": "PodResizePending", "reason": "Infeasible"}]);
        assert_eq!(both(&pod), [json!({"cpu": "3"}), json!({"cpu": "2"})]);
    }
}
