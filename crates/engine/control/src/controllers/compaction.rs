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
        Self::within(deps.store.clone(), deps.term, COMPACTION_WINDOW)
    }

    fn within(store: StoreClient, term: u64, window: Duration) -> Self {
        Self {
            store,
            term,
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

#[cfg(test)]
mod tests {
    use engenho_store::{Op, StoreOptions, Txn, testing};

    use super::*;

    #[tokio::test]
    async fn a_busy_store_is_compacted_and_an_idle_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = testing::client_with(StoreOptions::with_history(dir.path()));
        let mut compaction = Compaction::within(store.clone(), 1, Duration::from_millis(200));
        let deadline = Instant::now() + Duration::from_secs(8);
        let mut writes = 0;
        while store.store.compacted() < 2 {
            assert!(Instant::now() < deadline, "never compacted");
            let txn = Txn {
                success: vec![Op::put("k", format!("{writes}"))],
                ..Txn::default()
            };
            store.txn(txn, None, DEADLINE).await.unwrap();
            writes += 1;
            let Next::After(wait) = compaction.reconcile().await.unwrap() else {
                panic!()
            };
            tokio::time::sleep(wait).await;
        }
        assert!(store.store.compacted() < store.store.revision());

        // A read index tells the log's length: idle passes add nothing to it.
        let mut compaction = Compaction::within(store.clone(), 1, Duration::from_millis(20));
        store.compact(store.store.revision(), None, DEADLINE).await.unwrap();
        let before = store.linearizable(DEADLINE).await.unwrap();
        for _ in 0..50 {
            compaction.reconcile().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(store.linearizable(DEADLINE).await.unwrap(), before);
    }
}
