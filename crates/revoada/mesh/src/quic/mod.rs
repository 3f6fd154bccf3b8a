//! The mesh over QUIC: one UDP port, one connection a pair of members, mutual proof of keys.

mod accept;
mod dial;
mod hello;
mod join;
mod link;
mod peer;
mod tls;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{Connection, Endpoint, TokioRuntime, TransportConfig, VarInt};
use revoada_core::MemberId;
use revoada_core::env::Clock;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

pub use join::{IncomingJoin, JOIN_BYTES_MAX, JOIN_DEADLINE, connect_join};

use crate::address_book::{AddressBook, AddressSource};
use crate::discovery::{Discovery, DiscoveryConfig};
use crate::error::{BindError, MeshError, Refusal};
use crate::identity::Identity;
use crate::mesh::{GOSSIP_MESSAGE_BYTES_MAX, IncomingStream, Mesh, PeerStatus};
use crate::os;
use crate::stream::{MeshStream, StreamClass};
use crate::trust::{Standing, Trust};
use crate::wire::{ADDRESSES_MAX, Hello, describe};
use dial::Dialler;
use link::{Inbox, Link, LinkFacts};
use peer::{Peer, Reach};

const OPEN_DEADLINE: Duration = Duration::from_secs(3);
const GOSSIP_DEADLINE: Duration = Duration::from_millis(200);
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);
const STREAMS_WAITING_MAX: usize = 256;
const GOSSIP_WAITING_MAX: usize = 256;

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

