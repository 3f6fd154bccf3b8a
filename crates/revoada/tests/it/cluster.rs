//! The life of a cluster: join, choose, lose, replace.

use revoada_core::Role;
use revoada_core::chain::verify_bundle;
use tokio::test;

use crate::harness::{Node, key, wait};

fn voters(status: &revoada::Status) -> usize {
    status
        .members
        .iter()
        .filter(|member| member.role == Role::Voter)
        .count()
}

fn init() {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn,openraft=error".into());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .try_init();
}

#[test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_is_a_cluster() {
    init();
    let root = tempfile::tempdir().unwrap();
    let node = Node::found(root.path(), 1).await;
    assert_eq!(node.put("a").await.unwrap(), "1");
    assert_eq!(node.list().await, ["a"]);
    let status = wait(&node, "sealed and quorum", |status| {
        status.quorum && status.leader.is_some()
    })
    .await;
    assert_eq!(status.members.len(), 1);
    node.member.shutdown().await;
    node.mesh.shutdown().await;
    let again = Node::restart(root.path(), 1, "127.0.0.1:0", Vec::new()).await;
    assert_eq!(again.put("b").await.unwrap(), "2");
    assert_eq!(again.list().await, ["a", "b"]);
    again.kill().await;
}

#[test(flavor = "multi_thread", worker_threads = 2)]
async fn three_join_lose_the_leader_and_go_on() {
    init();
    let root = tempfile::tempdir().unwrap();
    let first = Node::found(root.path(), 1).await;
    let ticket = first.ticket().await;
    let second = Node::join(root.path(), 2, &ticket).await.unwrap();
    let third = Node::join(root.path(), 3, &ticket).await.unwrap();
    let fourth = Node::join(root.path(), 4, &ticket).await.unwrap();
    let status = wait(&first, "three voters and a standby", |status| {
        voters(status) == 3
            && status.transitions.is_empty()
            && status.members.iter().any(|member| member.role == Role::Standby)
    })
    .await;
    assert_eq!(status.leader, Some(key(1).member_id()));
    assert_eq!(second.put("via two").await.unwrap(), "1");
    assert_eq!(fourth.put("via four").await.unwrap(), "2");
    assert_eq!(third.list().await, ["via two", "via four"]);
    wait(&fourth, "every block is sealed", |status| {
        status.chain.sealed == status.chain.height && status.chain.height >= 6
    })
    .await;
    verify_bundle(&fourth.member.bundle(), Some(fourth.member.cluster())).unwrap();

    first.kill().await;
    assert_eq!(second.put("after the death").await.unwrap(), "3");
    let one = key(1).member_id();
    wait(&third, "the dead voter is replaced", |status| {
        voters(status) == 3
            && status
                .members
                .iter()
                .all(|member| member.id != one || member.role == Role::Worker)
    })
    .await;
    assert_eq!(fourth.list().await, ["via two", "via four", "after the death"]);

    let back = Node::restart(root.path(), 1, "127.0.0.1:0", vec![second.address(), third.address()]).await;
    wait(&back, "the returned member is a standby", |status| {
        status
            .members
            .iter()
            .any(|member| member.id == one && member.role == Role::Standby)
    })
    .await;
    assert_eq!(back.put("from the returned").await.unwrap(), "4");
    for node in [back, second, third, fourth] {
        node.kill().await;
    }
}
