//! Each Namespace has the certificates of the API.

use revoada_core::Role;
use serde_json::{Value, json};

use crate::world::{ROOT_CA, World, member, until};

#[tokio::test]
async fn the_certificates_are_there_and_are_put_right() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    let object = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "new"}});
    world.create("/api/v1/namespaces", object).await;
    for namespace in ["default", "kube-system", "new"] {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt");
        let right = || {
            let (world, path) = (&world, &path);
            until("the certificates", move || async move {
                let map = world.get(path).await?;
                (map["data"] == json!({"ca.crt": ROOT_CA})).then_some(map)
            })
        };
        let first = right().await;
        let description = first["metadata"]["annotations"]["kubernetes.io/description"].as_str();
        assert!(description.unwrap().starts_with("Contains a CA bundle"));

        let patch = json!({"data": {"ca.crt": "other", "more": "x"}, "metadata": {"labels": {"a": "b"}}});
        assert_eq!(world.send("PATCH", &path, patch).await.0, 200);
        let mended = right().await;
        assert_eq!(mended["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(mended["metadata"]["uid"], first["metadata"]["uid"]);

        assert_eq!(world.send("DELETE", &path, Value::Null).await.0, 200);
        assert_ne!(right().await["metadata"]["uid"], first["metadata"]["uid"]);
    }
    let revision = world.settled(&running).await;
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "another"}});
    world.create("/api/v1/namespaces/new/configmaps", map).await;
    assert_eq!(
        world.settled(&running).await,
        revision + 1,
        "the maps of others are theirs"
    );
    running.stop().await;
}
