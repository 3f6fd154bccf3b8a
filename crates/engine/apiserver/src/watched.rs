//! Whether a range of the store is as it was read: what was made of it is made anew before the next request if not.

use std::sync::Arc;

use engenho_store::{KeyRange, Store, Watcher};

/// A watch that only tells whether something came.
#[derive(Default)]
pub(crate) struct Watched(Option<Watcher>);

impl Watched {
    /// Whether nothing has changed up to this replica's newest revision. Once something has, and before anything was
    /// read, it is not until [`Watched::follow`].
    pub fn is_unchanged(&mut self, store: &Store) -> bool {
        // Without events and without having come along, the watch lies behind what memory holds.
        let unchanged = self
            .0
            .as_mut()
            .and_then(|watcher| watcher.progress().ok())
            .is_some_and(|batch| batch.events.is_empty() && batch.revision >= store.revision());
        if !unchanged {
            self.0 = None;
        }
        unchanged
    }

    /// The keys with this prefix were read as of a revision.
    pub fn follow(&mut self, store: &Arc<Store>, prefix: &str, revision: u64) {
        self.0 = store.watch(KeyRange::prefix(prefix.to_owned()), revision).ok();
    }
}
