//! Authenticated peer mesh: QUIC with raw public keys, typed streams, gossip transport, discovery of peers.
//!
//! Everything above reaches peers through the [`Mesh`] trait and names them by key; addresses are hints that
//! live in the address book. The mesh knows nothing of consensus or of what its streams carry: who may
//! connect is asked of a [`Trust`].

pub mod address_book;
pub mod beacon;
pub mod discovery;
pub mod error;
pub mod gossip;
mod identity;
pub mod mesh;
mod os;
pub mod quic;
pub mod stream;
pub mod trust;
pub mod wire;

pub use address_book::{AddressBook, AddressSource};
pub use discovery::DiscoveryConfig;
pub use error::{BindError, CLOCK_SKEW_MS_MAX, MeshError, Refusal};
pub use gossip::{GossipDirectory, GossipTransport, gossip_address};
pub use identity::Identity;
pub use mesh::{GOSSIP_MESSAGE_BYTES_MAX, IncomingStream, Mesh, PeerStatus};
pub use quic::{IncomingJoin, MeshConfig, MeshLimits, QuicMesh, connect_join};
pub use stream::{MeshStream, StreamClass};
pub use trust::{LocalHello, Standing, Trust};
