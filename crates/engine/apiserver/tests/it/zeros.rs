//! Fields with zero values: left out, null or written, as typed structures of the API do it.

use serde_json::{Value, json};

use crate::harness::World;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const EVENTS: &str = "/api/v1/namespaces/default/events";

fn deployment() -> Value {
    let container = json!({"name": "c", "image": "i", "tty": false, "workingDir": "", "args": [],
        "ports": [{"containerPort": 80, "hostPort": 0, "protocol": ""}], "env": [{"name": "E", "value": ""}]});
    let template = json!({"metadata": {"labels": {"a": "b"}, "annotations": {}},
        "spec": {"containers": [container], "hostNetwork": false, "restartPolicy": ""}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "generateName": ""},
        "spec": {"replicas": 0, "paused": false, "minReadySeconds": 0,
            "selector": {"matchLabels": {"a": "b"}, "matchExpressions": []}, "template": template}})
}

fn owned(object: &Value) -> &Value {
    &object["metadata"]["managedFields"][0]["fieldsV1"]
}

#[tokio::test]
async fn what_is_zero_and_optional_is_left_out() {
    let w = World::new().await;
    let (code, made) = w.call("POST", DEPLOYMENTS, Some(deployment())).await;
    assert_eq!(code, 201, "{made}");
    let spec = &made["spec"];
    assert_eq!(spec["replicas"], 0);
    for field in ["paused", "minReadySeconds"] {
        assert!(spec.get(field).is_none(), "{field}");
        assert!(owned(&made)["f:spec"].get(format!("f:{field}")).is_none(), "{field}");
    }
    assert_eq!(spec["selector"], json!({"matchLabels": {"a": "b"}}));
    let container = &spec["template"]["spec"]["containers"][0];
    assert_eq!(container["env"], json!([{"name": "E"}]));
    assert_eq!(container["ports"], json!([{"containerPort": 80, "protocol": "TCP"}]));
    assert!(container.get("tty").is_none() && container.get("args").is_none());
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");

    // The same again, with its zero values, is no change; nor is a patch that adds more of them.
    let path = format!("{DEPLOYMENTS}/d");
    let (code, same) = w.call("PUT", &path, Some(deployment())).await;
    assert_eq!((code, &same), (200, &made));
    let patch = json!({"spec": {"paused": false, "template": {"spec": {"hostPID": false, "tolerations": []}}}});
    let kind = "application/merge-patch+json";
    let (code, same) = w.call_typed("PATCH", &path, kind, Some(patch)).await;
    assert_eq!((code, &same), (200, &made));
}

#[tokio::test]
async fn what_is_never_left_out_is_there() {
    let w = World::new().await;
    let role = |rules: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
            "rules": rules})
    };
    let (code, made) = w.call("POST", ROLES, Some(role(json!([])))).await;
    assert_eq!((code, &made["rules"]), (201, &Value::Null));
    assert!(made.as_object().is_some_and(|role| role.contains_key("rules")));
    // An empty list was given, where none is there to begin with.
    assert_eq!(owned(&made), &json!({"f:rules": {}}));
    let (code, same) = w.call("PUT", &format!("{ROLES}/r"), Some(role(Value::Null))).await;
    let revision = |object: &Value| object["metadata"]["resourceVersion"].clone();
    assert_eq!((code, &revision(&same)), (200, &revision(&made)));

    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Tried",
        "reportingInstance": "", "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}});
    let (code, event) = w.call("POST", EVENTS, Some(event)).await;
    assert_eq!(code, 201, "{event}");
    assert_eq!(
        (&event["reportingComponent"], &event["reportingInstance"]),
        (&json!(""), &json!(""))
    );
    assert_eq!(owned(&event), &json!({"f:involvedObject": {}, "f:reason": {}}));
}
