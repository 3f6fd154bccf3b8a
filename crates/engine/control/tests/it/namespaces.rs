//! Namespaces are emptied; aggregated cluster roles are filled.

use revoada_core::Role;
use serde_json::{Value, json};

use crate::world::{World, condition, member, until};

fn config_map(name: &str, finalizers: &[&str]) -> Value {
    json!({
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "finalizers": finalizers},
        "data": {"k": "v"},
    })
}

async fn namespace(world: &World, name: &str) {
    until("the cluster's own namespaces", || {
        world.get("/api/v1/namespaces/kube-system")
    })
    .await;
    let object = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}});
    world.create("/api/v1/namespaces", object).await;
}

#[tokio::test]
async fn a_namespace_is_emptied_and_goes() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    namespace(&world, "full").await;
    let maps = "/api/v1/namespaces/full/configmaps";
    for number in 0..40 {
        world.create(maps, config_map(&format!("m{number}"), &[])).await;
    }
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "stringData": {"a": "b"}});
    world.create("/api/v1/namespaces/full/secrets", secret).await;
    let pod = json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    world.create("/api/v1/namespaces/full/pods", pod).await;
    let lease = json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"name": "l"}, "spec": {}});
    world
        .create("/apis/coordination.k8s.io/v1/namespaces/full/leases", lease)
        .await;
    world
        .create("/api/v1/namespaces/default/configmaps", config_map("other", &[]))
        .await;

    assert_eq!(
        world.send("DELETE", "/api/v1/namespaces/full", Value::Null).await.0,
        200
    );
    until("the namespace to be gone", || async {
        world.get("/api/v1/namespaces/full").await.is_none().then_some(())
    })
    .await;
    let kvs = world.api.storage().list("/registry/").unwrap().kvs;
    let left: Vec<_> = kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key))
        .filter(|k| k.contains("full"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(world.get("/api/v1/namespaces/default/configmaps/other").await.is_some());
    world.settled(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn finalizers_are_waited_for_and_told() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    namespace(&world, "held").await;
    let maps = "/api/v1/namespaces/held/configmaps";
    world.create(maps, config_map("kept", &["example.com/hold"])).await;
    world.create(maps, config_map("free", &[])).await;
    assert_eq!(
        world.send("DELETE", "/api/v1/namespaces/held", Value::Null).await.0,
        200
    );
    let told = until("the conditions", || async {
        let namespace = world.get("/api/v1/namespaces/held").await?;
        (condition(&namespace, "NamespaceFinalizersRemaining")["status"] == "True").then_some(namespace)
    })
    .await;
    assert_eq!(told["status"]["phase"], "Terminating");
    let text = "Some resources are remaining: configmaps. has 1 resource instances";
    assert_eq!(condition(&told, "NamespaceContentRemaining")["message"], text);
    assert_eq!(condition(&told, "NamespaceDeletionContentFailure")["status"], "False");
    assert_eq!(world.get(&format!("{maps}/free")).await, None);
    let revision = world.settled(&running).await;
    assert_eq!(world.settled(&running).await, revision, "waiting writes nothing");

    let patch = json!({"metadata": {"finalizers": null}});
    assert_eq!(world.send("PATCH", &format!("{maps}/kept"), patch).await.0, 200);
    until("the namespace to be gone", || async {
        world.get("/api/v1/namespaces/held").await.is_none().then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn aggregated_roles_are_filled_and_emptied() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let rule = json!({"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]});
    let role = json!({
        "kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "things:viewer", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [rule],
    });
    world.create(path, role).await;
    let has = |name: &'static str, want: bool| {
        let (world, rule) = (&world, &rule);
        until("the aggregated rules", move || async move {
            let role = world.get(&format!("{path}/{name}")).await?;
            (role["rules"].as_array().is_some_and(|rules| rules.contains(rule)) == want).then_some(())
        })
    };
    // view is itself aggregated to edit, and edit to admin.
    for name in ["view", "edit", "admin"] {
        has(name, true).await;
    }
    assert_eq!(
        world
            .send("DELETE", &format!("{path}/things:viewer"), Value::Null)
            .await
            .0,
        200
    );
    for name in ["view", "edit", "admin"] {
        has(name, false).await;
    }
    running.stop().await;
}
