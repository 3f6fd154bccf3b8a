//! Which objects a quota is about, of those that it could count.

use engenho_quantity::Quantity;
use serde_json::Value;

use crate::get::{items, text};
use crate::pod_resources::has_pod_level;

/// One condition on objects: a scope, and how its value is compared.
pub(super) struct Scope<'a> {
    name: &'a str,
    operator: &'a str,
    values: &'a [Value],
}

impl<'a> Scope<'a> {
    /// All conditions of a quota.
    pub fn of(quota: &'a Value) -> impl Iterator<Item = Self> {
        let spec = &quota["spec"];
        let plain = items(&spec["scopes"]).iter().map(|scope| Self {
            name: text(scope),
            operator: "Exists",
            values: &[],
        });
        let selected = items(&spec["scopeSelector"]["matchExpressions"])
            .iter()
            .map(|expression| Self {
                name: text(&expression["scopeName"]),
                operator: text(&expression["operator"]),
                values: items(&expression["values"]),
            });
        plain.chain(selected)
    }

    /// Whether the condition holds for a pod.
    pub fn holds_for_pod(&self, pod: &Value) -> bool {
        let spec = &pod["spec"];
        match self.name {
            "Terminating" => is_terminating(spec),
            "NotTerminating" => !is_terminating(spec),
            "BestEffort" => is_best_effort(pod),
            "NotBestEffort" => !is_best_effort(pod),
            "PriorityClass" => {
                let class = text(&spec["priorityClassName"]);
                self.compares(&[class])
            }
            "CrossNamespacePodAffinity" => has_cross_namespace_affinity(&spec["affinity"]),
            _ => false,
        }
    }

    /// Whether the condition holds for a volume claim, by any of the classes it is in, was in or is to be in.
    pub fn holds_for_claim(&self, claim: &Value) -> bool {
        let status = &claim["status"];
        let classes = [
            &claim["spec"]["volumeAttributesClassName"],
            &status["currentVolumeAttributesClassName"],
            &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
        ];
        self.name == "VolumeAttributesClass" && self.compares(&classes.map(text))
    }

    /// Compares the values an object has, of which empty ones are none.
    fn compares(&self, given: &[&str]) -> bool {
        let mut given = given.iter().filter(|value| !value.is_empty()).peekable();
        let is_listed = |value: &&&str| self.values.iter().any(|listed| text(listed) == **value);
        match self.operator {
            "Exists" => given.peek().is_some(),
            "DoesNotExist" => given.peek().is_none(),
            "In" => given.any(|value| is_listed(&value)),
            "NotIn" => given.peek().is_none() || given.any(|value| !is_listed(&value)),
            _ => false,
        }
    }
}

fn is_terminating(spec: &Value) -> bool {
    spec["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds >= 0)
}

/// Whether the pod asks for nothing and is limited by nothing, so that it gets what is left.
fn is_best_effort(pod: &Value) -> bool {
    match text(&pod["status"]["qosClass"]) {
        "" => {}
        class => return class == "BestEffort",
    }
    let spec = &pod["spec"];
    let is_bare = |resources: &Value| {
        ["requests", "limits"].iter().all(|list| {
            let amounts = ["cpu", "memory"].map(|name| Quantity::of(&resources[*list][name]));
            amounts.iter().all(|amount| *amount <= Quantity::ZERO)
        })
    };
    if has_pod_level(pod) {
        return is_bare(&spec["resources"]);
    }
    let mut containers = items(&spec["containers"]).iter().chain(items(&spec["initContainers"]));
    containers.all(|container| is_bare(&container["resources"]))
}

fn has_cross_namespace_affinity(affinity: &Value) -> bool {
    let crosses = |term: &Value| !items(&term["namespaces"]).is_empty() || !term["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let rules = &affinity[*kind];
        let mut required = items(&rules["requiredDuringSchedulingIgnoredDuringExecution"]).iter();
        let mut preferred = items(&rules["preferredDuringSchedulingIgnoredDuringExecution"]).iter();
        required.any(crosses) || preferred.any(|weighted| crosses(&weighted["podAffinityTerm"]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(scope: Value, pod: Value) -> bool {
        let quota = match scope.as_str() {
            Some(plain) => json!({"spec": {"scopes": [plain]}}),
            None => json!({"spec": {"scopeSelector": {"matchExpressions": [scope]}}}),
        };
        Scope::of(&quota).all(|scope| scope.holds_for_pod(&pod))
    }

    #[test]
    fn scopes_of_pods() {
        let deadline = json!({"spec": {"activeDeadlineSeconds": 5}});
        assert!(holds(json!("Terminating"), deadline.clone()) && !holds(json!("NotTerminating"), deadline));
        let bare = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "0", "a.b/c": "1"}}}]}});
        assert!(holds(json!("BestEffort"), bare.clone()) && !holds(json!("NotBestEffort"), bare));
        let asking = json!({"spec": {"initContainers": [{"resources": {"limits": {"memory": "1"}}}]}});
        assert!(!holds(json!("BestEffort"), asking));
        let whole = json!({"spec": {"containers": [{}], "resources": {"requests": {"cpu": "1"}}}});
        assert!(!holds(json!("BestEffort"), whole));
        assert!(!holds(
            json!("BestEffort"),
            json!({"spec": {}, "status": {"qosClass": "Burstable"}})
        ));
        let near = json!({"spec": {"affinity": {"podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaceSelector": {}}}],
        }}}});
        assert!(holds(json!("CrossNamespacePodAffinity"), near));
        assert!(!holds(json!("CrossNamespacePodAffinity"), json!({})) && !holds(json!("Other"), json!({})));
    }

    #[test]
    fn priority_classes_are_compared() {
        let table = [
            ("Exists", "a", true),
            ("Exists", "", false),
            ("DoesNotExist", "", true),
            ("In", "a", true),
            ("In", "c", false),
            ("In", "", false),
            ("NotIn", "a", false),
            ("NotIn", "c", true),
            ("NotIn", "", true),
            ("Odd", "a", false),
        ];
        for (operator, class, expected) in table {
            let scope = json!({"scopeName": "PriorityClass", "operator": operator, "values": ["a", "b"]});
            let pod = json!({"spec": {"priorityClassName": class}});
            assert_eq!(holds(scope, pod), expected, "{operator} {class}");
        }
    }

    #[test]
    fn classes_of_claims_are_compared() {
        let of = |operator: &str, claim: Value| {
            let scope = json!({"scopeName": "VolumeAttributesClass", "operator": operator, "values": ["gold"]});
            let quota = json!({"spec": {"scopeSelector": {"matchExpressions": [scope]}}});
            Scope::of(&quota).all(|scope| scope.holds_for_claim(&claim))
        };
        let now = json!({"spec": {"volumeAttributesClassName": "gold"}});
        let before = json!({"spec": {}, "status": {"currentVolumeAttributesClassName": "gold"}});
        assert!(of("In", now) && of("In", before) && !of("In", json!({})) && of("NotIn", json!({})));
    }
}
