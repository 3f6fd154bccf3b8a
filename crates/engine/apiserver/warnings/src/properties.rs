//! Nothing panics, whatever the objects are.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{create, custom_resource, dedup_owner_references, update, update_subresource};

const KINDS: [(&str, &str); 25] = [
    ("", "configmaps"),
    ("", "endpoints"),
    ("", "nodes"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("discovery.k8s.io", "endpointslices"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "networkpolicies"),
    ("node.k8s.io", "runtimeclasses"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "storageclasses"),
    ("example.com", "widgets"),
];

fn every_rule(new: &Value, old: &Value) {
    for (group, plural) in KINDS {
        let all = [
            create(group, "v1", plural, new),
            update(group, "v1", plural, new, old),
            update_subresource(group, "v1", plural, "status", new, old),
            custom_resource(new, Some(old)),
        ];
        assert!(all.iter().flatten().all(|warning| !warning.is_empty()));
    }
    dedup_owner_references(&mut new.clone(), true);
}

/// A pod, and most else, with a value that is no object where one belongs.
fn full(odd: &Value) -> Value {
    let container = json!({
        "name": odd, "env": [{"name": "A", "value": "$(A)"}, {"name": "A", "valueFrom": odd}, odd],
        "ports": [{"hostPort": odd, "containerPort": 80, "hostIP": "::1"}, {"containerPort": 80, "name": odd}, odd],
        "resources": {"limits": {"memory": odd}, "requests": odd}, "securityContext": odd,
    });
    let volumes = json!([
        {"name": "v", "configMap": {"items": [{"path": odd}, {"path": "a"}, odd]}},
        {"projected": {"sources": [odd, {}, {"secret": {"items": [{"path": "a/"}]}}, {"serviceAccountToken": {"path": "a"}}]}},
        {"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": odd}}}}}},
        odd,
    ]);
    let spec = json!({
        "containers": [container, odd], "initContainers": [container], "volumes": volumes, "type": "ClusterIP",
        "hostAliases": [{"ip": odd}, {"ip": odd}], "imagePullSecrets": [odd, {}], "nodeSelector": odd,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [odd]}}},
        "topologySpreadConstraints": [odd], "overhead": {"memory": odd}, "clusterIP": odd, "clusterIPs": [odd, "01.2.3.4"],
        "loadBalancerSourceRanges": [odd, "1.2.3.4/08", "::/0", "::ffff:1.2.3.4/90"], "podCIDRs": [odd],
        "versions": [{"schema": {"openAPIV3Schema": {"items": [odd], "not": odd, "properties": {"a": odd}}}}],
    });
    json!({
        "metadata": {"name": odd, "generation": odd, "annotations": {"scheduler.alpha.kubernetes.io/critical-pod": odd},
            "finalizers": [odd, "a"], "ownerReferences": [odd, odd, {"uid": odd}]},
        "type": "kubernetes.io/tls", "data": {"tls.crt": odd, "tls.key": odd},
        "spec": merged(spec.clone(), json!({"template": {"spec": spec}, "jobTemplate": {"spec": {"template": {"spec": spec}}}})),
        "template": {"spec": spec},
    })
}

fn merged(mut one: Value, two: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (one.as_object_mut(), two) {
        fields.extend(more);
    }
    one
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop_oneof!["[0-9.:/a-f]{0,18}", "-?[0-9]{1,30}(m|Mi|E|e9)?"].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("(spec|items|name|metadata|path|.{0,4})", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_panics(odd in any_json(), other in any_json()) {
        every_rule(&odd, &other);
        every_rule(&full(&odd), &full(&other));
        every_rule(&full(&odd), &other);
    }
}
