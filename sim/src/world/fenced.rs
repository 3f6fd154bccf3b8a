//! Writes in the name of a term, as of a controller that does not notice soon that its member leads no more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engenho_engine::store::{Op, StoreClient, Txn};
use engenho_node::run::api::Stores;
use revoada::Member;
use tokio_util::sync::CancellationToken;

use super::host::Cell;

/// How often a leader writes.
const EVERY: Duration = Duration::from_millis(400);

/// How long each write is tried, wherever the leader is by then.
const DEADLINE: Duration = Duration::from_secs(4);

/// While the member leads it writes with its term for a fence; what is under way then goes on in other terms, too.
pub async fn write(cell: Arc<Cell>, member: Member, stores: Arc<Stores>, stop: CancellationToken) {
    let leadership = member.watch_leadership();
    let mut count = 0_u64;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let (Some(term), Some(store)) = (*leadership.borrow(), stores.current()) else {
            continue;
        };
        if !cell.restless.load(Ordering::Relaxed) {
            continue;
        }
        count += 1;
        let txn = Txn {
            success: vec![Op::put("/sim/leader", format!("{term}-{count}"))],
            ..Txn::default()
        };
        let client = StoreClient::new(store, member.consensus());
        member.spawn(async move {
            // Whether it took effect is in the record.
            let _ = client.txn(txn, Some(term), DEADLINE).await;
        });
    }
}
