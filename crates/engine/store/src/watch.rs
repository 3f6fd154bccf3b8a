//! Watching a range: from the rings, and from the history when behind them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{Event, KeyRange};
use crate::ring::Selection;
use crate::store::Store;

/// About as many events are given at once.
const BATCH_EVENTS: usize = 1024;
/// About as many rows of the history are looked at in one go.
const HISTORY_ROWS: usize = 4096;

/// What happened since the last batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchBatch {
    /// The events in order, each revision whole. Empty for mere progress.
    pub events: Vec<Arc<Event>>,
    /// Everything up to and with this revision was seen.
    pub revision: u64,
}

/// Why a watch can't begin or go on: read the state anew and watch from there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// Events that the watcher hasn't seen are gone.
    #[error("the events asked for are gone, the oldest readable revision is {oldest}")]
    Compacted {
        /// The oldest revision to watch from.
        oldest: u64,
    },
    /// The store ends.
    #[error("the store was closed")]
    Closed,
}

/// A cursor over the events of a range. Holds no buffer; dropping it costs nothing.
pub struct Watcher {
    store: Arc<Store>,
    range: KeyRange,
    selection: Selection,
    wake: watch::Receiver<u64>,
    position: u64,
    restores: u64,
}

enum Step {
    Batch(WatchBatch),
    Idle,
    /// Behind the rings: the history must be read up to this revision.
    Behind(u64),
}

impl Watcher {
    pub(crate) fn new(store: Arc<Store>, range: KeyRange, from: u64) -> Result<Self, WatchError> {
        let selection = store.rings().select(&range);
        let wake = match &selection {
            Selection::One(ring) => ring.subscribe(),
            Selection::All => store.subscribe(),
        };
        let restores = store.restores().0;
        let readable =
            from >= store.published() || store.rings().cover(&selection, from) || from >= store.history().floor();
        if !readable {
            return Err(WatchError::Compacted {
                oldest: store.compacted(),
            });
        }
        Ok(Self {
            store,
            range,
            selection,
            wake,
            position: from,
            restores,
        })
    }

    /// The revision up to which everything was seen.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Waits for events. Safe to cancel: what wasn't returned comes again.
    pub async fn next(&mut self) -> Result<WatchBatch, WatchError> {
        loop {
            self.wake.borrow_and_update();
            match self.step()? {
                Step::Batch(batch) => return Ok(batch),
                Step::Idle => self.wake.changed().await.map_err(|_| WatchError::Closed)?,
                Step::Behind(upto) => {
                    if let Some(batch) = self.catch_up(upto).await? {
                        return Ok(batch);
                    }
                }
            }
        }
    }

    /// Waits for events for at most `wait`, then gives a batch without events whose revision says how far the
    /// watch has come: the stuff of bookmarks.
    pub async fn next_within(&mut self, wait: Duration) -> Result<WatchBatch, WatchError> {
        match tokio::time::timeout(wait, self.next()).await {
            Ok(batch) => batch,
            Err(_) => self.progress(),
        }
    }

    /// What is there now, without waiting: events, or none and the revision that was reached.
    pub fn progress(&mut self) -> Result<WatchBatch, WatchError> {
        match self.step()? {
            Step::Batch(batch) => Ok(batch),
            Step::Idle | Step::Behind(_) => Ok(WatchBatch {
                events: Vec::new(),
                revision: self.position,
            }),
        }
    }

    fn step(&mut self) -> Result<Step, WatchError> {
        let (restores, restored) = self.store.restores();
        if restores != self.restores {
            if self.position > restored {
                return Err(WatchError::Compacted { oldest: restored });
            }
            self.restores = restores;
        }
        loop {
            let upto = self.store.published();
            if upto <= self.position {
                return Ok(Step::Idle);
            }
            let collected = match &self.selection {
                Selection::One(ring) => ring.collect(&self.range, self.position, upto, BATCH_EVENTS),
                Selection::All => self
                    .store
                    .rings()
                    .collect_all(&self.range, self.position, upto, BATCH_EVENTS),
            };
            let Some((events, reached)) = collected else {
                return Ok(Step::Behind(upto));
            };
            self.position = reached;
            if !events.is_empty() {
                return Ok(Step::Batch(WatchBatch {
                    events,
                    revision: reached,
                }));
            }
        }
    }

    async fn catch_up(&mut self, upto: u64) -> Result<Option<WatchBatch>, WatchError> {
        let (store, range, after) = (self.store.clone(), self.range.clone(), self.position);
        let read = tokio::task::spawn_blocking(move || store.history().events(&range, after, upto, HISTORY_ROWS));
        match read.await {
            Ok(Ok((events, reached))) => {
                self.position = reached;
                Ok((!events.is_empty()).then_some(WatchBatch {
                    events,
                    revision: reached,
                }))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, position = after, "a watch ends");
                Err(WatchError::Compacted {
                    oldest: self.store.compacted(),
                })
            }
            Err(_) => Err(WatchError::Closed),
        }
    }
}
