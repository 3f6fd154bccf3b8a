//! TaintNodesByCondition: no pod is put on a new node before it is known to work.

use serde_json::{Value, json};

use crate::Request;
use crate::get::{items, list, section, text};

const KEY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

pub(crate) fn mutate(request: &Request<'_>, node: &mut Value) {
    if !request.creates("", "nodes") {
        return;
    }
    let taints = items(&node["spec"]["taints"]);
    if taints
        .iter()
        .any(|taint| text(&taint["key"]) == KEY && text(&taint["effect"]) == EFFECT)
    {
        return;
    }
    if let Some(taints) = section(node, "spec").and_then(|spec| list(spec, "taints")) {
        taints.push(json!({"key": KEY, "effect": EFFECT}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use crate::lookup::tests::request;

    #[test]
    fn new_nodes_are_not_ready() {
        let of = |operation, taints: Value| {
            let mut node = json!({"spec": {"taints": taints}});
            mutate(&request(operation, "", "nodes"), &mut node);
            node["spec"]["taints"].take()
        };
        let taint = json!({"key": KEY, "effect": EFFECT});
        let other = json!({"key": KEY, "effect": "NoExecute"});
        assert_eq!(of(Operation::Create, Value::Null), json!([taint]));
        assert_eq!(of(Operation::Create, json!([taint])), json!([taint]));
        assert_eq!(of(Operation::Create, json!([other])), json!([other, taint]));
        assert_eq!(of(Operation::Update, json!([])), json!([]));
    }
}
