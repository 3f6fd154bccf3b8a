//! Beacons on loopback.

use std::time::Duration;

use futures_util::future::join_all;
use revoada_mesh::{DiscoveryConfig, Mesh, StreamClass};

use crate::support::{Member, Options, eventually, within};

/// Groups of their own, so that tests don't hear one another.
fn beacons(port: u16) -> Option<DiscoveryConfig> {
    Some(DiscoveryConfig {
        port,
        interval: Duration::from_millis(200),
        loopback_only: true,
        ..Default::default()
    })
}

fn start(n: u8, listen: &'static str, boot: u64, port: u16) -> Member {
    let mut options = Options::new(n, &[1, 2, 3]);
    options.listen = listen;
    options.keep_connected = true;
    options.discovery = beacons(port);
    options.boot = boot;
    options.start()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_find_each_other_after_all_addresses_changed() {
    let port = 27_000 + (std::process::id() % 20_000) as u16;
    // No address of any other is known from the start.
    let mut members = vec![
        start(1, "127.0.0.1:0", 1, port),
        start(2, "127.0.0.2:0", 1, port),
        start(3, "127.0.0.1:0", 1, port),
    ];
    let all_connected = |members: &[Member]| {
        members
            .iter()
            .all(|a| members.iter().all(|b| a.id() == b.id() || a.connected(b.id())))
    };
    eventually("all connected", || all_connected(&members)).await;
    // All restart with new ports and addresses.
    join_all(
        members
            .drain(..)
            .map(|member| async move { member.mesh.shutdown().await }),
    )
    .await;
    let members = vec![
        start(1, "127.0.0.3:0", 2, port),
        start(2, "127.0.0.4:0", 2, port),
        start(3, "127.0.0.3:0", 2, port),
    ];
    eventually("all connected again", || all_connected(&members)).await;
    within("stream", members[0].mesh.open(members[2].id(), StreamClass::Rpc))
        .await
        .unwrap();
    let stored = members[0].mesh.address_book();
    assert!(
        stored
            .candidates(members[1].id())
            .contains(&members[1].mesh.local_addr())
    );
    join_all(members.iter().map(|member| member.mesh.shutdown())).await;
}
