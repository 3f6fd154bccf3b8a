//! Turns at what many requests change at once: one after the other here, instead of all at once and again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// So many names are kept before those that nobody waits for are forgotten.
const NAMES_MAX: usize = 1_024;

/// Turns by name. They only save work: what must hold is checked in the transaction.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    by_name: Mutex<HashMap<String, Arc<Turn<()>>>>,
}

impl Turns {
    /// Waits for a turn, until the guard before it is dropped or `patience` is over.
    pub async fn wait(&self, name: &str, patience: Duration) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut by_name = self.by_name.lock();
            if by_name.len() >= NAMES_MAX {
                by_name.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            by_name.entry(name.to_owned()).or_default().clone()
        };
        tokio::time::timeout(patience, turn.lock_owned()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_after_the_other_and_not_for_ever() {
        let turns = Turns::default();
        let short = Duration::from_millis(5);
        let first = turns.wait("a", short).await;
        assert!(first.is_some() && turns.wait("b", short).await.is_some());
        assert!(turns.wait("a", short).await.is_none());
        drop(first);
        assert!(turns.wait("a", short).await.is_some());
    }
}
