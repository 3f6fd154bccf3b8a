//! DefaultTolerationSeconds: pods stay on a node that fails for five minutes, unless they say otherwise.

use serde_json::{Value, json};

use crate::get::{items, list, text};
use crate::{Operation, Request};

/// Taints of a node that fails.
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// How long a pod stays.
const SECONDS: i64 = 300;

pub(crate) fn mutate(request: &Request<'_>, pod: &mut Value) {
    if !request.is_to("", "pods") || request.operation == Operation::Delete || !pod["spec"].is_object() {
        return;
    }
    let tolerated = |taint: &str, pod: &Value| {
        items(&pod["spec"]["tolerations"]).iter().any(|toleration| {
            ["", taint].contains(&text(&toleration["key"])) && ["", "NoExecute"].contains(&text(&toleration["effect"]))
        })
    };
    let missing: Vec<&str> = TAINTS.into_iter().filter(|taint| !tolerated(taint, pod)).collect();
    if missing.is_empty() {
        return;
    }
    if let Some(tolerations) = list(&mut pod["spec"], "tolerations") {
        tolerations.extend(missing.into_iter().map(
            |taint| json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::tests::pods;

    fn keys(tolerations: Value) -> Vec<String> {
        let mut pod = json!({"spec": {"tolerations": tolerations}});
        mutate(&pods(Operation::Create, ""), &mut pod);
        let once = pod.clone();
        mutate(&pods(Operation::Update, ""), &mut pod);
        assert_eq!(pod, once);
        let keys = items(&pod["spec"]["tolerations"])
            .iter()
            .map(|toleration| text(&toleration["key"]));
        keys.map(str::to_owned).collect()
    }

    #[test]
    fn what_is_not_tolerated_yet_is() {
        assert_eq!(keys(Value::Null), TAINTS);
        assert_eq!(
            keys(json!([{"key": "a", "operator": "Exists"}])),
            ["a", TAINTS[0], TAINTS[1]]
        );
        assert_eq!(keys(json!([{"operator": "Exists"}])), [""]);
        assert_eq!(
            keys(json!([{"operator": "Exists", "effect": "NoSchedule"}])),
            ["", TAINTS[0], TAINTS[1]]
        );
        assert_eq!(
            keys(json!([{"key": TAINTS[1], "effect": "NoExecute"}])),
            [TAINTS[1], TAINTS[0]]
        );
    }

    #[test]
    fn subresources_are_left_alone() {
        let mut pod = json!({"spec": {}});
        mutate(&pods(Operation::Update, "status"), &mut pod);
        assert_eq!(pod, json!({"spec": {}}));
    }
}
