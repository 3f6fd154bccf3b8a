//! Forgetting old revisions: the store keeps five minutes of history, and an idle store is left alone.

use std::time::Duration;

use engenho_store::{COMPACTION_WINDOW, RevisionSamples, StoreClient, StoreError, WriteError};
use tokio::time::Instant;

use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

/// Deadline of one proposal.
const DEADLINE: Duration = Duration::from_secs(5);

/// Compacts the store.
pub(crate) struct Compaction {
    store: StoreClient,
    term: u64,
    window: Duration,
    begun: Instant,
    samples: RevisionSamples,
}

impl Compaction {
    pub fn new(deps: &ControlDeps) -> Self {
        Self::within(deps, COMPACTION_WINDOW)
    }

    pub fn within(deps: &ControlDeps, window: Duration) -> Self {
        Self {
            store: deps.store.clone(),
            term: deps.term,
            window,
            begun: Instant::now(),
            samples: RevisionSamples::default(),
        }
    }
}

impl Controller for Compaction {
    const NAME: &'static str = "compaction";

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let (revision, compacted) = (self.store.store.revision(), self.store.store.compacted());
        let now = self.begun.elapsed();
        if let Some(at) = self.samples.observe_within(now, self.window, revision, compacted) {
            match self.store.compact(at, Some(self.term), DEADLINE).await {
                Ok(_) => tracing::debug!(revision = at, "compacted"),
                // Another client, through the etcd service, was there before.
                Err(WriteError::Store(StoreError::Compacted { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Next::After(self.window / 20))
    }
}
