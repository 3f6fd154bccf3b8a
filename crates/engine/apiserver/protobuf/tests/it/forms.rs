//! Forms that the vectors don't show: zeros, custom resource definitions, lists, watch frames.

use engenho_protobuf::{DecodeError, EncodeError, decode, decode_watch_event, encode, encode_watch_event, knows};
use serde_json::{Value, json};

fn round(value: &Value) -> Value {
    decode(&encode(value).unwrap(), None).unwrap()
}

#[test]
fn zeros_are_written_as_upstream_writes_them() {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let metadata = [
        b"\x0a\x01a".as_slice(),                       // name
        b"\x12\0\x1a\0\x22\0\x2a\0\x32\0\x38\0\x42\0", // six empty texts and numbers, and a time that is not set
    ]
    .concat();
    let want = [
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap".as_slice(),
        &[0x12, 27, 0x0a, 17],
        &metadata,
        b"\x12\x06\x0a\x01k\x12\x01v", // data
        b"\x1a\0\x22\0",
    ]
    .concat();
    assert_eq!(encode(&map).unwrap(), want);
    assert_eq!(round(&map), map);
}

#[test]
fn a_deployment_keeps_the_difference_of_absent_and_zero() {
    let value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "generation": 3},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "c", "image": "i",
                        "resources": {"limits": {"cpu": "100m"}},
                        "env": [{"name": "E"}],
                        "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": -1}
                    }],
                    "volumes": [{"name": "v", "emptyDir": {}}]
                }
            }
        },
        "status": {}
    });
    assert_eq!(round(&value), value);
}

#[test]
fn a_service_without_target_port_has_none_after_decoding() {
    let value = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}]}, "status": {"loadBalancer": {}}
    });
    assert_eq!(round(&value), value);
}

#[test]
fn schemas_of_custom_resource_definitions_keep_their_forms() {
    let schema = json!({
        "type": "object",
        "$schema": "s",
        "x-kubernetes-preserve-unknown-fields": false,
        "x-kubernetes-validations": [{"rule": "self.a > 1"}],
        "default": {"z": [1, 2.5, "x"], "a": null},
        "maximum": 1.5,
        "minimum": -3,
        "enum": ["a", 1, true],
        "items": {"type": "string"},
        "additionalProperties": true,
        "properties": {
            "b": {"additionalItems": false, "items": [{"type": "integer"}, {"type": "string"}]},
            "a": {"additionalProperties": {"type": "string"}}
        },
        "dependencies": {"d": ["x", "y"], "e": {"type": "string"}}
    });
    let value = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com", "creationTimestamp": "2026-02-03T04:05:06Z"},
        "spec": {
            "group": "example.com",
            "names": {"plural": "widgets", "kind": "Widget"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": schema}}]
        },
        "status": {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]}
    });
    let mut want = value.clone();
    want["status"].as_object_mut().unwrap().remove("conditions");
    assert_eq!(round(&value), want);
}

#[test]
fn lists_statuses_options_and_metadata_have_a_form() {
    for value in [
        json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "7", "continue": "x"},
            "items": [{"metadata": {"name": "a"}, "data": {"k": "AAEC", "e": ""}, "type": "Opaque"}]}),
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "reason": "NotFound",
            "code": 404, "details": {"name": "x", "kind": "pods", "causes": [{"field": "a"}]}}),
        json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": "u"}}),
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {},
            "items": [{"metadata": {"name": "a"}}]}),
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}, "status": {"allowed": true}}),
        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"apiVersion": "example.com/v1", "kind": "W"}]}),
    ] {
        assert_eq!(round(&value), value);
    }
}

#[test]
fn objects_in_a_raw_extension_are_read_from_their_envelope() {
    let pod = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "spec": {}, "status": {}});
    let frame = encode_watch_event("ADDED", &pod).unwrap();
    assert_eq!(decode_watch_event(&frame[..frame.len() - 1]), Ok(None));
    let twice = [frame.clone(), frame.clone()].concat();
    assert_eq!(
        decode_watch_event(&twice),
        Ok(Some(("ADDED".to_owned(), pod, frame.len())))
    );
}

#[test]
fn what_has_no_form_is_refused() {
    let refused = |value: Value| encode(&value).unwrap_err().to_string();
    assert!(!knows("example.com/v1", "Widget"));
    assert!(refused(json!({"apiVersion": "example.com/v1", "kind": "Widget"})).contains("Widget"));
    assert_eq!(encode(&json!({})), Err(EncodeError::NoKind));
    let pod = |containers: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}});
    assert_eq!(refused(pod(json!(7))), "spec.containers: expected a list, found 7");
    assert_eq!(
        refused(pod(json!([{"name": {}}]))),
        "spec.containers.0.name: expected text, found {}"
    );
    assert_eq!(decode(b"{}", None), Err(DecodeError::NoMagic));
    assert_eq!(decode(b"k8s\0", None), Err(DecodeError::NoKind));
    assert_eq!(
        decode(b"k8s\0", Some(("v1", "Namespace"))),
        Ok(json!({"apiVersion": "v1", "kind": "Namespace"}))
    );
}
