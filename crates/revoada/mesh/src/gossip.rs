//! chitchat over the mesh: its addresses are made from member keys, its messages travel on mesh connections.
//!
//! Members have a synthetic IPv6 address (a hash of the key below fd00::/8), so that gossip never learns of real
//! addresses. Who sent a message follows from the connection. chitchat itself doesn't bind what a message says to
//! its sender: an admitted member can publish values and heartbeats in another's name, replace what a member
//! publishes of itself by naming a higher version, invent members, and stop a peer's gossip task with a delta
//! whose versions contradict one another. Hence gossip is a hint, and its task has to be watched and restarted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use parking_lot::RwLock;
use revoada_core::MemberId;
use tokio::task::JoinSet;
use tracing::{debug, trace};

use crate::mesh::{GOSSIP_MESSAGE_BYTES_MAX, Mesh};

/// Port of all synthetic addresses.
pub const GOSSIP_PORT: u16 = 1;
/// Messages being sent at once; more are dropped.
const SENDING_MAX: usize = 64;
const ADDRESS_CONTEXT: &str = "engenho mesh 2025-10 gossip address";

/// The synthetic address of a member: what to give chitchat as its advertised address and as seeds.
pub fn gossip_address(member: MemberId) -> SocketAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&blake3::derive_key(ADDRESS_CONTEXT, member.as_bytes())[..16]);
    octets[0] = 0xfd;
    SocketAddr::new(Ipv6Addr::from(octets).into(), GOSSIP_PORT)
}

/// Which member a synthetic address stands for.
#[derive(Debug, Default)]
pub struct GossipDirectory {
    members: RwLock<BTreeMap<Ipv6Addr, MemberId>>,
}

impl GossipDirectory {
    /// Replaces the set of admitted members: only to these is gossip sent.
    pub fn set_members(&self, members: impl IntoIterator<Item = MemberId>) {
        let members = members
            .into_iter()
            .filter_map(|member| match gossip_address(member).ip() {
                IpAddr::V6(ip) => Some((ip, member)),
                IpAddr::V4(_) => None,
            });
        *self.members.write() = members.collect();
    }

    /// The member at a synthetic address.
    pub fn resolve(&self, address: SocketAddr) -> Option<MemberId> {
        match address.ip() {
            IpAddr::V6(ip) if address.port() == GOSSIP_PORT => self.members.read().get(&ip).copied(),
            _ => None,
        }
    }
}

/// chitchat's transport. One socket at a time: the mesh has one stream of gossip messages.
pub struct GossipTransport {
    mesh: Arc<dyn Mesh>,
    directory: Arc<GossipDirectory>,
}

impl GossipTransport {
    /// A transport that sends to the members of `directory`.
    pub fn new(mesh: Arc<dyn Mesh>, directory: Arc<GossipDirectory>) -> Self {
        Self { mesh, directory }
    }

    /// The directory, to be kept up to date.
    pub fn directory(&self) -> &Arc<GossipDirectory> {
        &self.directory
    }

    /// Replaces the set of admitted members.
    pub fn set_members(&self, members: impl IntoIterator<Item = MemberId>) {
        self.directory.set_members(members);
    }
}

#[async_trait]
impl Transport for GossipTransport {
    async fn open(&self, listen_addr: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let own = gossip_address(self.mesh.me());
        anyhow::ensure!(
            listen_addr == own,
            "gossip listens on {listen_addr}, want this member's address {own}"
        );
        Ok(Box::new(GossipSocket {
            mesh: self.mesh.clone(),
            directory: self.directory.clone(),
            sending: JoinSet::new(),
        }))
    }
}

struct GossipSocket {
    mesh: Arc<dyn Mesh>,
    directory: Arc<GossipDirectory>,
    sending: JoinSet<()>,
}

#[async_trait]
impl Socket for GossipSocket {
    /// Never waits for the peer and never fails: what can't be sent is dropped, as UDP would.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let Some(peer) = self.directory.resolve(to) else {
            trace!(%to, "gossip for an address of no member dropped");
            return Ok(());
        };
        let bytes = Bytes::from(message.serialize_to_vec());
        if bytes.len() > GOSSIP_MESSAGE_BYTES_MAX {
            debug!(peer = %peer.short(), bytes = bytes.len(), "gossip message too large, dropped");
            return Ok(());
        }
        while self.sending.try_join_next().is_some() {}
        if self.sending.len() >= SENDING_MAX {
            trace!(peer = %peer.short(), "too much gossip under way, message dropped");
            return Ok(());
        }
        let mesh = self.mesh.clone();
        self.sending.spawn(async move {
            if let Err(error) = mesh.gossip_send(peer, bytes).await {
                trace!(peer = %peer.short(), %error, "gossip message dropped");
            }
        });
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let Some((peer, bytes)) = self.mesh.gossip_recv().await else {
                anyhow::bail!("the mesh has shut down");
            };
            match ChitchatMessage::deserialize(&mut &bytes[..]) {
                Ok(message) => return Ok((gossip_address(peer), message)),
                Err(error) => debug!(peer = %peer.short(), %error, "gossip message that can't be decoded"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn addresses_resolve_to_admitted_members_only() {
        let directory = GossipDirectory::default();
        let (a, b) = (MemberId([1; 32]), MemberId([2; 32]));
        directory.set_members([a]);
        assert_eq!(directory.resolve(gossip_address(a)), Some(a));
        assert_eq!(directory.resolve(gossip_address(b)), None);
        assert_eq!(directory.resolve("127.0.0.1:1".parse().unwrap()), None);
        assert_ne!(gossip_address(a), gossip_address(b));
    }

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(mut bytes in vec(any::<u8>(), 0..600), kind in 0u8..5) {
            let _ = ChitchatMessage::deserialize(&mut &bytes[..]);
            let mut framed = 45_139u16.to_le_bytes().to_vec();
            framed.extend([0, kind]);
            framed.append(&mut bytes);
            let _ = ChitchatMessage::deserialize(&mut &framed[..]);
        }
    }
}
