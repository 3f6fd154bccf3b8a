//! What a leader writes counts in its term only.

use engenho_store::testing::SingleNode;
use revoada_core::Role;
use revoada_core::consensus::ProposeError;
use serde_json::json;

use crate::world::{World, condition, member, until};

fn config_map(name: &str) -> serde_json::Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}})
}

#[tokio::test]
async fn a_fenced_request_is_refused_in_another_term() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    running.stop().await;
    world.consensus.set_term(2);
    let maps = "/api/v1/namespaces/default/configmaps";
    let before = world.store.store.revision();
    let (code, status) = world.send_fenced("POST", maps, config_map("a"), Some(1)).await;
    assert_eq!(code, 503, "{status}");
    assert_eq!(
        world
            .send_fenced("DELETE", "/api/v1/nodes/n1", json!(null), Some(1))
            .await
            .0,
        503
    );
    assert_eq!(world.store.store.revision(), before);
    assert_eq!(world.send_fenced("POST", maps, config_map("a"), Some(2)).await.0, 201);
}

#[tokio::test]
async fn a_leader_of_another_term_writes_nothing() {
    let world = World::new(vec![member(1, Role::Voter)]);
    // It believes in a term that the log isn't at: each of its writes is fenced.
    let running = world.start(7);
    until("refusals", || async {
        let refused = ["bootstrap", "nodes"].map(|name| running.health(name).failures_in_row >= 2);
        (refused == [true, true]).then_some(())
    })
    .await;
    assert_eq!(world.store.store.revision(), 1);
    let error = running.health("nodes").last_error.unwrap();
    assert!(error.text.contains("term 7"), "{}", error.text);
    running.stop().await;
}

#[tokio::test]
async fn controllers_end_with_their_term_and_begin_with_the_next() {
    let world = World::new(vec![member(1, Role::Voter), member(2, Role::Voter)]);
    let old = world.start(1);
    let revision = world.settled(&old).await;
    let running = old.tasks.len();
    world.consensus.set_term(2);
    world.members.change(|nodes| nodes[1].is_alive = false);
    // Nobody told it to stop: it sees that the term is over.
    until("the controller of nodes to end", || async {
        (old.tasks.len() < running).then_some(())
    })
    .await;
    old.stop().await;
    assert_eq!(world.store.store.revision(), revision);

    let new = world.start(2);
    until("the next leader's word", || async {
        let node = world.node("n2").await?;
        (condition(&node, "Ready")["status"] == "Unknown").then_some(())
    })
    .await;
    new.stop().await;
}

#[tokio::test]
async fn without_a_quorum_they_fail_and_then_go_on() {
    let world = World::new(vec![member(1, Role::Voter)]);
    let running = world.start(1);
    world.settled(&running).await;
    fail(&world.consensus, true);
    world.members.change(|nodes| nodes[0].role = Role::Standby);
    until("failures", || async {
        (running.health("nodes").failures_in_row > 0).then_some(())
    })
    .await;
    fail(&world.consensus, false);
    until("the label", || async {
        let node = world.node("n1").await?;
        (node["metadata"]["labels"]["engenho.io/role"] == "standby").then_some(())
    })
    .await;
    world.settled(&running).await;
    running.stop().await;
}

fn fail(consensus: &SingleNode, fails: bool) {
    let error = ProposeError::NoQuorum {
        missing: vec![],
        voters: 3,
    };
    consensus.fail_with(fails.then_some(error));
}
