//! A holder of store leases on one machine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engenho_engine::store::StoreClient;
use engenho_node::run::api::Stores;
use revoada::Member;
use sim_check::record::LeaseRecord;
use tokio_util::sync::CancellationToken;

use super::host::Cell;
use super::recorder::Recorder;

/// Grants leases, keeps them for a while, then lets them end.
pub async fn hold(cell: Arc<Cell>, recorder: Recorder, member: Member, stores: Arc<Stores>, stop: CancellationToken) {
    const TTL_S: i64 = 4;
    let mut round = 0_u64;
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(2_500)) => {}
            () = stop.cancelled() => return,
        }
        let Some(store) = stores.current() else { continue };
        round += 1;
        let id = 1_000_000 * i64::from(cell.number + 1)
            + 10_000 * i64::try_from(cell.boots.load(Ordering::Relaxed)).unwrap_or(0)
            + i64::try_from(round).unwrap_or(0);
        let client = StoreClient::new(store, member.consensus());
        let asked = recorder.stamp();
        let granted = client.lease_grant(id, TTL_S, Duration::from_secs(3)).await.is_ok();
        let mut lease = LeaseRecord {
            id,
            ttl_ms: TTL_S.unsigned_abs() * 1000,
            granted: (asked, granted.then(|| recorder.stamp())),
            kept: Vec::new(),
            revoked: None,
            ended: None,
        };
        for _ in 0..(round % 4) {
            if !granted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            let asked = recorder.stamp();
            let kept = client.lease_keep_alive(id, Duration::from_secs(2)).await.is_ok();
            lease.kept.push((asked, kept.then(|| recorder.stamp())));
        }
        recorder.add(|record| record.leases.push(lease));
    }
}
