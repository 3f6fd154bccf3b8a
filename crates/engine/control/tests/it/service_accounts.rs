//! Each Namespace has its default ServiceAccount.

use revoada_core::Role;
use serde_json::{Value, json};

use crate::world::{World, member, until};

#[tokio::test]
async fn each_namespace_has_a_default_account_again_and_again() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        assert!(world.get(&path).await.is_some(), "{namespace}");
    }
    let object = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "new"}});
    world.create("/api/v1/namespaces", object).await;
    let path = "/api/v1/namespaces/new/serviceaccounts/default";
    let first = until("the account", || world.get(path)).await;
    assert_eq!(world.send("DELETE", path, Value::Null).await.0, 200);
    let second = until("the account again", || world.get(path)).await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    let revision = world.settled(&running).await;
    assert_eq!(world.settled(&running).await, revision, "nothing to do writes nothing");
    running.stop().await;
}
