//! What a member is to the cluster.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// A member's role in consensus. Running pods is orthogonal.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// No replica; its API endpoint forwards to one.
    Worker,
    /// Raft learner: a hot replica, first to be promoted.
    Standby,
    /// Votes in Raft, stores log and state.
    Voter,
    /// Votes, but serves no API and runs no pods.
    Witness,
}

impl Role {
    /// The lower-case word used in JSON, logs and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Worker => "worker",
            Role::Standby => "standby",
            Role::Voter => "voter",
            Role::Witness => "witness",
        }
    }

    /// Whether the member votes.
    pub const fn votes(self) -> bool {
        matches!(self, Role::Voter | Role::Witness)
    }

    /// Whether the member keeps a copy of the log and state.
    pub const fn is_replica(self) -> bool {
        !matches!(self, Role::Worker)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