/// The mesh over QUIC. A cheap handle; [`QuicMesh::shutdown`] ends it.
#[derive(Clone)]
pub struct QuicMesh {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    identity: Identity,
    endpoint: Endpoint,
    local: SocketAddr,
    tls: tls::Tls,
    transport: Arc<TransportConfig>,
    trust: Arc<dyn Trust>,
    clock: Arc<dyn Clock>,
    boot: u64,
    limits: MeshLimits,
    keep_connected: bool,
    book: Mutex<AddressBook>,
    peers: Mutex<BTreeMap<MemberId, Arc<Peer>>>,
    inbox: Inbox,
    streams: tokio::sync::Mutex<mpsc::Receiver<IncomingStream>>,
    gossip: tokio::sync::Mutex<mpsc::Receiver<(MemberId, Bytes)>>,
    joins_in: mpsc::Sender<IncomingJoin>,
    joins: tokio::sync::Mutex<mpsc::Receiver<IncomingJoin>>,
    join_rate: Mutex<join::RateLimit>,
    handshakes: Arc<Semaphore>,
    join_places: Arc<Semaphore>,
    maintain: Notify,
    beacon_wanted: Notify,
    tasks: TaskTracker,
    stop: CancellationToken,
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
            endpoint,
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
        inner.spawn(accept::accept_loop(inner.clone()));
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
    /// longer admitted and dials those who are now.
    pub fn trust_changed(&self) {
        let inner = &self.inner;
        let peers: Vec<Arc<Peer>> = inner.peers.lock().values().cloned().collect();
        for peer in peers {
            if let Err((refusal, reason)) = inner.admission(peer.id) {
                for link in peer.links() {
                    info!(peer = %peer.id.short(), %refusal, "connection closed");
                    link.close(refusal, reason);
                }
                if peer.links().iter().all(|link| !link.is_open()) {
                    inner.peers.lock().remove(&peer.id);
                }
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

    /// Connections that are open at this moment, draining ones included.
    pub fn open_connections(&self) -> usize {
        self.inner.endpoint.open_connections()
    }

    /// Closes all connections with the reason and ends every task. Takes at most a few seconds.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.stop.cancel();
        inner.endpoint.close(
            VarInt::from_u32(Refusal::ShuttingDown.code()),
            b"the member is stopping",
        );
        inner.tasks.close();
        if tokio::time::timeout(SHUTDOWN_DEADLINE, inner.tasks.wait())
            .await
            .is_err()
        {
            warn!(left = inner.tasks.len(), "mesh tasks didn't end in time");
        }
        let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, inner.endpoint.wait_idle()).await;
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

impl Inner {
    pub(crate) fn me(&self) -> MemberId {
        self.identity.id()
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn trust(&self) -> &dyn Trust {
        &*self.trust
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn stopped(&self) -> &CancellationToken {
        &self.stop
    }

    /// Resolves when a beacon is asked for.
    pub(crate) async fn beacon_wanted(&self) {
        self.beacon_wanted.notified().await;
    }

    /// Admitted peers without a connection.
    pub(crate) fn missing_peers(&self) -> BTreeSet<MemberId> {
        let unconnected = |id: &MemberId| self.known(*id).is_none_or(|peer| peer.link().is_none());
        self.trust
            .members()
            .into_iter()
            .filter(|id| self.is_peer(*id) && unconnected(id))
            .collect()
    }

    /// Whether this is another, admitted member.
    pub(crate) fn is_peer(&self, id: MemberId) -> bool {
        id != self.me() && self.trust.standing(id) == Standing::Admitted
    }

    /// A beacon shows that a peer lives: it may be dialled at once, even at addresses that failed before.
    pub(crate) fn heard_beacon(&self, id: MemberId, addresses: Vec<SocketAddr>) {
        self.add_addresses(id, addresses, AddressSource::Beacon);
        if let Some(peer) = self.known(id).filter(|peer| peer.link().is_none()) {
            peer.reset_backoff();
            self.maintain.notify_one();
        }
    }

    pub(crate) fn own_addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = self.trust.hello().addresses;
        if addresses.is_empty() {
            addresses = os::addresses_of(self.local);
        }
        addresses.truncate(ADDRESSES_MAX);
        addresses
    }

    /// Adds hints; a peer that has a new address may be dialled again at once.
    pub(crate) fn add_addresses(
        &self,
        peer: MemberId,
        addresses: impl IntoIterator<Item = SocketAddr>,
        source: AddressSource,
    ) {
        if !self.is_peer(peer) {
            return;
        }
        let now_ms = self.clock.unix_ms();
        let mut news = false;
        {
            let mut book = self.book.lock();
            for address in addresses {
                news |= book.add(peer, address, source, now_ms);
            }
        }
        if news {
            if let Some(peer) = self.known(peer) {
                peer.reset_backoff();
            }
            self.maintain.notify_one();
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    async fn receive<T>(&self, channel: &tokio::sync::Mutex<mpsc::Receiver<T>>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            item = async { channel.lock().await.recv().await } => item,
        }
    }

    fn known(&self, id: MemberId) -> Option<Arc<Peer>> {
        self.peers.lock().get(&id).cloned()
    }

    /// The peer's entry. Made for admitted members only, which bounds their number.
    fn peer(&self, id: MemberId) -> Arc<Peer> {
        self.peers.lock().entry(id).or_insert_with(|| Peer::new(id)).clone()
    }

    /// Whether a connection with `peer` may stand, and if not, what to tell it.
    fn admission(&self, peer: MemberId) -> Result<(), (Refusal, &'static str)> {
        match self.trust.standing(peer) {
            Standing::Admitted => Ok(()),
            Standing::Unknown => Err((Refusal::Unknown, "this key was not admitted to the cluster")),
            Standing::Expelled => Err((Refusal::Expelled, "this key was expelled from the cluster")),
            Standing::Left => Err((Refusal::Left, "this key left the cluster; join again with a new ticket")),
            Standing::Fenced => Err((Refusal::Fenced, "this key belongs to an epoch that was given up")),
        }
    }

    fn hello(&self) -> Hello {
        let mut local = self.trust.hello();
        if local.addresses.is_empty() {
            local.addresses = os::addresses_of(self.local);
        }
        Hello::new(local, self.boot, self.clock.unix_ms())
    }

    fn jitter(&self, peer: MemberId) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&self.boot.to_le_bytes())
            .update(self.me().as_bytes())
            .update(peer.as_bytes());
        hasher.update(&self.clock.unix_ms().to_le_bytes());
        u64::from(hasher.finalize().as_bytes()[0])
    }

    /// The connection to `peer`, dialling if nobody does. The caller bounds the time.
    async fn connect(self: &Arc<Self>, id: MemberId) -> Result<Arc<Link>, MeshError> {
        if self.stop.is_cancelled() {
            return Err(MeshError::Closed);
        }
        if id == self.me() {
            return Err(MeshError::Myself);
        }
        if let Err((refusal, _)) = self.admission(id) {
            return Err(MeshError::NotAdmitted { peer: id, refusal });
        }
        let peer = self.peer(id);
        let (failed_before, _) = peer.failed_dials();
        loop {
            let changed = peer.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match peer.reach(false) {
                Reach::Link(link) => return Ok(link),
                Reach::Backoff { retry_in, last } => {
                    // The one who waited for this very dial gets the plain error.
                    if let (failed, Some(last)) = peer.failed_dials()
                        && failed != failed_before
                    {
                        return Err((*last).clone());
                    }
                    let retry_in_ms = retry_in.as_millis() as u64;
                    return Err(MeshError::Backoff {
                        peer: id,
                        retry_in_ms,
                        last,
                    });
                }
                Reach::Dial => self.start_dial(peer.clone()),
                Reach::Wait => {}
            }
            tokio::select! {
                () = changed => {}
                () = self.stop.cancelled() => return Err(MeshError::Closed),
            }
            // A dial that failed with an already ended back-off must not start another one for this caller.
            if let (failed, Some(last)) = peer.failed_dials()
                && failed != failed_before
                && peer.link().is_none()
            {
                return Err((*last).clone());
            }
        }
    }

    fn start_dial(self: &Arc<Self>, peer: Arc<Peer>) {
        let inner = self.clone();
        self.spawn(async move {
            let result = tokio::select! {
                result = inner.dial(&peer) => result,
                () = inner.stop.cancelled() => Err(MeshError::Closed),
            };
            if let Err(error) = &result {
                debug!(peer = %peer.id.short(), %error, "dial failed");
            }
            peer.dialled(result, inner.jitter(peer.id));
        });
    }

    async fn dial(self: &Arc<Self>, peer: &Arc<Peer>) -> Result<(), MeshError> {
        let mut addresses = self.book.lock().candidates(peer.id);
        addresses.retain(|address| address.is_ipv4() || self.local.is_ipv6());
        if addresses.is_empty() {
            return Err(MeshError::NoAddress { peer: peer.id });
        }
        let dialler = Dialler {
            endpoint: &self.endpoint,
            tls: &self.tls,
            transport: self.transport.clone(),
        };
        let (connection, failures) = dialler.dial(peer.id, &addresses, tls::ALPN_MESH).await;
        for (address, error) in &failures.by_address {
            if matches!(error, MeshError::WrongKey { .. }) {
                self.book.lock().wrong_key(peer.id, *address);
            }
        }
        let Ok(connection) = connection else {
            return Err(failures.into_error(peer.id));
        };
        let ours = self.hello();
        let greeting = hello::greet(hello::Side::Dialler, &connection, peer.id, &ours, &*self.trust);
        let theirs = match tokio::time::timeout(dial::DIAL_DEADLINE, greeting).await {
            Ok(theirs) => theirs?,
            Err(_) => {
                connection.close(VarInt::from_u32(Refusal::Protocol.code()), b"no hello in time");
                let waited_ms = dial::DIAL_DEADLINE.as_millis() as u64;
                return Err(MeshError::Timeout {
                    what: "hello",
                    waited_ms,
                });
            }
        };
        self.establish(peer, connection, theirs, self.me());
        Ok(())
    }

    /// Takes a connection that both sides accepted into use.
    fn establish(self: &Arc<Self>, peer: &Arc<Peer>, connection: Connection, hello: Hello, dialled_by: MemberId) {
        let now_ms = self.clock.unix_ms();
        let remote = connection.remote_address();
        {
            let mut book = self.book.lock();
            for address in &hello.addresses {
                book.add(peer.id, *address, AddressSource::Hello, now_ms);
            }
            // Both sides use one UDP port for all, so that where a peer calls from it can be called as well.
            book.succeeded(peer.id, remote, now_ms);
        }
        let link = Link::new(
            peer.id,
            LinkFacts {
                dialled_by,
                peer_boot: hello.boot,
            },
            connection,
        );
        debug!(peer = %describe(peer.id, &hello), %remote, by_me = dialled_by == self.me(), "connected");
        if let Some(loser) = peer.install(link.clone(), self.me(), now_ms) {
            self.spawn(loser.drain());
        }
        // The standing may have changed during the greeting.
        if let Err((refusal, reason)) = self.admission(peer.id) {
            link.close(refusal, reason);
        }
        let (inner, peer) = (self.clone(), peer.clone());
        self.spawn(async move {
            let ended = link.serve(&inner.inbox, &inner.tasks).await;
            let error = dial::connection_error(peer.id, None, &ended);
            if peer.lost(&link, error, inner.clock.unix_ms()) && !inner.stop.is_cancelled() {
                info!(peer = %peer.id.short(), cause = %ended, "connection lost");
                inner.maintain.notify_one();
            }
        });
    }

    fn status(&self, id: MemberId, now_ms: u64) -> PeerStatus {
        let Some(peer) = self.known(id) else {
            return PeerStatus {
                id,
                connected: false,
                address: None,
                rtt_ms: None,
                last_error: None,
                last_seen: None,
            };
        };
        let state = peer.snapshot();
        let address = state
            .link
            .as_ref()
            .map(|link| link.connection.remote_address())
            .or(state.last_address);
        PeerStatus {
            id,
            connected: state.link.is_some(),
            address: address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port())),
            rtt_ms: state.link.as_ref().map(|link| link.connection.rtt().as_millis() as u64),
            last_error: state
                .last_error
                .filter(|_| state.link.is_none())
                .map(|error| error.to_string()),
            last_seen: if state.link.is_some() {
                Some(now_ms)
            } else {
                state.last_seen_ms
            },
        }
    }
}

/// Keeps a connection to each admitted peer, if asked to, and forgets peers that are no members any more.
async fn maintenance_loop(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.maintain.notified() => {}
            () = tokio::time::sleep(MAINTENANCE_INTERVAL) => {}
        }
        let stale: Vec<MemberId> = {
            let peers = inner.peers.lock();
            peers
                .keys()
                .copied()
                .filter(|id| inner.admission(*id).is_err())
                .collect()
        };
        if !stale.is_empty() {
            inner
                .peers
                .lock()
                .retain(|id, peer| !stale.contains(id) || peer.link().is_some());
        }
        if !inner.keep_connected {
            continue;
        }
        for id in inner.trust.members() {
            if id == inner.me() || inner.admission(id).is_err() || inner.book.lock().entries(id).is_empty() {
                continue;
            }
            let peer = inner.peer(id);
            if let Reach::Dial = peer.reach(true) {
                inner.start_dial(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests;
