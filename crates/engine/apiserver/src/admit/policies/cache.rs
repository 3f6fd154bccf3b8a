//! The policies that are in force: read from this replica's store when one of them has changed, before the next
//! request is judged, and compiled once a version.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::compiled::{Binding, Policy};
use crate::context::parse_stored;
use crate::status::Status;
use crate::storage::Storage;
use crate::watched::Watched;

/// What the keys of policies and of bindings begin with.
const PREFIX: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolic";
const POLICIES: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicies/";
const BINDINGS: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicybindings/";

/// A policy and what puts it to work.
#[derive(Debug)]
pub(super) struct Hook {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its bindings, by name.
    pub bindings: Vec<Binding>,
}

/// The policies in force.
#[derive(Default)]
pub(crate) struct Policies {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hooks: Arc<Vec<Hook>>,
    /// Policies that were compiled, by key, with the revision that they are of.
    compiled: BTreeMap<Vec<u8>, (u64, Arc<Policy>)>,
    watched: Watched,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").finish_non_exhaustive()
    }
}

impl Policies {
    /// The policies as of this replica's newest revision. Those without bindings are left out.
    ///
    /// # Errors
    /// They cannot be read. Then nothing may be let through.
    pub(super) fn current(&self, storage: &Storage) -> Result<Arc<Vec<Hook>>, Status> {
        let mut state = self.state.lock();
        let unchanged = state.watched.is_unchanged(&storage.client().store);
        if !unchanged {
            read(&mut state, storage)?;
        }
        Ok(state.hooks.clone())
    }
}

fn read(state: &mut State, storage: &Storage) -> Result<(), Status> {
    let found = storage.list(PREFIX)?;
    let mut compiled = BTreeMap::new();
    let mut bindings: BTreeMap<String, Vec<Binding>> = BTreeMap::new();
    for kv in &found.kvs {
        let object = || -> Result<Value, Status> { parse_stored(&storage.open(kv)?.bytes) };
        if kv.key.starts_with(BINDINGS.as_bytes()) {
            let binding = Binding::new(&object()?);
            bindings.entry(binding.policy.clone()).or_default().push(binding);
        } else if kv.key.starts_with(POLICIES.as_bytes()) {
            let known = state.compiled.remove(&kv.key[..]);
            let policy = match known.filter(|(revision, _)| *revision == kv.mod_revision) {
                Some((_, policy)) => policy,
                None => Arc::new(Policy::new(&object()?)),
            };
            compiled.insert(kv.key.to_vec(), (kv.mod_revision, policy));
        }
    }
    let hooks = compiled.values().filter_map(|(_, policy)| {
        let bindings = bindings.remove(&policy.name)?;
        let policy = policy.clone();
        Some(Hook { policy, bindings })
    });
    state.hooks = Arc::new(hooks.collect());
    state.compiled = compiled;
    state.watched.follow(&storage.client().store, PREFIX, found.revision);
    Ok(())
}
