//! What the mesh asks of the layer that knows who is a member.

use std::net::SocketAddr;

use bytes::Bytes;
use revoada_core::{ClusterId, MemberId};

/// What a key is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A member.
    Admitted,
    /// No block admitted this key, as far as this member has read the chain.
    Unknown,
    /// Was a member and was expelled.
    Expelled,
    /// Was a member and left by itself.
    Left,
    /// Belongs to an epoch that was given up by a recovery. It is told so with the evidence.
    Fenced,
}

/// What this member says of itself at the start of each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalHello {
    /// The cluster.
    pub cluster: ClusterId,
    /// Epoch of the cluster, raised by each recovery.
    pub epoch: u64,
    /// The member's name, at most 253 bytes; longer ones are cut.
    pub name: String,
    /// Software version, at most 64 bytes.
    pub version: String,
    /// Where this member can be reached, at most 16; empty: the address the mesh is bound to.
    pub addresses: Vec<SocketAddr>,
}

/// Who may connect, and what is said to them. Called often and from many tasks: answers come from memory.
pub trait Trust: Send + Sync + 'static {
    /// What `peer` is at this moment.
    fn standing(&self, peer: MemberId) -> Standing;

    /// All admitted members; with or without this one.
    fn members(&self) -> Vec<MemberId>;

    /// What to say of this member.
    fn hello(&self) -> LocalHello;

    /// Proof of the present epoch for members of an older one; at most 56 KiB, else it isn't sent.
    fn evidence(&self) -> Bytes;

    /// `peer` claims that the cluster is at the higher `epoch` and gave this proof, which isn't verified yet.
    fn on_evidence(&self, peer: MemberId, epoch: u64, evidence: Bytes);

    /// A key without standing proved that it is `peer` and was refused as unknown. A member that was away may see
    /// this from members admitted meanwhile; it should then read the chain from a member that it knows. Anyone who
    /// reaches the port can cause this call: whatever it starts has to be rate-limited.
    fn on_unknown(&self, peer: MemberId) {
        let _ = peer;
    }
}
