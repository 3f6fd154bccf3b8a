//! The mesh over QUIC: one UDP port, one connection a pair of members, mutual proof of keys.

mod accept;
mod config;
mod dial;
mod hello;
mod inner;
mod join;
mod link;
mod peer;
mod tls;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quinn::{Endpoint, TokioRuntime, VarInt};
use revoada_core::MemberId;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use config::{MeshConfig, MeshLimits};
pub(crate) use inner::Inner;
pub use join::{IncomingJoin, JOIN_BYTES_MAX, JOIN_DEADLINE, connect_join};

use crate::address_book::{AddressBook, AddressSource};
use crate::discovery::Discovery;
use crate::error::{BindError, MeshError, Refusal};
use crate::mesh::{GOSSIP_MESSAGE_BYTES_MAX, IncomingStream, Mesh, PeerStatus};
use crate::stream::{MeshStream, StreamClass};
use crate::wire::ADDRESSES_MAX;
use inner::maintenance_loop;
use link::Inbox;
use peer::Peer;

const OPEN_DEADLINE: Duration = Duration::from_secs(3);
const GOSSIP_DEADLINE: Duration = Duration::from_millis(200);
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);
const STREAMS_WAITING_MAX: usize = 256;
const GOSSIP_WAITING_MAX: usize = 256;

/// The mesh over QUIC. A cheap handle; [`QuicMesh::shutdown`] ends it.
#[derive(Clone)]
pub struct QuicMesh {
    inner: Arc<Inner>,
}

impl QuicMesh {
    /// Binds the port and starts the mesh. Must be called within a tokio runtime.
    pub fn bind(config: MeshConfig) -> Result<Self, BindError> {
        let MeshConfig {
            identity,
            listen,
            trust,
            clock,
            boot,
            address_book,
            keep_connected,
            discovery,
            limits,
        } = config;
        let tls = tls::Tls::new(&identity)?;
        let server = transport::server_config(&tls, &limits)?;
        let endpoint_config = transport::endpoint_config(&identity)?;
        let socket = transport::bind(listen)?;
        let local = socket
            .local_addr()
            .map_err(|source| BindError::from_io(listen, source))?;
        let endpoint = Endpoint::new(endpoint_config, Some(server), socket, Arc::new(TokioRuntime))
            .map_err(|source| BindError::from_io(listen, source))?;
        let (streams_in, streams) = mpsc::channel(STREAMS_WAITING_MAX);
        let (gossip_in, gossip) = mpsc::channel(GOSSIP_WAITING_MAX);
        let (joins_in, joins) = mpsc::channel(limits.joins_max.max(1));
        let inner = Arc::new(Inner {
            identity,
            endpoint: RwLock::new(Some(endpoint.clone())),
            local,
            tls,
            transport: transport::mesh_transport(&limits),
            trust,
            clock,
            boot,
            keep_connected,
            book: Mutex::new(address_book),
            peers: Mutex::default(),
            inbox: Inbox {
                streams: streams_in,
                gossip: gossip_in,
            },
            streams: tokio::sync::Mutex::new(streams),
            gossip: tokio::sync::Mutex::new(gossip),
            joins_in,
            joins: tokio::sync::Mutex::new(joins),
            join_rate: Mutex::new(join::RateLimit::new(limits.join_burst, limits.joins_per_second)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            join_places: Arc::new(Semaphore::new(limits.joins_max)),
            maintain: Notify::new(),
            beacon_wanted: Notify::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            limits,
        });
        inner.spawn(accept::accept_loop(inner.clone(), endpoint));
        inner.spawn(maintenance_loop(inner.clone()));
        if let Some(discovery) = discovery {
            inner.spawn(Discovery::new(discovery, inner.clone()).run());
        }
        info!(member = %inner.me().short(), address = %inner.local, "mesh listens");
        Ok(Self { inner })
    }

    /// The UDP address the mesh is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// Where this member says it can be reached.
    pub fn own_addresses(&self) -> Vec<SocketAddr> {
        self.inner.own_addresses()
    }

    /// The next newcomer; `None` after shutdown. Cancel-safe.
    pub async fn join_accept(&self) -> Option<IncomingJoin> {
        self.inner.receive(&self.inner.joins).await
    }

    /// To be called whenever the answers of [`Trust`] may have changed: closes the connections of those who are no
    /// longer admitted, or were greeted in an epoch that is over, and dials those who are admitted now.
    pub fn trust_changed(&self) {
        let inner = &self.inner;
        let peers: Vec<Arc<Peer>> = inner.peers.lock().values().cloned().collect();
        let epoch = inner.trust.hello().epoch;
        for peer in peers {
            if let Err((refusal, reason)) = inner.admission(peer.id) {
                for link in peer.links() {
                    info!(peer = %peer.id.short(), %refusal, "connection closed");
                    link.close(refusal, reason);
                }
                if peer.links().iter().all(|link| !link.is_open()) {
                    inner.peers.lock().remove(&peer.id);
                }
            } else if peer.links().iter().filter(|link| link.close_unless_of(epoch)).count() > 0 {
                info!(peer = %peer.id.short(), epoch, "connection of another epoch closed");
                peer.reset_backoff();
            }
        }
        inner.maintain.notify_one();
    }

    /// Sends a multicast beacon now, whether or not a peer is missing.
    pub fn beacon_now(&self) {
        self.inner.beacon_wanted.notify_one();
    }

    /// The address book, to be stored.
    pub fn address_book(&self) -> AddressBook {
        self.inner.book.lock().clone()
    }

    /// Adds one address hint.
    pub fn add_address(&self, peer: MemberId, address: SocketAddr, source: AddressSource) {
        self.inner.add_addresses(peer, [address], source);
    }

    /// Connections open at this moment, with those that drain or are being made.
    pub fn open_connections(&self) -> usize {
        self.inner
            .endpoint
            .read()
            .as_ref()
            .map_or(0, Endpoint::open_connections)
    }

    /// Closes all connections with the reason, ends every task and gives up the port. Takes at most a few seconds.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.stop.cancel();
        // The port is free once the last handle of the endpoint is gone.
        let endpoint = inner.endpoint.write().take();
        if let Some(endpoint) = &endpoint {
            endpoint.close(
                VarInt::from_u32(Refusal::ShuttingDown.code()),
                b"the member is stopping",
            );
        }
        inner.tasks.close();
        if tokio::time::timeout(SHUTDOWN_DEADLINE, inner.tasks.wait())
            .await
            .is_err()
        {
            warn!(left = inner.tasks.len(), "mesh tasks didn't end in time");
        }
        if let Some(endpoint) = endpoint {
            let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, endpoint.wait_idle()).await;
        }
    }
}

