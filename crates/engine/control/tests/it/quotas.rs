//! Quotas say what is used of them.

use std::sync::atomic::Ordering;

use revoada_core::Role;
use serde_json::{Value, json};

use crate::world::{Running, World, member, until};

const QUOTAS: &str = "/api/v1/namespaces/tenant/resourcequotas";
const PODS: &str = "/api/v1/namespaces/tenant/pods";

async fn tenant() -> (World, Running) {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    let object = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "tenant"}});
    world.create("/api/v1/namespaces", object).await;
    until("the account of its pods", || {
        world.get("/api/v1/namespaces/tenant/serviceaccounts/default")
    })
    .await;
    (world, running)
}

async fn quota(world: &World, name: &str, hard: Value) {
    let metadata = json!({"name": name});
    let object = json!({"kind": "ResourceQuota", "apiVersion": "v1", "metadata": metadata, "spec": {"hard": hard}});
    world.create(QUOTAS, object).await;
}

async fn pod(world: &World, name: &str) {
    let resources = json!({"requests": {"cpu": "250m"}});
    let containers = json!([{"name": "c", "image": "i", "resources": resources}]);
    let metadata = json!({"name": name});
    let object = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": containers}});
    world.create(PODS, object).await;
}

async fn config_map(world: &World, name: &str) {
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}});
    world.create("/api/v1/namespaces/tenant/configmaps", object).await;
}

async fn says(world: &World, name: &str, used: Value) -> Value {
    let (path, used) = (&format!("{QUOTAS}/{name}"), &used);
    until("the usage", move || async move {
        let quota = world.get(path).await?;
        (quota["status"]["used"] == *used).then_some(quota)
    })
    .await
}

#[tokio::test]
async fn usage_follows_what_there_is() {
    let (world, running) = tenant().await;
    pod(&world, "a").await;
    let hard =
        json!({"pods": "9", "count/pods": "9", "requests.cpu": "9", "count/deployments.apps": "9", "a.b/c": "1"});
    quota(&world, "q", hard.clone()).await;
    let used = |all: &str, pods: &str, cpu: &str| json!({"count/deployments.apps": "0", "count/pods": all, "pods": pods, "requests.cpu": cpu});
    let told = says(&world, "q", used("1", "1", "250m")).await;
    assert_eq!(told["status"]["hard"], hard);
    pod(&world, "b").await;
    pod(&world, "c").await;
    says(&world, "q", used("3", "3", "750m")).await;

    // One ends, one goes, one stays.
    let ended = json!({"status": {"phase": "Succeeded"}});
    assert_eq!(world.send("PATCH", &format!("{PODS}/a/status"), ended).await.0, 200);
    says(&world, "q", used("3", "2", "500m")).await;
    let now = json!({"gracePeriodSeconds": 0});
    assert_eq!(world.send("DELETE", &format!("{PODS}/b"), now).await.0, 200);
    says(&world, "q", used("2", "1", "250m")).await;

    // What somebody claims is put right.
    let wrong = json!({"status": {"used": {"pods": "7"}}});
    assert_eq!(world.send("PATCH", &format!("{QUOTAS}/q/status"), wrong).await.0, 200);
    says(&world, "q", used("2", "1", "250m")).await;
    let fewer = json!({"spec": {"hard": {"pods": "1", "count/pods": null, "count/deployments.apps": null}}});
    assert_eq!(world.send("PATCH", &format!("{QUOTAS}/q"), fewer).await.0, 200);
    let told = says(&world, "q", json!({"pods": "1", "requests.cpu": "250m"})).await;
    assert_eq!(
        told["status"]["hard"],
        json!({"pods": "1", "requests.cpu": "9", "a.b/c": "1"})
    );
    let revision = world.settled(&running).await;
    assert_eq!(world.settled(&running).await, revision, "nothing to do writes nothing");
    running.stop().await;
}

#[tokio::test]
async fn each_quota_counts_for_itself() {
    let (world, running) = tenant().await;
    quota(&world, "maps", json!({"configmaps": "9", "count/secrets": "1"})).await;
    quota(
        &world,
        "quotas",
        json!({"resourcequotas": "5", "services": "1", "persistentvolumeclaims": "1"}),
    )
    .await;
    quota(&world, "unknown", json!({"count/nothing.example.com": "5"})).await;
    // The certificates of the API are one.
    says(&world, "maps", json!({"configmaps": "1", "count/secrets": "0"})).await;
    let of_quotas = json!({"persistentvolumeclaims": "0", "resourcequotas": "3", "services": "0"});
    says(&world, "quotas", of_quotas).await;
    for number in 0..5 {
        config_map(&world, &format!("m{number}")).await;
    }
    says(&world, "maps", json!({"configmaps": "6", "count/secrets": "0"})).await;
    assert_eq!(
        world
            .send("DELETE", "/api/v1/namespaces/tenant/configmaps/m0", Value::Null)
            .await
            .0,
        200
    );
    says(&world, "maps", json!({"configmaps": "5", "count/secrets": "0"})).await;
    let revision = world.settled(&running).await;
    assert_eq!(world.settled(&running).await, revision, "nothing to do writes nothing");
    let unknown = world.get(&format!("{QUOTAS}/unknown")).await.unwrap();
    assert_eq!(unknown["status"]["hard"], json!({"count/nothing.example.com": "5"}));
    running.stop().await;
}

#[tokio::test]
async fn a_pod_that_should_be_gone_is_held_against_nobody() {
    let (world, running) = tenant().await;
    quota(&world, "q", json!({"pods": "9", "count/pods": "9"})).await;
    pod(&world, "kept").await;
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    assert_eq!(world.send("PATCH", &format!("{PODS}/kept"), held).await.0, 200);
    says(&world, "q", json!({"count/pods": "1", "pods": "1"})).await;
    let now = json!({"gracePeriodSeconds": 0});
    assert_eq!(world.send("DELETE", &format!("{PODS}/kept"), now).await.0, 200);
    world.settled(&running).await;
    // The clock of a test stands: the pod is due, not overdue.
    says(&world, "q", json!({"count/pods": "1", "pods": "1"})).await;
    world.clock.0.fetch_add(60_000, Ordering::SeqCst);
    pod(&world, "other").await;
    says(&world, "q", json!({"count/pods": "2", "pods": "1"})).await;
    running.stop().await;
}

#[tokio::test]
async fn a_count_that_is_out_of_date_is_not_taken() {
    let (world, running) = tenant().await;
    quota(&world, "q", json!({"pods": "9"})).await;
    let counted = says(&world, "q", json!({"pods": "0"})).await;
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(world.send("PATCH", &format!("{QUOTAS}/q"), patch).await.0, 200);
    let mut late = counted;
    late["status"]["used"]["pods"] = json!("1");
    assert_eq!(world.send("PUT", &format!("{QUOTAS}/q/status"), late).await.0, 409);
    running.stop().await;
}
