//! Flow schemas tell whether their level is there, and what every cluster has comes back.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::world::{World, condition, until};

const FLOW: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

#[tokio::test]
async fn schemas_tell_whether_they_dangle() {
    let world = World::new(Vec::new());
    let running = world.start(1);
    world.settled(&running).await;
    let schema = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "mine"},
        "spec": {"priorityLevelConfiguration": {"name": "mine"}},
    });
    world.create(&format!("{FLOW}/flowschemas"), schema).await;
    let dangling = |wanted: &'static str| {
        let world = &world;
        async move {
            let told = condition(&world.get(&format!("{FLOW}/flowschemas/mine")).await?, "Dangling");
            (told["status"] == wanted).then_some(told)
        }
    };
    let told = until("the missing level to be told", || dangling("True")).await;
    assert_eq!(told["reason"], "NotFound");
    let level = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "mine"},
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}},
    });
    world
        .create(&format!("{FLOW}/prioritylevelconfigurations"), level)
        .await;
    until("the level to be found", || dangling("False")).await;
    // Nothing is written once all is told.
    let revision = world.settled(&running).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(world.store.store.revision(), revision);
    running.stop().await;
}

#[tokio::test]
async fn what_every_cluster_has_comes_back() {
    let world = World::new(Vec::new());
    let running = world.start(1);
    world.settled(&running).await;
    world.clock.0.fetch_add(61_000, Ordering::SeqCst);
    let path = format!("{FLOW}/flowschemas/catch-all");
    assert_eq!(world.send("DELETE", &path, Value::Null).await.0, 200);
    let made = until("the schema to be made again", || world.get(&path)).await;
    assert_eq!(made["spec"]["matchingPrecedence"], 10_000);
    running.stop().await;
}
