//! RPC between members: tonic services over mesh streams.

mod client;
mod server;

pub use client::{RpcClient, RpcError, call, from_status};
pub use server::{JoinPeer, PeerStream, RpcPeer, spawn_join_server, spawn_mesh_server};

/// Generated messages and services.
#[allow(missing_docs, clippy::all)]
pub mod pb {
    tonic::include_proto!("engenho.mesh.v1");
}

/// Upper bound of one RPC message.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
