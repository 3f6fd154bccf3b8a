//! The webhooks that are in force: read from this replica's store when a configuration has changed, before the next
//! request is judged.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::hook::Webhook;
use crate::context::parse_stored;
use crate::status::Status;
use crate::storage::Storage;
use crate::watched::Watched;

const MUTATING: &str = "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/";
const VALIDATING: &str = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/";

/// Webhooks, in the order in which they are called: by the names of their configurations, then as listed.
pub(super) type Hooks = Arc<Vec<Arc<Webhook>>>;

/// The webhooks in force.
#[derive(Default)]
pub(crate) struct Webhooks {
    mutating: Mutex<State>,
    validating: Mutex<State>,
}

#[derive(Default)]
struct State {
    hooks: Hooks,
    /// What was read, by key, with the revision that it is of.
    known: BTreeMap<Vec<u8>, (u64, Vec<Arc<Webhook>>)>,
    watched: Watched,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

impl Webhooks {
    /// Those that may change objects.
    ///
    /// # Errors
    /// They cannot be read. Then nothing may be let through.
    pub(super) fn mutating(&self, storage: &Storage) -> Result<Hooks, Status> {
        current(&mut self.mutating.lock(), MUTATING, storage)
    }

    /// Those that only judge.
    ///
    /// # Errors
    /// They cannot be read. Then nothing may be let through.
    pub(super) fn validating(&self, storage: &Storage) -> Result<Hooks, Status> {
        current(&mut self.validating.lock(), VALIDATING, storage)
    }
}

fn current(state: &mut State, prefix: &str, storage: &Storage) -> Result<Hooks, Status> {
    let unchanged = state.watched.is_unchanged(&storage.client().store);
    if !unchanged {
        let found = storage.list(prefix)?;
        let mut known = BTreeMap::new();
        for kv in &found.kvs {
            let before = state.known.remove(&kv.key[..]);
            let webhooks = match before.filter(|(revision, _)| *revision == kv.mod_revision) {
                Some((_, webhooks)) => webhooks,
                None => {
                    let object = parse_stored(&storage.open(kv)?.bytes)?;
                    Webhook::all(&object).into_iter().map(Arc::new).collect()
                }
            };
            known.insert(kv.key.to_vec(), (kv.mod_revision, webhooks));
        }
        let all = known.values().flat_map(|(_, webhooks)| webhooks.iter().cloned());
        state.hooks = Arc::new(all.collect());
        state.known = known;
        state.watched.follow(&storage.client().store, prefix, found.revision);
    }
    Ok(state.hooks.clone())
}
