//! The trait by which everything above reaches its peers.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use revoada_core::MemberId;
use serde::{Deserialize, Serialize};

use crate::error::MeshError;
use crate::stream::{MeshStream, StreamClass};

/// The largest gossip message.
pub const GOSSIP_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A stream that a peer opened. The peer's key was proved by the connection it came over.
#[derive(Debug)]
pub struct IncomingStream {
    /// Who opened it.
    pub peer: MemberId,
    /// What it carries.
    pub class: StreamClass,
    /// The bytes after the class.
    pub stream: MeshStream,
}

/// What this member knows of its link to one peer; a hint that is old when read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// The peer.
    pub id: MemberId,
    /// Whether a connection is established and was heard of within the idle timeout.
    pub connected: bool,
    /// The remote address of that connection, or of the last one.
    pub address: Option<SocketAddr>,
    /// Smoothed round-trip time in milliseconds, while connected.
    pub rtt_ms: Option<u64>,
    /// Why the last attempt failed or the last connection ended; none while connected.
    pub last_error: Option<String>,
    /// When the peer was last known to be connected, milliseconds since the Unix epoch.
    pub last_seen: Option<u64>,
}

/// Authenticated, ordered byte streams and small messages between members named by key.
#[async_trait]
pub trait Mesh: Send + Sync + 'static {
    /// This member.
    fn me(&self) -> MemberId;

    /// Opens a stream to `peer`, connecting first if need be. Takes at most 3 s, and fails at once with the
    /// last error while the peer is in back-off.
    async fn open(&self, peer: MemberId, class: StreamClass) -> Result<MeshStream, MeshError>;

    /// The next stream that a peer opened; `None` once the mesh has shut down. Cancel-safe.
    async fn accept(&self) -> Option<IncomingStream>;

    /// Sends one message of at most [`GOSSIP_MESSAGE_BYTES_MAX`], at most once, without any acknowledgement.
    /// Takes at most 200 ms: a message for a peer that isn't connected by then is dropped, which is an error.
    async fn gossip_send(&self, peer: MemberId, message: Bytes) -> Result<(), MeshError>;

    /// The next message and the peer whose connection brought it; `None` after shutdown. Cancel-safe.
    async fn gossip_recv(&self) -> Option<(MemberId, Bytes)>;

    /// Every admitted peer that this member knows of, by id.
    fn peers(&self) -> Vec<PeerStatus>;

    /// Tells where `peer` says it is now (from gossip or replicated state). A hint: other addresses stay candidates.
    fn update_addresses(&self, peer: MemberId, addresses: Vec<SocketAddr>);

    /// Lets the next [`Mesh::open`] dial at once.
    fn reset_backoff(&self, peer: MemberId);
}
