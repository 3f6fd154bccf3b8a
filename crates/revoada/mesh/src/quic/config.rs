//! What a mesh is made of, and its bounds.

use std::net::SocketAddr;
use std::sync::Arc;

use revoada_core::env::Clock;

use crate::address_book::AddressBook;
use crate::discovery::DiscoveryConfig;
use crate::identity::Identity;
use crate::trust::Trust;

/// Bounds of the mesh.
#[derive(Debug, Clone)]
pub struct MeshLimits {
    /// Streams that a peer may have open on one connection.
    pub streams_max: u32,
    /// Bytes a peer may send on one stream ahead of the reader.
    pub stream_window_bytes: u32,
    /// The same for all streams of a connection together.
    pub connection_window_bytes: u32,
    /// Handshakes under way at once.
    pub handshakes_max: usize,
    /// Joins under way at once.
    pub joins_max: usize,
    /// Joins at once from one source address.
    pub join_burst: u32,
    /// Joins a second from one source address after that.
    pub joins_per_second: f64,
}

impl Default for MeshLimits {
    fn default() -> Self {
        Self {
            streams_max: 1024,
            stream_window_bytes: 2 * 1024 * 1024,
            connection_window_bytes: 8 * 1024 * 1024,
            handshakes_max: 256,
            joins_max: 32,
            join_burst: 32,
            joins_per_second: 4.0,
        }
    }
}

/// What a mesh is made of.
pub struct MeshConfig {
    /// This member's key.
    pub identity: Identity,
    /// UDP address to bind; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Who may connect.
    pub trust: Arc<dyn Trust>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// A number that differs after each start of the process: random, or the start time in nanoseconds.
    pub boot: u64,
    /// Known addresses, for example from the last run.
    pub address_book: AddressBook,
    /// Whether to keep a connection to every admitted peer, rather than connect on first use.
    pub keep_connected: bool,
    /// Multicast discovery; `None` turns it off.
    pub discovery: Option<DiscoveryConfig>,
    /// Bounds.
    pub limits: MeshLimits,
}

impl MeshConfig {
    /// A configuration with the defaults for all that has some.
    pub fn new(
        identity: Identity,
        listen: SocketAddr,
        trust: Arc<dyn Trust>,
        clock: Arc<dyn Clock>,
        boot: u64,
    ) -> Self {
        Self {
            identity,
            listen,
            trust,
            clock,
            boot,
            address_book: AddressBook::default(),
            keep_connected: true,
            discovery: Some(DiscoveryConfig::default()),
            limits: MeshLimits::default(),
        }
    }
}
