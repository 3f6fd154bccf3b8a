//! Horizontal pod autoscalers, in both versions.

use serde_json::{Value, json};

use crate::fields::{Fields, is_missing, object, set_if_bare, set_if_missing, structure, text};

/// Share of the requested CPU that is aimed at, in percent.
const CPU_UTILIZATION: i64 = 80;
/// Where the first version keeps metrics it has no fields for.
const METRICS_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/metrics";

/// A HorizontalPodAutoscaler of version 1, which aims at CPU use unless an annotation says what else.
pub fn v1(autoscaler: &mut Fields) {
    let annotated = object(autoscaler, "metadata")
        .and_then(|meta| object(meta, "annotations"))
        .is_some_and(|annotations| is_list(text(annotations, METRICS_ANNOTATION)));
    if let Some(spec) = structure(autoscaler, "spec") {
        set_if_missing(spec, "minReplicas", 1);
        if !annotated {
            set_if_missing(spec, "targetCPUUtilizationPercentage", CPU_UTILIZATION);
        }
    }
}

/// Whether a text is a JSON list with something in it.
fn is_list(text: &str) -> bool {
    serde_json::from_str::<Vec<Value>>(text).is_ok_and(|list| !list.is_empty())
}

/// A HorizontalPodAutoscaler of version 2.
pub fn v2(autoscaler: &mut Fields) {
    let Some(spec) = structure(autoscaler, "spec") else {
        return;
    };
    set_if_missing(spec, "minReplicas", 1);
    let target = json!({"type": "Utilization", "averageUtilization": CPU_UTILIZATION});
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    set_if_bare(spec, "metrics", vec![metric]);
    let Some(behavior) = object(spec, "behavior") else {
        return;
    };
    if let Some(up) = structure(behavior, "scaleUp") {
        set_if_missing(up, "stabilizationWindowSeconds", 0);
        rules(up, json!([policy("Pods", 4), policy("Percent", 100)]));
    }
    // How long scaling down waits is the controller's to say.
    if let Some(down) = structure(behavior, "scaleDown") {
        rules(down, json!([policy("Percent", 100)]));
    }
}

fn rules(rules: &mut Fields, policies: Value) {
    set_if_missing(rules, "selectPolicy", "Max");
    if is_missing(rules, "policies") {
        rules.insert("policies".to_owned(), policies);
    }
}

fn policy(kind: &str, value: i64) -> Value {
    json!({"type": kind, "value": value, "periodSeconds": 15})
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn applied(version: &str, mut object: Value) -> Value {
        apply("autoscaling", version, "horizontalpodautoscalers", &mut object);
        object
    }

    #[test]
    fn version_one() {
        let object = applied("v1", json!({"spec": {"maxReplicas": 2}}));
        let expected = json!({"maxReplicas": 2, "minReplicas": 1, "targetCPUUtilizationPercentage": 80});
        assert_eq!(object["spec"], expected);
        let annotations = json!({"autoscaling.alpha.kubernetes.io/metrics": "[{}]"});
        let object = applied("v1", json!({"metadata": {"annotations": annotations}}));
        assert_eq!(object["spec"], json!({"minReplicas": 1}));
    }

    #[test]
    fn version_two() {
        let object = applied("v2", json!({"spec": {"minReplicas": 0}}));
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metrics = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
        assert_eq!(object["spec"], json!({"minReplicas": 0, "metrics": metrics}));
    }

    #[test]
    fn behavior_is_complete_or_absent() {
        let object = applied(
            "v2",
            json!({"spec": {"behavior": {"scaleUp": {"selectPolicy": "Disabled"}}}}),
        );
        let up = json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]);
        let expected = json!({
            "scaleUp": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0, "policies": up},
            "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
        });
        assert_eq!(object["spec"]["behavior"], expected);
    }
}
