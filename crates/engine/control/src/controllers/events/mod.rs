//! Events live for an hour after their last change, as upstream's `--event-ttl` has it.
//!
//! Upstream hangs each Event on a store lease, which costs a log entry; here old ones are swept in batches, and
//! where there are none nothing is read but that.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engenho_catalog::Catalog;
use engenho_store::{Compare, KeyRange, Op, RangeRequest, StoreClient, Txn};
use revoada_core::env::Clock;

use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

/// How often is looked.
const SWEEP: Duration = Duration::from_secs(60);
/// Deadline of one proposal.
const DEADLINE: Duration = Duration::from_secs(5);
/// Deletions in one transaction, below the store's bound.
const BATCH: usize = 100;

/// Deletes old Events.
pub(crate) struct Events {
    store: StoreClient,
    clock: Arc<dyn Clock>,
    term: u64,
    prefix: String,
    /// Of each Event, the revision that was read and when that one ends.
    known: BTreeMap<Bytes, Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    revision: u64,
    ends_unix_ms: u64,
}

impl Events {
    pub fn new(deps: &ControlDeps) -> Self {
        let events = Catalog::builtin().resource("", "v1", "events");
        Self {
            store: deps.store.clone(),
            clock: deps.clock.clone(),
            term: deps.term,
            prefix: events.map_or_else(|| "/registry/core/events/".to_owned(), |events| events.storage_prefix()),
            known: BTreeMap::new(),
        }
    }

    /// Brings `known` in line with the store; says whether there is any Event.
    fn look(&mut self) -> Result<bool, ControlError> {
        let store = &self.store.store;
        let mut request = RangeRequest::new(KeyRange::prefix(self.prefix.clone()));
        request.keys_only = true;
        if store.range_page(&request.clone().limit(1))?.kvs.is_empty() {
            self.known.clear();
            return Ok(false);
        }
        let mut before = std::mem::take(&mut self.known);
        for kv in store.range(&request)?.kvs {
            let known = match before.remove(&kv.key) {
                Some(known) if known.revision == kv.mod_revision => known,
                _ => {
                    let Some(event) = store.get(&kv.key) else { continue };
                    Known {
                        revision: event.mod_revision,
                        ends_unix_ms: plan::ends_unix_ms(&event.value),
                    }
                }
            };
            self.known.insert(kv.key, known);
        }
        Ok(true)
    }
}

impl Controller for Events {
    const NAME: &'static str = "events";

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        if !self.look()? {
            return Ok(Next::After(SWEEP));
        }
        let now = self.clock.unix_ms();
        let over: Vec<(&Bytes, &Known)> = self.known.iter().filter(|(_, k)| k.ends_unix_ms <= now).collect();
        for batch in over.chunks(BATCH) {
            let txn = Txn {
                // One that changed meanwhile keeps its batch; it is met again by the next sweep.
                compares: batch
                    .iter()
                    .map(|(key, k)| Compare::mod_revision((*key).clone(), k.revision))
                    .collect(),
                success: batch.iter().map(|(key, _)| delete((*key).clone())).collect(),
                failure: Vec::new(),
            };
            self.store.txn(txn, Some(self.term), DEADLINE).await?;
        }
        if !over.is_empty() {
            tracing::debug!(events = over.len(), "old events were deleted");
        }
        Ok(Next::After(SWEEP))
    }
}

fn delete(key: Bytes) -> Op {
    Op::DeleteRange {
        range: KeyRange::key(key),
        prev_kv: false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use engenho_store::testing;

    use super::*;
    use crate::times;

    struct TestClock(AtomicU64);

    impl Clock for TestClock {
        fn unix_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn old_events_go_and_young_ones_stay() {
        let store = testing::client();
        let clock = Arc::new(TestClock(AtomicU64::new(10_000_000)));
        let mut events = Events {
            store: store.clone(),
            clock: clock.clone(),
            term: 1,
            prefix: "/registry/core/events/".into(),
            known: BTreeMap::new(),
        };
        events.reconcile().await.unwrap();
        assert_eq!(store.store.revision(), 1);

        let put = |key: String, at: u64| {
            let event = format!(r#"{{"metadata":{{"creationTimestamp":"{}"}}}}"#, times::text(at));
            let txn = Txn {
                success: vec![Op::put(key, event)],
                ..Txn::default()
            };
            let store = store.clone();
            async move { store.txn(txn, None, DEADLINE).await.unwrap() }
        };
        for number in 0..250 {
            put(format!("/registry/core/events/a/{number}"), 10_000_000).await;
        }
        put("/registry/core/events/a/young".into(), 12_000_000).await;
        put("/registry/core/eventsource/a/x".into(), 0).await;
        let revision = store.store.revision();
        events.reconcile().await.unwrap();
        assert_eq!((store.store.revision(), events.known.len()), (revision, 251));

        // One of them changes: it begins anew.
        put("/registry/core/events/a/7".into(), 13_000_000).await;
        clock.0.store(14_000_000, Ordering::SeqCst);
        events.reconcile().await.unwrap();
        assert_eq!(store.store.revision(), revision + 1 + 3);
        let left = store
            .store
            .range(&RangeRequest::new(KeyRange::prefix("/registry/core/")))
            .unwrap();
        let keys: Vec<_> = left
            .kvs
            .iter()
            .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
            .collect();
        let expected = ["events/a/7", "events/a/young", "eventsource/a/x"].map(|key| format!("/registry/core/{key}"));
        assert_eq!(keys, expected);

        clock.0.store(90_000_000, Ordering::SeqCst);
        events.term = 2;
        assert!(events.reconcile().await.is_err(), "another term's write is refused");
        events.term = 1;
        events.reconcile().await.unwrap();
        events.reconcile().await.unwrap();
        assert!(events.known.is_empty());
    }
}
