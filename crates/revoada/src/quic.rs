//! Ties a member to the QUIC mesh: dialling for a join, and answering newcomers.

use std::net::SocketAddr;
use std::sync::Arc;

use revoada_core::MemberId;
use revoada_core::key::SecretKey;
use revoada_mesh::{Identity, MeshStream, QuicMesh, connect_join};

use crate::member::{JoinDialer, Member};

/// Dials over UDP; host names are resolved.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuicJoinDialer;

#[async_trait::async_trait]
impl JoinDialer for QuicJoinDialer {
    async fn dial(&self, address: &str, key: &SecretKey) -> Result<(MemberId, MeshStream), String> {
        let identity = Identity::from_secret(key.expose_bytes());
        let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address)
            .await
            .map_err(|error| format!("{address}: {error}"))?
            .take(4)
            .collect();
        let mut last = format!("{address} has no address");
        for candidate in resolved {
            match connect_join(&identity, candidate, None).await {
                Ok(joined) => return Ok(joined),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }
}

/// Hands newcomers' streams to the member until either stops.
pub fn serve_joins(member: &Member, mesh: Arc<QuicMesh>, version: &str) {
    member.serve_joins(version, move || {
        let mesh = Arc::clone(&mesh);
        async move { mesh.join_accept().await }
    });
}
