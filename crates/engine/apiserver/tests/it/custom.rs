//! Custom resources: served as soon as their definition is established.

use serde_json::{Value, json};

use crate::harness::{World, request};

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
    assert_eq!(list["metadata"]["continue"], "");
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

/// A definition with two versions and rules.
async fn with_rules() -> World {
    let world = World::new().await;
    let mut crd = definition();
    let first = &mut crd["spec"]["versions"][0];
    first["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = json!([
        {"rule": "self.watts < 100", "messageExpression": "self.watts > 999 ? 'far too bright' : 'too bright'", "fieldPath": ".watts"},
        {"rule": "!has(oldSelf.room) || has(self.room) && self.room == oldSelf.room", "message": "lamps stay", "reason": "FieldValueForbidden"},
    ]);
    let mut second = first.clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    crd["spec"]["versions"] = json!([crd["spec"]["versions"][0], second]);
    let (code, answer) = world.call("POST", DEFINITIONS, Some(crd)).await;
    assert_eq!(code, 201, "{answer}");
    settle(&world).await;
    world
}

#[tokio::test]
async fn rules_are_kept() {
    let world = with_rules().await;
    let (code, wrong) = world.call("POST", LAMPS, Some(lamp("a", json!({"watts": 100})))).await;
    assert_eq!(
        (code, &wrong["message"]),
        (
            422,
            &json!("Lamp.light.example.org \"a\" is invalid: spec.watts: Invalid value: \"object\": too bright")
        )
    );
    let (code, _) = world.call("POST", LAMPS, Some(lamp("a", json!({"room": "x"})))).await;
    assert_eq!(code, 201);
    let merge = "application/merge-patch+json";
    let path = format!("{LAMPS}/a");
    let (code, wrong) = world
        .call_typed("PATCH", &path, merge, Some(json!({"spec": {"room": "y"}})))
        .await;
    assert_eq!(
        (code, &wrong["details"]["causes"][0]["message"]),
        (422, &json!("Forbidden: lamps stay"))
    );
    // The definition becomes stricter: what is there may stay, and is warned of.
    let crd = format!("{DEFINITIONS}/lamps.light.example.org");
    let (_, mut stricter) = world.call("GET", &crd, None).await;
    for version in stricter["spec"]["versions"].as_array_mut().expect("versions") {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
            json!([{"rule": "self.room != 'x'", "message": "not there"}]);
    }
    let (code, answer) = world.call("PUT", &crd, Some(stricter)).await;
    assert_eq!(code, 200, "{answer}");
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let answer = world.send(request("PATCH", &path, merge, Some(labels))).await;
    assert_eq!(answer.status(), 200);
    let warning = answer
        .headers()
        .get("warning")
        .and_then(|warning| warning.to_str().ok());
    assert_eq!(
        warning,
        Some("299 - \"spec: Invalid value: \\\"object\\\": not there\"")
    );
    let (code, _) = world
        .call_typed("PATCH", &path, merge, Some(json!({"spec": {"watts": 7}})))
        .await;
    assert_eq!(code, 422);
    let (code, wrong) = world
        .call(
            "POST",
            DEFINITIONS,
            Some({
                let mut bad = definition();
                bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
                    json!([{"rule": "self.x"}]);
                bad
            }),
        )
        .await;
    assert_eq!(code, 422, "{wrong}");
}

