//! Storage goes when nothing uses it any more.

use revoada_core::Role;
use serde_json::{Value, json};

use crate::world::{World, member, until};

#[tokio::test]
async fn a_claim_goes_with_the_last_pod_that_uses_it() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    world.create(claims, claim).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {
        "nodeName": "n1", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
    world.create(pods, pod).await;
    let path = format!("{claims}/c");
    assert_eq!(world.send("DELETE", &path, Value::Null).await.0, 200);
    world.settled(&running).await;
    let kept = world.get(&path).await.expect("the claim is in use");
    assert!(!kept["metadata"]["deletionTimestamp"].is_null(), "{kept}");

    assert_eq!(world.send("DELETE", &format!("{pods}/p"), Value::Null).await.0, 200);
    until("the claim goes", || async {
        world.get(&path).await.is_none().then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_volume_without_a_claim_goes_at_once() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    let volume = json!({"kind": "PersistentVolume", "apiVersion": "v1", "metadata": {"name": "v"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/tmp"}}});
    world.create("/api/v1/persistentvolumes", volume).await;
    let path = "/api/v1/persistentvolumes/v";
    assert_eq!(world.send("DELETE", path, Value::Null).await.0, 200);
    until("the volume goes", || async {
        world.get(path).await.is_none().then_some(())
    })
    .await;
    running.stop().await;
}
