//! No JSON whatever makes a plugin panic, and what one adds it does not add again.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::lookup::tests::Stored;
use crate::{Gates, Operation, Request, authorization, mutate, quota, validate};

/// Resources that a plugin knows.
const RESOURCES: [(&str, &str, &str); 18] = [
    ("", "pods", ""),
    ("", "pods", "status"),
    ("", "pods", "eviction"),
    ("", "pods", "resize"),
    ("", "pods", "binding"),
    ("", "pods", "ephemeralcontainers"),
    ("", "nodes", ""),
    ("", "services", ""),
    ("", "persistentvolumeclaims", ""),
    ("", "persistentvolumeclaims", "status"),
    ("", "persistentvolumes", ""),
    ("", "serviceaccounts", "token"),
    ("scheduling.k8s.io", "priorityclasses", ""),
    ("networking.k8s.io", "ingresses", ""),
    ("certificates.k8s.io", "certificatesigningrequests", ""),
    ("certificates.k8s.io", "certificatesigningrequests", "approval"),
    ("resource.k8s.io", "resourceclaims", ""),
    ("apps", "deployments", ""),
];
/// Fields that plugins look at.
const FIELDS: &str = "metadata|spec|status|annotations|labels|name|kubernetes.io/config.mirror|containers|initContainers\
    |resources|requests|limits|cpu|storage|tolerations|volumes|projected|sources|secret|env|valueFrom|secretKeyRef\
    |ownerReferences|taints|hard|used|scopes|priority|overhead|nodeSelector|nodeName|runtimeClassName|devices|exactly\
    |boundObjectRef|audiences|type|max|default|podFixed|scheduling|finalizers|imagePullSecrets|volumeMounts";

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.-]{0,6}|1Gi|-5|1e999|Container|Always|p".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(FIELDS, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<String, Value>>())),
        ]
    })
}

/// Objects with the sections that most plugins look into.
fn any_object() -> impl Strategy<Value = Value> {
    let containers = (any_json(), any_json()).prop_map(|(one, two)| json!([one, {"resources": two}]));
    let parts = (any_json(), any_json(), any_json(), containers, any_json());
    let object = parts.prop_map(|(metadata, mut spec, status, containers, list)| {
        if let Some(fields) = spec.as_object_mut() {
            fields.insert("containers".to_owned(), containers.clone());
            fields.insert("initContainers".to_owned(), containers);
            fields.insert("volumes".to_owned(), json!([list, {"projected": {"sources": list}}]));
            fields.insert("tolerations".to_owned(), list);
        }
        json!({"metadata": metadata, "spec": spec, "status": status})
    });
    prop_oneof![1 => any_json(), 4 => object]
}

fn named(mut object: Value, name: &str, namespace: &str) -> Value {
    if !object.is_object() {
        object = json!({});
    }
    object["metadata"] = json!({"name": name, "namespace": namespace, "uid": "u"});
    object
}

proptest! {
    #[test]
    fn any_object_is_admitted_or_not(
        resource in prop::sample::select(&RESOURCES[..]),
        operation in prop::sample::select(&[Operation::Create, Operation::Update, Operation::Delete][..]),
        is_node in any::<bool>(),
        mut object in any_object(),
        old in prop::option::of(any_object()),
        other in any_object(),
    ) {
        let (group, plural, subresource) = resource;
        let groups = ["system:nodes".to_owned()];
        let request = Request {
            operation, group, version: "v1", resource: plural, subresource, namespace: "n", name: "p",
            user: if is_node { "system:node:p" } else { "jane" },
            groups: &groups, dry_run: false, gates: Gates { pod_topology_labels: true },
        };
        let of = |plural, namespace| ("", plural, named(other.clone(), "p", namespace));
        let mut quota_object = named(other.clone(), "q", "n");
        quota_object["status"] = json!({"hard": {"pods": "1", "cpu": "1", "services": 1, "count/deployments.apps": "0"}});
        quota_object["status"]["used"] = quota_object["status"]["hard"].clone();
        let stored = Stored::of(&[
            of("pods", "n"), of("nodes", ""), of("limitranges", "n"), ("", "resourcequotas", quota_object),
            ("", "serviceaccounts", named(other.clone(), "default", "n")),
            ("node.k8s.io", "runtimeclasses", named(other.clone(), "p", "")),
        ]);
        let admitted = mutate(&request, &mut object, old.as_ref(), &stored, &mut || "abcde".to_owned());
        if admitted.is_ok() {
            let once = object.clone();
            let again = mutate(&request, &mut object, old.as_ref(), &stored, &mut || "fghij".to_owned());
            if again.is_ok() && subresource.is_empty() && operation == Operation::Create {
                prop_assert_eq!(once, object.clone());
            }
        }
        let _ = validate(&request, &object, old.as_ref(), &stored);
        let _ = authorization(&request, &object, old.as_ref(), &stored);
        let _ = quota::plan(&request, &object, old.as_ref(), &stored);
        let _ = quota::used(&other, group, plural, [&object].into_iter());
        let _ = request.shown_name(&object);
    }
}
