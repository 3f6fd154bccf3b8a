//! Store leases that nobody keeps alive end, and their keys with them.

use std::time::Duration;

use engenho_store::{LeaseClock, StoreClient, StoreError, WriteError};
use tokio::time::Instant;

use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

/// Deadline of one proposal.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often leases are looked at, and how often it is looked whether there are any. A lease is counted from when it is
/// first seen, and may so live a little longer than its time.
const TICK: Duration = Duration::from_secs(1);
const IDLE_TICK: Duration = Duration::from_secs(3);

/// Revokes expired leases.
pub(crate) struct Leases {
    store: StoreClient,
    term: u64,
    begun: Instant,
    clock: LeaseClock,
}

impl Leases {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            store: deps.store.clone(),
            term: deps.term,
            begun: Instant::now(),
            clock: LeaseClock::default(),
        }
    }
}

impl Controller for Leases {
    const NAME: &'static str = "leases";

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let leases = self.store.store.leases();
        for lease in self.clock.expired(self.begun.elapsed(), &leases) {
            match self.store.lease_expire(&lease, Some(self.term), DEADLINE).await {
                Ok(keys) => tracing::debug!(lease = lease.id, keys, "a lease ended"),
                Err(WriteError::Store(StoreError::LeaseNotFound { .. } | StoreError::LeaseRenewed { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Next::After(if leases.is_empty() { IDLE_TICK } else { TICK }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use engenho_store::{Op, Txn, testing};

    use super::*;

    #[tokio::test]
    async fn an_expired_lease_takes_its_keys_along() {
        let store = testing::client();
        let mut leases = Leases {
            store: store.clone(),
            term: 1,
            begun: Instant::now(),
            clock: LeaseClock::default(),
        };
        assert_eq!(leases.reconcile().await.unwrap(), Next::After(IDLE_TICK));
        let id = store.lease_grant(0, 60, DEADLINE).await.unwrap();
        let put = Op::Put {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            lease: id,
            prev_kv: false,
            revision_splice: None,
        };
        let txn = Txn {
            success: vec![put],
            ..Txn::default()
        };
        store.txn(txn, None, DEADLINE).await.unwrap();
        assert_eq!(leases.reconcile().await.unwrap(), Next::After(TICK));
        leases.begun = leases.begun.checked_sub(Duration::from_secs(50)).unwrap();
        leases.reconcile().await.unwrap();
        assert!(store.store.get(b"k").is_some());

        leases.begun = leases.begun.checked_sub(Duration::from_secs(20)).unwrap();
        leases.term = 2;
        assert!(leases.reconcile().await.is_err(), "another term's write is refused");
        leases.term = 1;
        leases.reconcile().await.unwrap();
        assert_eq!((store.store.get(b"k"), store.store.leases()), (None, vec![]));
    }
}
