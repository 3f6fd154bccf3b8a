//! Nothing panics, whatever the objects are.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{create, update, update_subresource};

const KINDS: [(&str, &str); 22] = [
    ("", "configmaps"),
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "namespaces"),
    ("", "nodes"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("", "resourcequotas"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("apps", "controllerrevisions"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
];
const SUBRESOURCES: [&str; 5] = ["status", "binding", "resize", "ephemeralcontainers", "finalize"];

fn every_rule(new: &Value, old: &Value) {
    for (group, plural) in KINDS {
        for error in create(group, "v1", plural, new)
            .into_iter()
            .chain(update(group, "v1", plural, new, old))
        {
            assert!(!error.field.is_empty() && !error.message.is_empty());
        }
        for subresource in SUBRESOURCES {
            update_subresource(group, "v1", plural, subresource, new, old);
        }
    }
}

/// An object that has most fields.
fn full() -> Value {
    let selector =
        json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]});
    let container = json!({
        "name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
        "ports": [{"name": "http", "containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
        "envFrom": [{"prefix": "P", "secretRef": {"name": "s"}}],
        "resources": {"limits": {"cpu": "1", "hugepages-2Mi": "4Mi"}, "requests": {"cpu": "500m"}, "claims": [{"name": "r"}]},
        "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
        "volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "x"}],
        "volumeDevices": [{"name": "p", "devicePath": "/d"}],
        "livenessProbe": {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "successThreshold": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        "securityContext": {"runAsUser": 1, "privileged": true, "seccompProfile": {"type": "Localhost"}},
    });
    let pod = json!({
        "containers": [container], "initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always"}],
        "ephemeralContainers": [container], "restartPolicy": "Always", "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a_b."], "options": [{"name": "n"}]},
        "terminationGracePeriodSeconds": 30, "nodeSelector": {"a": "b"}, "overhead": {"cpu": "1"},
        "volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}]}},
            {"name": "p", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "i", "iscsi": {"iqn": "iqn.2000-01.a:b"}}],
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": selector, "topologyKey": "k", "matchLabelKeys": ["c"]}]},
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Gt", "values": ["1"]}]}]}}},
        "tolerations": [{"key": "k", "operator": "Exists"}], "schedulingGates": [{"name": "g"}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["a"], "labelSelector": selector}],
        "securityContext": {"sysctls": [{"name": "net.a", "value": "b"}], "windowsOptions": {"runAsUserName": "a\\b"}},
        "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["h"]}], "resources": {"requests": {"cpu": "1"}},
        "resourceClaims": [{"name": "r", "resourceClaimName": "x"}], "os": {"name": "windows"},
    });
    let template = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"container.apparmor.security.beta.kubernetes.io/c": "x"}}, "spec": pod});
    let mut spec = pod.clone();
    let more = json!({
        "selector": selector, "template": template, "replicas": 1, "schedule": "*/5 * * * *", "timeZone": "UTC",
        "jobTemplate": {"spec": {"template": template}}, "podFailurePolicy": {"rules": [{"action": "Count", "onExitCodes": {"operator": "In", "values": [1]}}]},
        "successPolicy": {"rules": [{"succeededIndexes": "1,2-3"}]}, "completions": 5, "completionMode": "Indexed",
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "1%"}},
        "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        "ports": [{"name": "p", "port": 80, "targetPort": 80, "protocol": "TCP", "nodePort": 3}], "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "type": "LoadBalancer", "externalIPs": ["127.0.0.1"],
        "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/"}, "csi": {"driver": "d", "nodePublishSecretRef": {"name": "n"}},
        "limits": [{"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "0"}, "maxLimitRequestRatio": {"cpu": "2"}}],
        "hard": {"pods": "1"}, "scopes": ["BestEffort"], "scopeSelector": {"matchExpressions": [{"scopeName": "Terminating", "operator": "Exists"}]},
        "taints": [{"key": "k", "effect": "NoSchedule"}], "podCIDRs": ["10.0.0.0/8", "fd00::/64"], "finalizers": ["kubernetes"],
    });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    json!({
        "metadata": {"name": "n", "namespace": "ns", "annotations": {"controller.kubernetes.io/pod-deletion-cost": "1"}},
        "spec": spec, "template": template, "data": {"k": "dg=="}, "type": "kubernetes.io/dockercfg", "revision": 1,
        "subsets": [{"addresses": [{"ip": "::1"}], "ports": [{"port": 1}]}], "target": {"name": "n"},
        "status": {"conditions": [{"type": "Complete", "status": "True"}], "podIPs": [{"ip": "1.1.1.1"}, {"ip": "x"}],
            "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0}}, "allocatedResourcesStatus": [{"name": "claim:r"}]}],
            "loadBalancer": {"ingress": [{"ip": "1.1.1.1", "hostname": "h"}]}, "completedIndexes": "1-2", "failedIndexes": "2"},
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9:/.%*~\\\\é-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Puts `value` at the end of a walk through the object that `steps` decide.
fn replace(object: &mut Value, steps: &[usize], value: Value) {
    let Some((step, rest)) = steps.split_first() else {
        *object = value;
        return;
    };
    let child = match object {
        Value::Object(map) if !map.is_empty() => {
            let at = step % map.len();
            map.values_mut().nth(at)
        }
        Value::Array(items) if !items.is_empty() => {
            let at = step % items.len();
            items.get_mut(at)
        }
        _ => None,
    };
    match child {
        Some(child) => replace(child, rest, value),
        None => *object = value,
    }
}

#[test]
fn a_full_object_passes_through_every_rule() {
    every_rule(&full(), &full());
    every_rule(&full(), &json!({}));
    every_rule(&json!({}), &full());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_panics_on_any_json(new in any_json(), old in any_json()) {
        every_rule(&new, &old);
    }

    #[test]
    fn nothing_panics_on_fields_of_any_type(
        changes in proptest::collection::vec((proptest::collection::vec(any::<usize>(), 1..9), any_json()), 1..6),
        of_new in any::<bool>(),
    ) {
        let (mut new, mut old) = (full(), full());
        for (steps, value) in changes {
            replace(if of_new { &mut new } else { &mut old }, &steps, value);
        }
        every_rule(&new, &old);
    }
}
