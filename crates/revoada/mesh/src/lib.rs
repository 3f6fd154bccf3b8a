//! Authenticated peer mesh: QUIC with raw public keys, typed streams, gossip transport, discovery of peers.
//!
//! Everything above reaches peers through the [`Mesh`] trait and names them by key; addresses are hints that
//! live in the address book. The mesh knows nothing of consensus or of what its streams carry: who may
//! connect is asked of a [`Trust`].

pub mod error;
pub mod mesh;
pub mod stream;
pub mod trust;

pub use error::{BindError, MeshError, Refusal};
pub use mesh::{GOSSIP_MESSAGE_BYTES_MAX, IncomingStream, Mesh, PeerStatus};
pub use stream::{MeshStream, StreamClass};
pub use trust::{LocalHello, Standing, Trust};
