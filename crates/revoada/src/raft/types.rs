//! The consensus library's type parameters. Its types stay inside this module tree.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use revoada_core::MemberId;

/// The encoded [`revoada_core::command::Command`] that an entry carries.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

/// What applying an entry answered, encoded; empty for blank and membership entries.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer(pub Bytes);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl std::fmt::Display for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} bytes)", self.0.len())
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

openraft::declare_raft_types!(
    /// One leader a term (so that a term fences), member keys as node ids, no node data: addresses live in gossip.
    pub TypeConfig:
        D = Payload,
        R = Answer,
        NodeId = MemberId,
        Node = (),
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, MemberId>,
);

pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub type RaftMetrics = openraft::RaftMetrics<TypeConfig>;
