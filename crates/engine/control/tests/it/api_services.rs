//! APIs are registered, and it is known which of them are available.

use revoada_core::Role;
use serde_json::{Value, json};

use crate::world::{ROOT_CA, World, condition, member, until};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn available(object: &Value) -> (Value, Value) {
    let condition = condition(object, "Available");
    (condition["status"].clone(), condition["reason"].clone())
}

#[tokio::test]
async fn apis_of_custom_resources_come_and_go_and_others_are_judged() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    let map = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let map = world.get(map).await.expect("what aggregated servers need");
    assert_eq!(map["data"]["client-ca-file"], ROOT_CA);
    assert_eq!(map["data"]["requestheader-client-ca-file"], "PROXY");
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "lamps.light.example.org"},
        "spec": {"group": "light.example.org", "scope": "Namespaced", "names": {"plural": "lamps", "kind": "Lamp"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    world.create(DEFINITIONS, definition).await;
    let path = format!("{SERVICES}/v1.light.example.org");
    let (world, path) = (&world, &path);
    let made = until("the API of the definition", move || async move {
        let made = world.get(path).await?;
        (available(&made) == (json!("True"), json!("Local"))).then_some(made)
    })
    .await;
    assert_eq!(made["spec"]["groupPriorityMinimum"], 1000);
    let definition = format!("{DEFINITIONS}/lamps.light.example.org");
    assert_eq!(world.send("DELETE", &definition, Value::Null).await.0, 200);
    until("its end", move || async move {
        world.get(path).await.is_none().then_some(())
    })
    .await;
    let elsewhere = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.pets.example.org"},
        "spec": {"group": "pets.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 15,
            "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "pets", "port": 443}}});
    world.create(SERVICES, elsewhere).await;
    let path = &format!("{SERVICES}/v1.pets.example.org");
    let says = |reason: &'static str| {
        until(reason, move || async move {
            let judged = world.get(path).await?;
            (available(&judged) == (json!("False"), json!(reason))).then_some(judged)
        })
    };
    says("ServiceNotFound").await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pets"},
        "spec": {"ports": [{"port": 443}]}});
    world.create("/api/v1/namespaces/default/services", service).await;
    let judged = says("EndpointsNotFound").await;
    let message = "cannot find endpointslices for service/pets in \"default\"";
    assert_eq!(condition(&judged, "Available")["message"], message);
    world.settled(&running).await;
    running.stop().await;
}
