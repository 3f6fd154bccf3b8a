//! Distribution layer: Raft, gossip, transitions and attestation over real sockets, disks and clocks.
//!
//! It knows nothing of what the cluster is for: the layer above brings an [`ApplicationFactory`] and gets
//! [`revoada_core::consensus::Consensus`].

mod blocking;
pub mod gossip;
pub mod inspect;
pub mod known;
pub mod member;
pub mod quic;
mod raft;
mod rpc;

pub use gossip::{Announcement, Everyone, Heard, Pulse};
pub use known::{Known, Version};
pub use member::{
    AdminError, ApplicationFactory, CallHandler, ConsensusHandle, JoinDialer, JoinError, JoinIntent, Joined, Member,
    MemberOptions, MemberTrust, NameWish, RaftFigures, RaftState, RecoverError, ReplicaPhase, Start, StartError,
    Status, join,
};
pub use raft::replica::{ReplicaError, Timing};
pub use rpc::{JoinPeer, PeerStream, RpcError};
