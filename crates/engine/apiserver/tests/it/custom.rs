//! Custom resources: served as soon as their definition is established.

use serde_json::{Value, json};

use crate::harness::World;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const LAMPS: &str = "/apis/light.example.org/v1/namespaces/default/lamps";

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "lamps.light.example.org"},
        "spec": {
            "group": "light.example.org",
            "scope": "Namespaced",
            "names": {"plural": "lamps", "kind": "Lamp", "listKind": "Lampery"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "watts": {"type": "integer", "minimum": 1, "default": 5},
                        "room": {"type": "string"},
                    }},
                    "status": {"type": "object", "properties": {"lit": {"type": "integer"}}},
                }}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.watts", "statusReplicasPath": ".status.lit"}},
                "additionalPrinterColumns": [{"name": "Watts", "type": "integer", "jsonPath": ".spec.watts"}],
                "selectableFields": [{"jsonPath": ".spec.room"}],
            }],
        },
    })
}

/// Does what the controllers do: accepts the names and establishes.
async fn settle(world: &World) {
    let path = format!("{DEFINITIONS}/lamps.light.example.org");
    let (_, crd) = world.call("GET", &path, None).await;
    let claimed = engenho_crd::conditions::Claimed::of("light.example.org", [&crd]);
    let settled = engenho_crd::conditions::settle(&crd, &claimed, "2030-01-01T00:00:00Z").expect("something to do");
    let (code, answer) = world.call("PUT", &format!("{path}/status"), Some(settled)).await;
    assert_eq!(code, 200, "{answer}");
}

async fn with_lamps() -> World {
    let world = World::new().await;
    let (code, answer) = world.call("POST", DEFINITIONS, Some(definition())).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(
        answer["status"],
        json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]})
    );
    assert_eq!(world.call("GET", LAMPS, None).await.0, 404);
    settle(&world).await;
    world
}

fn lamp(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "light.example.org/v1", "kind": "Lamp", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn instances_are_created_read_and_listed() {
    let world = with_lamps().await;
    let (code, made) = world
        .call("POST", LAMPS, Some(lamp("a", json!({"room": "x", "other": 1}))))
        .await;
    assert_eq!(
        (code, &made["spec"]),
        (201, &json!({"room": "x", "watts": 5})),
        "{made}"
    );
    assert_eq!(made["metadata"]["generation"], 1);
    let (code, wrong) = world.call("POST", LAMPS, Some(lamp("b", json!({"watts": 0})))).await;
    assert_eq!(code, 422);
    assert_eq!(
        wrong["message"],
        "Lamp.light.example.org \"b\" is invalid: spec.watts: Invalid value: 0: spec.watts in body should be greater than or equal to 1"
    );
    world.call("POST", LAMPS, Some(lamp("c", json!({"room": "y"})))).await;
    let (_, list) = world.call("GET", LAMPS, None).await;
    assert_eq!(
        (&list["kind"], list["items"].as_array().map(Vec::len)),
        (&json!("Lampery"), Some(2))
    );
    let (_, list) = world
        .call("GET", &format!("{LAMPS}?fieldSelector=spec.room%3Dy"), None)
        .await;
    assert_eq!(
        (
            list["items"][0]["metadata"]["name"].as_str(),
            list["items"].as_array().map(Vec::len)
        ),
        (Some("c"), Some(1))
    );
    let (code, refused) = world
        .call("GET", &format!("{LAMPS}?fieldSelector=spec.watts%3D1"), None)
        .await;
    assert_eq!(
        (code, &refused["message"]),
        (400, &json!("field label not supported: spec.watts"))
    );
    let (_, resources) = world.call("GET", "/apis/light.example.org/v1", None).await;
    assert_eq!(
        resources["resources"][0]["verbs"],
        json!([
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "create",
            "update",
            "watch"
        ])
    );
}

#[tokio::test]
async fn status_and_scale_are_apart() {
    let world = with_lamps().await;
    let mut first = lamp("a", json!({}));
    first["status"] = json!({"lit": 1});
    let (_, made) = world.call("POST", LAMPS, Some(first)).await;
    assert!(made.get("status").is_none());
    let path = format!("{LAMPS}/a");
    let merge = "application/merge-patch+json";
    let (_, patched) = world
        .call_typed(
            "PATCH",
            &format!("{path}/status"),
            merge,
            Some(json!({"status": {"lit": 2}, "spec": {"watts": 9}})),
        )
        .await;
    assert_eq!(
        (&patched["status"], &patched["spec"]["watts"]),
        (&json!({"lit": 2}), &json!(5))
    );
    assert_eq!(patched["metadata"]["generation"], 1);
    let (_, scale) = world.call("GET", &format!("{path}/scale"), None).await;
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 5}), &json!({"replicas": 2}))
    );
    let (_, scale) = world
        .call_typed(
            "PATCH",
            &format!("{path}/scale"),
            merge,
            Some(json!({"spec": {"replicas": 7}})),
        )
        .await;
    assert_eq!(scale["spec"], json!({"replicas": 7}));
    let (code, wrong) = world
        .call_typed(
            "PATCH",
            &format!("{path}/scale"),
            merge,
            Some(json!({"spec": {"replicas": -1}})),
        )
        .await;
    assert_eq!(code, 422, "{wrong}");
    let (code, wrong) = world
        .call_typed(
            "PATCH",
            &format!("{path}/status"),
            merge,
            Some(json!({"status": {"lit": "x"}})),
        )
        .await;
    assert_eq!(code, 422, "{wrong}");
    let (_, read) = world.call("GET", &path, None).await;
    assert_eq!(
        (&read["spec"]["watts"], &read["metadata"]["generation"]),
        (&json!(7), &json!(2))
    );
}

#[tokio::test]
async fn a_deleted_definition_waits_for_its_instances() {
    let world = with_lamps().await;
    let path = format!("{DEFINITIONS}/lamps.light.example.org");
    let (code, marked) = world.call("DELETE", &path, None).await;
    assert_eq!(code, 200, "{marked}");
    let (_, read) = world.call("GET", &path, None).await;
    assert_eq!(read["metadata"]["finalizers"], json!([engenho_crd::CLEANUP_FINALIZER]));
    assert_eq!(read["status"]["conditions"][2]["reason"], "InstanceDeletionPending");
    let (code, refused) = world.call("POST", LAMPS, Some(lamp("late", json!({})))).await;
    assert_eq!(code, 403, "{refused}");
}
