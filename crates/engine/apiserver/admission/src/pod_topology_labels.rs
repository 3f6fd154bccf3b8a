//! PodTopologyLabels: pods know the zone and region of their node.

use serde_json::Value;

use crate::get::{section, text};
use crate::{Lookup, Operation, Outcome, Request};

/// Labels of nodes that their pods get.
const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub(crate) fn mutate<L: Lookup>(request: &Request<'_>, object: &mut Value, lookup: &L) -> Outcome<L::Error> {
    let is_create = request.operation == Operation::Create;
    if !request.gates.pod_topology_labels || !is_create || !request.concerns("", "pods") {
        return Ok(());
    }
    let node = match request.subresource {
        "" => text(&object["spec"]["nodeName"]),
        "binding" if text(&object["target"]["kind"]) == "Node" => text(&object["target"]["name"]),
        _ => return Ok(()),
    };
    if node.is_empty() {
        return Ok(());
    }
    let Some(node) = lookup.get("", "nodes", "", node)? else {
        return Ok(());
    };
    for label in LABELS {
        let Some(value) = node["metadata"]["labels"].get(label) else {
            continue;
        };
        let labels = section(object, "metadata").and_then(|metadata| section(metadata, "labels"));
        if let Some(labels) = labels.and_then(Value::as_object_mut) {
            labels.entry(label).or_insert_with(|| value.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gates;
    use crate::lookup::tests::{Stored, pods};
    use serde_json::json;

    #[test]
    fn pods_get_the_zone_of_their_node() {
        let labels = json!({LABELS[0]: "z", LABELS[1]: "r", "other": "x"});
        let stored = Stored::of(&[("", "nodes", json!({"metadata": {"name": "m", "labels": labels}}))]);
        let of = |subresource: &str, is_on: bool, mut object: Value| {
            let mut request = pods(Operation::Create, subresource);
            request.gates = Gates {
                pod_topology_labels: is_on,
            };
            mutate(&request, &mut object, &stored).unwrap();
            object["metadata"]["labels"].take()
        };
        let binding = json!({"metadata": {"labels": {LABELS[0]: "mine"}}, "target": {"kind": "Node", "name": "m"}});
        assert_eq!(
            of("binding", true, binding.clone()),
            json!({LABELS[0]: "mine", LABELS[1]: "r"})
        );
        assert_eq!(of("binding", false, binding), json!({LABELS[0]: "mine"}));
        let pod = json!({"spec": {"nodeName": "m"}});
        assert_eq!(of("", true, pod.clone()), json!({LABELS[0]: "z", LABELS[1]: "r"}));
        assert_eq!(of("status", true, pod), Value::Null);
        assert_eq!(of("", true, json!({"spec": {"nodeName": "gone"}})), Value::Null);
    }
}
