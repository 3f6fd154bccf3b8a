//! The life of a cluster: join, choose, lose, replace.

use revoada_core::Role;
use revoada_core::chain::verify_bundle;
use revoada_core::consensus::Consensus;
use tokio::test;

use crate::harness::{Node, key, wait};

fn voters(status: &revoada::Status) -> usize {
    status
        .members
        .iter()
        .filter(|member| member.role == Role::Voter)
        .count()
}

/// One cluster at a time: failure detectors are not meant for two cores with five of them.
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn,openraft=off".into());
    // The first test's subscriber serves all.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .try_init();
    ALONE.lock().await
}

#[test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_is_a_cluster() {
    let _alone = alone().await;
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
    let _alone = alone().await;
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

#[test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_majority_is_recovered_once_and_the_old_one_is_fenced() {
    let _alone = alone().await;
    let root = tempfile::tempdir().unwrap();
    let first = Node::found(root.path(), 1).await;
    let ticket = first.ticket().await;
    let second = Node::join(root.path(), 2, &ticket).await.unwrap();
    let third = Node::join(root.path(), 3, &ticket).await.unwrap();
    let fourth = Node::join(root.path(), 4, &ticket).await.unwrap();
    first
        .member
        .set_formation(revoada_core::formation::Formation {
            voters: Some(3),
            standbys: Some(0),
            ..Default::default()
        })
        .await
        .unwrap();
    wait(&first, "three voters", |status| {
        voters(status) == 3 && status.transitions.is_empty()
    })
    .await;
    second.put("before").await.unwrap();

    // The majority is lost: two voters die for good. Whoever is left is a voter, another is a worker.
    let mut nodes = vec![first, second, third, fourth];
    let is_voter = |node: &Node| node.member.known().role(&node.key.member_id()) == Some(Role::Voter);
    let survivor = nodes.iter().position(is_voter).unwrap();
    let survivor = nodes.remove(survivor);
    let worker = nodes.iter().position(|node| !is_voter(node)).unwrap();
    let worker = nodes.remove(worker);
    let dead: Vec<u8> = nodes.iter().map(|node| node.name[1..].parse().unwrap()).collect();
    for node in nodes {
        node.kill().await;
    }
    wait(&survivor, "the loss is noticed", |status| {
        !status.quorum && status.members.iter().filter(|member| member.state == "dead").count() == 2
    })
    .await;
    let refused = survivor.member.consensus().status();
    assert_eq!(refused.missing.len(), 2);
    assert!(matches!(
        survivor.put("lost").await,
        Err(revoada_core::consensus::ProposeError::NoQuorum { .. })
    ));
    assert_eq!(survivor.local_list().unwrap(), ["before"]);

    let epoch = survivor.member.recover(false).await.unwrap();
    assert_eq!(epoch, 2);
    let status = wait(&survivor, "a new epoch with a quorum", |status| {
        status.epoch == 2 && status.quorum
    })
    .await;
    assert_eq!(status.members.len(), 2);
    survivor.put("after").await.unwrap();
    let list = survivor.list().await;
    assert_eq!(list.first().map(String::as_str), Some("before"));
    assert_eq!(list.last().map(String::as_str), Some("after"));
    wait(&worker, "the worker follows into the new epoch", |status| {
        status.epoch == 2
    })
    .await;
    assert!(worker.put("from the worker").await.is_ok());
    verify_bundle(&survivor.member.bundle(), Some(survivor.member.cluster())).unwrap();

    // An old voter comes back: it is told, and stays out for good.
    let back = Node::restart(root.path(), dead[0], "127.0.0.1:0", vec![survivor.address()]).await;
    let mut halted = back.member.watch_halted();
    let reason = tokio::time::timeout(std::time::Duration::from_secs(20), halted.wait_for(Option::is_some)).await;
    let reason = reason
        .expect("the returned member is told in time")
        .unwrap()
        .clone()
        .unwrap();
    assert!(reason.contains("fenced") && reason.contains("epoch 2"), "{reason}");
    assert!(back.put("from the past").await.is_err());
    back.kill().await;
    let (_, fenced) = revoada::MemberTrust::load(
        &revoada_log::OsDisk,
        &root.path().join(format!("n{}/member.bin", dead[0])),
    )
    .unwrap()
    .unwrap();
    assert!(fenced.unwrap().contains("join with a new ticket"));
    for node in [survivor, worker] {
        node.kill().await;
    }
}

