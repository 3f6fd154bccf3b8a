//! Nodes follow the members.

use std::sync::atomic::Ordering;

use revoada_core::Role;
use serde_json::{Value, json};

use crate::world::{World, condition, member, until};

fn taints(node: &Value) -> Vec<String> {
    let list = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|t| format!("{}:{}", t["key"].as_str().unwrap(), t["effect"].as_str().unwrap()))
        .collect()
}

async fn ready(world: &World, name: &str, status: &str, tainted: usize) -> Value {
    until(&format!("{name} to be {status}"), || async {
        let node = world.node(name).await?;
        let unreachable = taints(&node).iter().filter(|t| t.contains("unreachable")).count();
        (condition(&node, "Ready")["status"] == status && unreachable == tainted).then_some(node)
    })
    .await
}

#[tokio::test]
async fn a_node_lives_dies_returns_and_leaves() {
    let world = World::new(vec![
        member(1, Role::Voter),
        member(2, Role::Worker),
        member(3, Role::Witness),
    ]);
    let running = world.start(1);
    let node = ready(&world, "n2", "True", 0).await;
    assert_eq!(node["spec"]["podCIDR"], "10.244.2.0/24");
    assert_eq!(node["metadata"]["labels"]["engenho.io/role"], "worker");
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.34.0+engenho");
    assert_eq!(taints(&node), ["engenho.io/no-runtime:NoSchedule"]);
    assert_eq!(world.node("n3").await, None);

    world.clock.0.fetch_add(60_000, Ordering::SeqCst);
    world.members.change(|nodes| nodes[1].is_alive = false);
    let node = ready(&world, "n2", "Unknown", 2).await;
    assert_eq!(condition(&node, "Ready")["reason"], "NodeStatusUnknown");
    assert_eq!(condition(&node, "Ready")["lastTransitionTime"], "2023-11-14T22:14:20Z");
    assert_eq!(condition(&world.node("n1").await.unwrap(), "Ready")["status"], "True");

    world.members.change(|nodes| nodes[1].is_alive = true);
    ready(&world, "n2", "True", 0).await;

    world
        .create(
            "/api/v1/nodes",
            json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "foreign"}}),
        )
        .await;
    world.members.change(|nodes| drop(nodes.remove(1)));
    until("n2 to be gone", || async {
        world.node("n2").await.is_none().then_some(())
    })
    .await;
    world.settled(&running).await;
    assert!(world.node("foreign").await.is_some() && world.node("n1").await.is_some());
    running.stop().await;
}

#[tokio::test]
async fn labels_follow_the_role_and_users_keep_theirs() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    ready(&world, "n1", "True", 0).await;
    let patch = json!({
        "metadata": {"labels": {"mine": "yes", "engenho.io/role": "king"}, "annotations": {"mine": "too"}},
        "spec": {
            "unschedulable": true,
            "taints": [{"key": "mine", "effect": "NoExecute"}],
        },
    });
    assert_eq!(world.send("PATCH", "/api/v1/nodes/n1", patch).await.0, 200);
    let role = |role: &'static str, control_plane: bool| {
        let world = &world;
        until("the labels to follow", move || async move {
            let node = world.node("n1").await?;
            let labels = &node["metadata"]["labels"];
            let is_plane = labels["node-role.kubernetes.io/control-plane"] == "";
            let is_tainted = taints(&node).len() == 3;
            (labels["engenho.io/role"] == role && is_plane == control_plane && is_tainted).then_some(node)
        })
    };
    role("voter", true).await;
    for (to, name, is_plane) in [(Role::Worker, "worker", false), (Role::Standby, "standby", true)] {
        world.members.change(|nodes| nodes[0].role = to);
        let node = role(name, is_plane).await;
        let labels = &node["metadata"]["labels"];
        assert_eq!((&labels["mine"], &labels["disk"]), (&json!("yes"), &json!("ssd")));
        assert_eq!(node["metadata"]["annotations"]["mine"], "too");
        let expected = [
            "mine:NoExecute",
            "node.kubernetes.io/unschedulable:NoSchedule",
            "engenho.io/no-runtime:NoSchedule",
        ];
        let mut have = taints(&node);
        have.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(have, expected);
    }
    world
        .members
        .change(|nodes| nodes[0].report.as_mut().unwrap().labels.clear());
    until("the configured label to go", || async {
        world.node("n1").await?["metadata"]["labels"]["disk"]
            .is_null()
            .then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_written_while_nothing_changes() {
    let world = World::new(vec![
        member(1, Role::Voter),
        member(2, Role::Voter),
        member(3, Role::Standby),
    ]);
    let running = world.start(1);
    let revision = world.settled(&running).await;
    for _ in 0..3 {
        let at = world.clock.0.fetch_add(30_000, Ordering::SeqCst) + 30_000;
        world.members.change(|_| {});
        until("a pass over the nodes", || async {
            (running.health("nodes").last_success_unix_ms >= Some(at)).then_some(())
        })
        .await;
    }
    assert_eq!(world.settled(&running).await, revision);
    running.stop().await;

    // Nor does the next leader, who finds all as it should be.
    world.consensus.set_term(2);
    let index = world
        .store
        .linearizable(std::time::Duration::from_secs(1))
        .await
        .unwrap();
    let running = world.start(2);
    assert_eq!(world.settled(&running).await, revision);
    assert_eq!(
        world
            .store
            .linearizable(std::time::Duration::from_secs(1))
            .await
            .unwrap(),
        index
    );
    running.stop().await;
}

#[tokio::test]
async fn members_that_are_not_known_yet_cost_no_node() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    let revision = world.settled(&running).await;
    world.members.change(Vec::clear);
    assert_eq!(world.settled(&running).await, revision);
    assert!(world.node("n1").await.is_some());
    running.stop().await;
}
