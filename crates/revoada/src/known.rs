//! What a member knows of the cluster: admitted keys, roles, chain, Raft configuration.
//!
//! A replica knows it from its own state machine, a worker from a replica that it follows. It is kept in a
//! file, so that a restarted member can authenticate its peers before anything else works.

use std::collections::BTreeSet;
use std::sync::Arc;

use revoada_core::chain::{ChainState, Genesis};
use revoada_core::command::MeshCommand;
use revoada_core::consensus::LogPosition;
use revoada_core::policy::Eligible;
use revoada_core::state::MeshState;
use revoada_core::view::{Observation, RaftView, View};
use revoada_core::{MemberId, Role};
use serde::{Deserialize, Serialize};

/// Newest wins: by recovery epoch, then by the log index of the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct Version {
    /// Recovery epoch.
    pub epoch: u64,
    /// Log index of the last entry that changed the mesh state or the Raft configuration.
    pub index: u64,
}

/// An immutable picture; a newer one replaces it whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Known {
    version: Version,
    state: Arc<MeshState>,
    config: RaftView,
}

#[derive(Deserialize)]
struct Wire {
    version: Version,
    state: Arc<MeshState>,
    config: RaftView,
}

/// A picture without genesis shows no cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a picture of a cluster that was not founded")]
pub struct NotFounded;

impl TryFrom<Wire> for Known {
    type Error = NotFounded;

    fn try_from(wire: Wire) -> Result<Self, NotFounded> {
        Self::new(wire.version.index, wire.state, wire.config)
    }
}

impl Known {
    /// A picture as of log index `index`.
    pub fn new(index: u64, state: Arc<MeshState>, config: RaftView) -> Result<Self, NotFounded> {
        let epoch = state.chain().ok_or(NotFounded)?.epoch();
        Ok(Self {
            version: Version { epoch, index },
            state,
            config,
        })
    }

    /// What the founder knows before its first entry.
    pub fn founding(genesis: &Genesis) -> Result<Self, String> {
        let mut state = MeshState::default();
        let at = LogPosition { index: 0, term: 0 };
        let command = MeshCommand::Found {
            genesis: genesis.clone(),
        };
        let outcome = state.apply(at, genesis.created_ms, genesis.founder, &command);
        Self::new(0, Arc::new(state), RaftView::default()).map_err(|_| format!("{outcome:?}"))
    }

    /// Which picture this is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The replicated mesh state.
    pub fn state(&self) -> &MeshState {
        &self.state
    }

    /// The same, to be kept.
    pub fn shared_state(&self) -> Arc<MeshState> {
        Arc::clone(&self.state)
    }

    /// The chain's state.
    pub fn chain(&self) -> &ChainState {
        self.state.chain().expect("checked when the picture was made")
    }

    /// The Raft configuration that was in effect.
    pub fn config(&self) -> &RaftView {
        &self.config
    }

    /// All admitted members.
    pub fn members(&self) -> Vec<MemberId> {
        self.chain().admitted().keys().copied().collect()
    }

    /// A member's role in consensus, after the Raft configuration; `None` for keys that are not admitted.
    pub fn role(&self, member: &MemberId) -> Option<Role> {
        let admitted = self.chain().member(member)?;
        Some(if self.config.votes(member) {
            if admitted.witness { Role::Witness } else { Role::Voter }
        } else if self.config.learners.contains(member) {
            Role::Standby
        } else {
            Role::Worker
        })
    }

    /// How many members there are to choose replicas from.
    pub fn eligible(&self) -> Eligible {
        let none = |_: &MemberId| Observation::default();
        View::new(&self.state, MemberId::default(), self.config.clone(), 0, 0, none).eligible()
    }

    /// Members that keep a replica.
    pub fn replicas(&self) -> BTreeSet<MemberId> {
        self.config.members()
    }
}