#[test(flavor = "multi_thread", worker_threads = 2)]
async fn members_leave_and_are_expelled_and_never_served_again() {
    let _alone = alone().await;
    let root = tempfile::tempdir().unwrap();
    let first = Node::found(root.path(), 1).await;
    let ticket = first.ticket().await;
    let second = Node::join(root.path(), 2, &ticket).await.unwrap();
    let third = Node::join(root.path(), 3, &ticket).await.unwrap();
    let fourth = Node::join(root.path(), 4, &ticket).await.unwrap();
    wait(&first, "three voters", |status| {
        voters(status) == 3 && status.transitions.is_empty()
    })
    .await;
    // The leader leaves: leadership and its seat go to others first.
    first.put("a").await.unwrap();
    first.member.leave().await.unwrap();
    let reason = {
        let mut halted = first.member.watch_halted();
        halted.wait_for(Option::is_some).await.unwrap().clone().unwrap()
    };
    assert!(reason.contains("left"), "{reason}");
    first.kill().await;
    let status = wait(&second, "three voters without it", |status| {
        voters(status) == 3 && status.members.len() == 3
    })
    .await;
    assert!(status.members.iter().all(|member| member.name != "n1"));
    assert_eq!(fourth.list().await, ["a"]);

    let three = key(3).member_id();
    second.member.expel(three, "test").await.unwrap();
    let mut halted = third.member.watch_halted();
    let told = tokio::time::timeout(std::time::Duration::from_secs(20), halted.wait_for(Option::is_some)).await;
    assert!(told.unwrap().unwrap().clone().unwrap().contains("expelled"));
    assert!(third.put("no").await.is_err());
    let ticket = second.ticket().await;
    let again = Node::join(root.path(), 3, &ticket).await;
    assert!(
        matches!(again, Err(revoada::JoinError::Refused { .. })),
        "an expelled key does not come back"
    );
    for node in [second, third, fourth] {
        node.kill().await;
    }
}

#[test(flavor = "multi_thread", worker_threads = 2)]
async fn another_survivor_follows_into_the_new_epoch() {
    let _alone = alone().await;
    let root = tempfile::tempdir().unwrap();
    let first = Node::found(root.path(), 1).await;
    let ticket = first.ticket().await;
    let mut nodes = vec![first];
    for n in 2..=5 {
        nodes.push(Node::join(root.path(), n, &ticket).await.unwrap());
    }
    wait(&nodes[0], "five voters", |status| {
        voters(status) == 5 && status.transitions.is_empty()
    })
    .await;
    nodes[3].put("before").await.unwrap();
    let (second, survivor) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    futures_util::future::join_all(nodes.into_iter().map(Node::kill)).await;
    wait(&survivor, "the loss is noticed", |status| {
        status.members.iter().filter(|member| member.state == "dead").count() == 3
    })
    .await;
    // It may hold an entry more than the other, or less: then the other one is the better survivor.
    survivor.member.recover(true).await.unwrap();
    survivor.put("after").await.unwrap();
    let id = second.key.member_id();
    wait(&second, "the other survivor has a replica of the new epoch", |status| {
        status.epoch == 2
            && status
                .members
                .iter()
                .any(|member| member.id == id && member.role == Role::Standby)
    })
    .await;
    let list = second.list().await;
    assert_eq!(list.first().map(String::as_str), Some("before"));
    assert_eq!(list.last().map(String::as_str), Some("after"));
    assert!(second.dir_of_epoch(1).exists() && second.dir_of_epoch(2).exists());
    for node in [survivor, second] {
        node.kill().await;
    }
}
