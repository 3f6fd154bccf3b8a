//! What holds for every kind and any JSON.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::apply;

/// Every kind with rules.
const KINDS: [(&str, &str, &str); 41] = [
    ("", "v1", "pods"),
    ("", "v1", "podtemplates"),
    ("", "v1", "replicationcontrollers"),
    ("", "v1", "services"),
    ("", "v1", "endpoints"),
    ("", "v1", "persistentvolumes"),
    ("", "v1", "persistentvolumeclaims"),
    ("", "v1", "namespaces"),
    ("", "v1", "nodes"),
    ("", "v1", "limitranges"),
    ("", "v1", "resourcequotas"),
    ("", "v1", "secrets"),
    ("apps", "v1", "deployments"),
    ("apps", "v1", "replicasets"),
    ("apps", "v1", "statefulsets"),
    ("apps", "v1", "daemonsets"),
    ("batch", "v1", "jobs"),
    ("batch", "v1", "cronjobs"),
    ("autoscaling", "v1", "horizontalpodautoscalers"),
    ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("networking.k8s.io", "v1", "networkpolicies"),
    ("networking.k8s.io", "v1", "ingressclasses"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("storage.k8s.io", "v1", "storageclasses"),
    ("storage.k8s.io", "v1", "csidrivers"),
    ("storage.k8s.io", "v1", "volumeattachments"),
    ("scheduling.k8s.io", "v1", "priorityclasses"),
    ("node.k8s.io", "v1", "runtimeclasses"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings"),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
    ("authentication.k8s.io", "v1", "tokenrequests"),
    ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations"),
    ("apiregistration.k8s.io", "v1", "apiservices"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("resource.k8s.io", "v1", "resourceclaims"),
    ("resource.k8s.io", "v1", "resourceclaimtemplates"),
];

/// Names the rules look for.
const NAMES: [&str; 56] = [
    "metadata",
    "name",
    "labels",
    "annotations",
    "spec",
    "status",
    "phase",
    "template",
    "containers",
    "initContainers",
    "ephemeralContainers",
    "image",
    "resources",
    "limits",
    "requests",
    "cpu",
    "memory",
    "hugepages-2Mi",
    "restartPolicy",
    "hostNetwork",
    "ports",
    "containerPort",
    "port",
    "targetPort",
    "env",
    "valueFrom",
    "fieldRef",
    "resourceFieldRef",
    "livenessProbe",
    "httpGet",
    "volumes",
    "projected",
    "sources",
    "items",
    "downwardAPI",
    "ephemeral",
    "volumeClaimTemplate",
    "hostPath",
    "sessionAffinity",
    "sessionAffinityConfig",
    "clientIP",
    "type",
    "externalIPs",
    "stringData",
    "data",
    "dataSource",
    "dataSourceRef",
    "default",
    "max",
    "min",
    "serviceAccount",
    "behavior",
    "strategy",
    "selector",
    "parallelism",
    "capacity",
];

/// Values the rules look for, and some they do not.
const TEXTS: [&str; 14] = [
    "",
    "None",
    "ClientIP",
    "Always",
    "Container",
    "LoadBalancer",
    "RollingUpdate",
    "1",
    "100m",
    "0.0001",
    "1.5Gi",
    "1e3",
    "nginx:latest",
    "é",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        (-1.0_f64..1.0).prop_map(Value::from),
        prop::sample::select(&TEXTS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 96, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            4 => prop::collection::vec((prop::sample::select(&NAMES[..]), inner), 0..6).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn a_second_time_changes_nothing(kind in prop::sample::select(&KINDS[..]), mut once in any_json()) {
        let (group, version, plural) = kind;
        apply(group, version, plural, &mut once);
        let mut twice = once.clone();
        apply(group, version, plural, &mut twice);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn pods_of_all_shapes(container in any_json(), volume in any_json(), resources in any_json()) {
        let containers = json!([container.clone(), {"resources": resources}]);
        let mut once = json!({"spec": {
            "containers": containers, "initContainers": [container], "volumes": [volume], "resources": resources,
        }});
        apply("", "v1", "pods", &mut once);
        let mut twice = once.clone();
        apply("", "v1", "pods", &mut twice);
        prop_assert_eq!(once, twice);
    }
}

#[test]
fn every_kind_has_rules_and_no_other() {
    for (group, version, plural) in KINDS {
        assert!(
            crate::rules(group, version, plural).is_some(),
            "{group}/{version} {plural}"
        );
    }
    for (group, version, plural) in [
        ("", "v1", "configmaps"),
        ("apps", "v1beta1", "deployments"),
        ("x", "v1", "pods"),
    ] {
        let mut object = json!({"spec": {}});
        apply(group, version, plural, &mut object);
        assert_eq!(object, json!({"spec": {}}));
    }
}
