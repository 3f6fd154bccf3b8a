//! The authoriser as the pipeline sees it, and the one that reads roles and bindings from the store.

use std::sync::Arc;

pub use engenho_authz::{Attributes, Decision, EscalationError, Identity, RbacWrite, RuleReview, Verdict};
use engenho_authz::{Policy, aggregate, rbac_escalation_allowed};
use engenho_store::{KeyRange, RangeRequest, Store};
use parking_lot::Mutex;
use serde_json::Value;

use crate::watched::Watched;

/// Decides whether a request may go on. Called for every request, so it answers from memory.
pub trait Authorizer: Send + Sync + 'static {
    /// The decision about one request.
    fn authorize(&self, attributes: &Attributes) -> Decision;

    /// What `identity` may do in `namespace`.
    fn rules(&self, identity: &Identity, namespace: &str) -> RuleReview;

    /// Whether a role or binding may be written without its writer gaining rights.
    fn check_escalation(&self, write: &RbacWrite<'_>) -> Result<(), EscalationError>;
}

const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// RBAC over the roles and bindings of a store. The policy is compiled when it is first needed and again when one
/// of them has changed, before the next decision: whoever was granted something can use it at once.
pub struct StoreAuthorizer {
    store: Arc<Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    policy: Arc<Policy>,
    watched: Watched,
}

impl StoreAuthorizer {
    /// An authoriser over this replica's store.
    pub fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            state: Mutex::default(),
        }
    }

    /// The policy as of this replica's newest revision.
    pub fn policy(&self) -> Arc<Policy> {
        let mut state = self.state.lock();
        let unchanged = state.watched.is_unchanged(&self.store);
        if !unchanged {
            self.compile(&mut state);
        }
        state.policy.clone()
    }

    fn compile(&self, state: &mut State) {
        let read = match self.store.range(&RangeRequest::new(KeyRange::prefix(PREFIX))) {
            Ok(read) => read,
            Err(error) => {
                return tracing::error!(%error, "roles and bindings cannot be read: the policy stays as it was");
            }
        };
        let mut kinds: [Vec<Value>; 4] = Default::default();
        for kv in &read.kvs {
            let key = String::from_utf8_lossy(&kv.key[PREFIX.len().min(kv.key.len())..]).into_owned();
            let slot = match key.split('/').next() {
                Some("roles") => 0,
                Some("clusterroles") => 1,
                Some("rolebindings") => 2,
                Some("clusterrolebindings") => 3,
                _ => continue,
            };
            match serde_json::from_slice(&kv.value) {
                Ok(value) => kinds[slot].push(value),
                Err(error) => tracing::warn!(key, %error, "an unreadable RBAC object grants nothing"),
            }
        }
        // Aggregated roles hold their rules by definition, whether or not a controller has written them down yet.
        match aggregate(&kinds[1]) {
            Ok(changes) => {
                for change in changes {
                    let role = kinds[1]
                        .iter_mut()
                        .find(|r| r["metadata"]["name"] == change.name.as_str());
                    if let Some(role) = role {
                        role["rules"] = change.rules_value();
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cluster roles are not aggregated"),
        }
        let [roles, cluster_roles, bindings, cluster_bindings] = &kinds;
        let policy = Policy::compile(roles, cluster_roles, bindings, cluster_bindings);
        for skipped in policy.skipped() {
            tracing::warn!(%skipped, "an RBAC object grants nothing");
        }
        state.policy = Arc::new(policy);
        state.watched.follow(&self.store, PREFIX, read.revision);
    }
}

impl Authorizer for StoreAuthorizer {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        self.policy().authorize(attributes)
    }

    fn rules(&self, identity: &Identity, namespace: &str) -> RuleReview {
        self.policy().rules_for(identity, namespace)
    }

    fn check_escalation(&self, write: &RbacWrite<'_>) -> Result<(), EscalationError> {
        let policy = self.policy();
        rbac_escalation_allowed(&policy, write, &|attributes| policy.authorize(attributes))
    }
}