#[tokio::test]
async fn owners_in_other_versions_are_kept() {
    let world = with_rules().await;
    world.call("POST", LAMPS, Some(lamp("a", json!({"room": "x"})))).await;
    let second = format!("{}/a?fieldManager=other", LAMPS.replace("/v1/", "/v2/"));
    let mut config = lamp("a", json!({"watts": 8}));
    config["apiVersion"] = json!("light.example.org/v2");
    let apply = "application/apply-patch+yaml";
    let (code, conflict) = world.call_typed("PATCH", &second, apply, Some(config.clone())).await;
    assert_eq!(code, 409, "{conflict}");
    let (code, applied) = world
        .call_typed("PATCH", &format!("{second}&force=true"), apply, Some(config))
        .await;
    assert_eq!(code, 200, "{applied}");
    let owners: Vec<_> = applied["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| (entry["apiVersion"].clone(), entry["fieldsV1"]["f:spec"].clone()))
        .collect();
    assert_eq!(
        owners,
        [
            (json!("light.example.org/v2"), json!({"f:watts": {}})),
            (json!("light.example.org/v1"), json!({".": {}, "f:room": {}})),
        ]
    );
}

#[tokio::test]
async fn documents_know_custom_kinds() {
    let world = World::new().await;
    let path = "/openapi/v3/apis/light.example.org/v1";
    assert_eq!(world.call("GET", path, None).await.0, 404);
    let (_, before) = world.call("GET", "/openapi/v3", None).await;
    world.call("POST", DEFINITIONS, Some(definition())).await;
    settle(&world).await;
    let (_, index) = world.call("GET", "/openapi/v3", None).await;
    assert_eq!(index["paths"]["api/v1"], before["paths"]["api/v1"]);
    let url = index["paths"]["apis/light.example.org/v1"]["serverRelativeURL"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let (code, document) = world.call("GET", &url, None).await;
    assert_eq!(code, 200);
    let lamp = &document["components"]["schemas"]["org.example.light.v1.Lamp"];
    assert_eq!(
        lamp["properties"]["spec"]["properties"]["watts"],
        json!({"type": "integer", "minimum": 1, "default": 5})
    );
    assert_eq!(
        lamp["x-kubernetes-selectable-fields"],
        json!([{"fieldPath": "spec.room"}])
    );
    assert!(document["components"]["schemas"]["org.example.light.v1.Lampery"].is_object());
    let (_, swagger) = world.call("GET", "/openapi/v2", None).await;
    assert!(swagger["definitions"]["org.example.light.v1.Lamp"]["properties"]["spec"].is_object());
    let crd = format!("{DEFINITIONS}/lamps.light.example.org");
    let merge = "application/merge-patch+json";
    let (_, _) = world
        .call_typed(
            "PATCH",
            &crd,
            merge,
            Some(json!({"spec": {"names": {"shortNames": ["lmp"]}}})),
        )
        .await;
    let mut served = definition()["spec"]["versions"].clone();
    served[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["watts"]["maximum"] = json!(50);
    world
        .call_typed("PATCH", &crd, merge, Some(json!({"spec": {"versions": served}})))
        .await;
    let (_, index) = world.call("GET", "/openapi/v3", None).await;
    assert_ne!(
        index["paths"]["apis/light.example.org/v1"]["serverRelativeURL"],
        url.as_str()
    );
}

#[tokio::test]
async fn what_is_not_served_is_told_as_the_handler_tells_it() {
    let world = with_lamps().await;
    let (code, answer) = world.call("GET", "/apis/light.example.org/v1/lamps/a", None).await;
    assert_eq!((code, &answer), (404, &json!("404 page not found\n")));
    assert_eq!(
        world
            .call("POST", "/apis/light.example.org/v1/lamps", Some(lamp("a", json!({}))))
            .await,
        (404, json!("404 page not found\n"))
    );
    assert_eq!(
        world.call("GET", "/apis/light.example.org/v9/lamps", None).await,
        (404, json!("404 page not found\n"))
    );
    assert_eq!(
        world.call("GET", "/apis/nowhere.example.org/v1/things", None).await,
        (404, json!("404 page not found\n"))
    );
    let (code, answer) = world.call("GET", "/apis/apps/v1/things", None).await;
    assert_eq!((code, &answer["reason"]), (404, &json!("NotFound")));
    let (code, answer) = world.call("GET", &format!("{LAMPS}/a/parts"), None).await;
    assert_eq!(
        (code, &answer["message"]),
        (404, &json!("lamps.light.example.org \"a\" not found"))
    );
    let (code, answer) = world
        .call("POST", &format!("{LAMPS}/a/status"), Some(lamp("a", json!({}))))
        .await;
    assert_eq!(
        (code, &answer["message"]),
        (
            405,
            &json!("create is not supported on resources of kind \"lamps.light.example.org\"")
        )
    );
    let (code, answer) = world.call("PUT", LAMPS, Some(lamp("a", json!({})))).await;
    assert_eq!((code, &answer["message"]), (400, &json!("name must be provided")));
    world.call("POST", LAMPS, Some(lamp("a", json!({})))).await;
    let (code, gone) = world.call("DELETE", LAMPS, None).await;
    assert_eq!(
        (code, &gone["kind"], &gone["items"][0]["kind"]),
        (200, &json!("Lampery"), &json!("Lamp"))
    );
}

#[tokio::test]
async fn watches_end_when_the_definition_changes() {
    use http_body_util::BodyExt;
    let world = with_lamps().await;
    let answer = world
        .send(request("GET", &format!("{LAMPS}?watch=1"), "application/json", None))
        .await;
    assert_eq!(answer.status(), 200);
    world.call("POST", LAMPS, Some(lamp("a", json!({})))).await;
    let crd = format!("{DEFINITIONS}/lamps.light.example.org");
    let merge = "application/merge-patch+json";
    // Neither labels nor conditions say what instances are like.
    world
        .call_typed("PATCH", &crd, merge, Some(json!({"metadata": {"labels": {"a": "b"}}})))
        .await;
    world.call("POST", LAMPS, Some(lamp("b", json!({})))).await;
    let mut versions = definition()["spec"]["versions"].clone();
    versions[0]["deprecated"] = json!(true);
    world
        .call_typed("PATCH", &crd, merge, Some(json!({"spec": {"versions": versions}})))
        .await;
    let rest = tokio::time::timeout(std::time::Duration::from_secs(10), answer.into_body().collect()).await;
    let lines = rest.expect("an end").expect("a body").to_bytes();
    assert_eq!(String::from_utf8_lossy(&lines).lines().count(), 2);
    let answer = world.send(request("GET", LAMPS, "application/json", None)).await;
    let warning = answer
        .headers()
        .get("warning")
        .and_then(|warning| warning.to_str().ok());
    assert_eq!(warning, Some("299 - \"light.example.org/v1 Lamp is deprecated\""));
}

#[tokio::test]
async fn bodies_say_what_they_are() {
    let world = with_lamps().await;
    let refused = |body: Value| {
        let world = &world;
        async move {
            let (code, answer) = world.call("POST", LAMPS, Some(body)).await;
            (code, answer["message"].as_str().unwrap_or_default().to_owned())
        }
    };
    assert_eq!(
        refused(json!({"apiVersion": "light.example.org/v1", "metadata": {"name": "a"}})).await,
        (
            400,
            "Object 'Kind' is missing in 'object has no kind field '".to_owned()
        )
    );
    assert_eq!(
        refused(json!({"kind": "Lamp", "apiVersion": "light.example.org/v9", "metadata": {"name": "a"}})).await,
        (
            400,
            "the API version in the data (light.example.org/v9) does not match the expected API version (light.example.org/v1)".to_owned()
        )
    );
    assert_eq!(
        refused(json!({"kind": "Candle", "apiVersion": "light.example.org/v1", "metadata": {"name": "a"}})).await,
        (
            422,
            "Candle.light.example.org \"a\" is invalid: kind: Invalid value: \"Candle\": must be Lamp".to_owned()
        )
    );
}
