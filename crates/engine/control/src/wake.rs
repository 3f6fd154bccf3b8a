//! Waiting for changes in the store.

use std::sync::Arc;
use std::time::Duration;

use engenho_store::{KeyRange, Store, WatchError, Watcher};
use futures_util::future::{pending, select_all};

/// How long is waited when a watch can't begin: long enough to be no burden, short enough to miss nothing for long.
const BLIND_WAIT: Duration = Duration::from_secs(1);

/// Watches over several ranges, as one.
pub(crate) struct Wake {
    watchers: Vec<Watcher>,
    /// A watch could not begin, or broke off: what changed isn't known.
    is_blind: bool,
}

impl Wake {
    /// Watches `ranges` for changes after `revision`.
    pub fn arm(store: &Arc<Store>, ranges: Vec<KeyRange>, revision: u64) -> Self {
        let (mut watchers, mut is_blind) = (Vec::with_capacity(ranges.len()), false);
        for range in ranges {
            match store.watch(range, revision) {
                Ok(watcher) => watchers.push(watcher),
                Err(_) => is_blind = true,
            }
        }
        Self { watchers, is_blind }
    }

    /// Returns once something may have changed; never, if there is nothing to watch.
    pub async fn changed(&mut self) {
        if self.is_blind {
            return tokio::time::sleep(BLIND_WAIT).await;
        }
        if self.watchers.is_empty() {
            return pending().await;
        }
        let waits = self.watchers.iter_mut().map(|watcher| Box::pin(watcher.next()));
        let (first, _, _) = select_all(waits).await;
        match first {
            Ok(_) => {}
            Err(WatchError::Compacted { .. }) => tokio::time::sleep(BLIND_WAIT).await,
            // The store ends, and soon this task with it.
            Err(WatchError::Closed) => pending().await,
        }
    }
}
