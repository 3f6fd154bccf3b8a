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
        for id in self.clock.expired(self.begun.elapsed(), &leases) {
            match self.store.lease_revoke(id, Some(self.term), DEADLINE).await {
                Ok(keys) => tracing::debug!(lease = id, keys, "a lease ended"),
                Err(WriteError::Store(StoreError::LeaseNotFound { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Next::After(if leases.is_empty() { IDLE_TICK } else { TICK }))
    }
}
