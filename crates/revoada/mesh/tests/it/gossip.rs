//! chitchat over three meshes.

use std::sync::Arc;
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use revoada_mesh::{GossipDirectory, GossipTransport, Mesh, gossip_address};

use crate::support::{DEADLINE, Member, Options, identity};

async fn gossip(member: &Member, seeds: &[u8]) -> ChitchatHandle {
    let directory = Arc::new(GossipDirectory::default());
    directory.set_members((1..=3).map(|n| identity(n).id()));
    let own = gossip_address(member.id());
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new(member.id().to_string(), 1, own),
        cluster_id: "c".into(),
        gossip_interval: Duration::from_millis(50),
        listen_addr: own,
        seed_nodes: seeds
            .iter()
            .map(|n| gossip_address(identity(*n).id()).to_string())
            .collect(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: 6.0,
            initial_interval: Duration::from_millis(100),
            max_interval: Duration::from_millis(500),
            ..FailureDetectorConfig::default()
        },
        marked_for_deletion_grace_period: Duration::from_secs(60),
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    let transport = GossipTransport::new(Arc::new(member.mesh.clone()) as Arc<dyn Mesh>, directory);
    let big = "x".repeat(5_000);
    let values = vec![("name".into(), member.id().short()), ("big".into(), big)];
    spawn_chitchat(config, values, &transport).await.unwrap()
}

async fn live_and_whole(handle: &ChitchatHandle) -> usize {
    handle
        .with_chitchat(|chitchat| {
            let live: Vec<ChitchatId> = chitchat.live_nodes().cloned().collect();
            live.iter()
                .filter(|id| {
                    let state = chitchat.node_state(id);
                    state
                        .and_then(|state| state.get("big"))
                        .is_some_and(|big| big.len() == 5_000)
                })
                .count()
        })
        .await
}

async fn until_live(handle: &ChitchatHandle, want: usize) {
    let started = std::time::Instant::now();
    loop {
        let live = live_and_whole(handle).await;
        if live == want {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{live} live, want {want}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_converge_and_notice_a_death() {
    let members: Vec<Member> = (1..=3).map(|n| Options::new(n, &[1, 2, 3]).start()).collect();
    for a in &members {
        for b in &members {
            if a.id() != b.id() {
                a.knows(b);
            }
        }
    }
    let mut handles = Vec::new();
    for member in &members {
        handles.push(gossip(member, &[1]).await);
    }
    for handle in &handles {
        until_live(handle, 3).await;
    }
    members[2].mesh.shutdown().await;
    for handle in &handles[..2] {
        until_live(handle, 2).await;
    }
    tokio::join!(members[0].mesh.shutdown(), members[1].mesh.shutdown());
    for handle in handles {
        assert!(handle.termination_watcher().await.is_err());
    }
}