#[async_trait]
impl Mesh for QuicMesh {
    fn me(&self) -> MemberId {
        self.inner.me()
    }

    async fn open(&self, peer: MemberId, class: StreamClass) -> Result<MeshStream, MeshError> {
        let deadline = Instant::now() + OPEN_DEADLINE;
        let late = |what| MeshError::Timeout {
            what,
            waited_ms: OPEN_DEADLINE.as_millis() as u64,
        };
        loop {
            let link = match tokio::time::timeout_at(deadline, self.inner.connect(peer)).await {
                Ok(link) => link?,
                Err(_) => return Err(late("connection")),
            };
            match tokio::time::timeout_at(deadline, link.open(class)).await {
                Ok(Ok(stream)) => return Ok(stream),
                // The connection ended a moment ago; its task may not have noticed yet.
                Ok(Err(error)) if link.is_open() => return Err(error),
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(_) => return Err(late("free stream")),
            }
        }
    }

    async fn accept(&self) -> Option<IncomingStream> {
        self.inner.receive(&self.inner.streams).await
    }

    async fn gossip_send(&self, peer: MemberId, message: Bytes) -> Result<(), MeshError> {
        if message.len() > GOSSIP_MESSAGE_BYTES_MAX {
            return Err(MeshError::TooLarge {
                bytes: message.len(),
                bytes_max: GOSSIP_MESSAGE_BYTES_MAX,
            });
        }
        let late = || MeshError::Timeout {
            what: "connection",
            waited_ms: GOSSIP_DEADLINE.as_millis() as u64,
        };
        let deadline = Instant::now() + GOSSIP_DEADLINE;
        let link = tokio::time::timeout_at(deadline, self.inner.connect(peer))
            .await
            .map_err(|_| late())??;
        tokio::time::timeout_at(deadline, link.gossip(&message))
            .await
            .map_err(|_| late())?
    }

    async fn gossip_recv(&self) -> Option<(MemberId, Bytes)> {
        self.inner.receive(&self.inner.gossip).await
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let inner = &self.inner;
        let mut members = inner.trust.members();
        members.sort_unstable();
        members.dedup();
        members.retain(|member| *member != inner.me());
        let now_ms = inner.clock.unix_ms();
        members.into_iter().map(|id| inner.status(id, now_ms)).collect()
    }

    fn update_addresses(&self, peer: MemberId, addresses: Vec<SocketAddr>) {
        self.inner
            .add_addresses(peer, addresses.into_iter().take(ADDRESSES_MAX), AddressSource::Gossip);
    }

    fn reset_backoff(&self, peer: MemberId) {
        if let Some(peer) = self.inner.known(peer) {
            peer.reset_backoff();
            self.inner.maintain.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
