//! The state behind the handle: peers, addresses, and how a connection comes into use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quinn::{Connection, Endpoint, TransportConfig, VarInt};
use revoada_core::MemberId;
use revoada_core::env::Clock;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::config::MeshLimits;
use super::dial::{self, Dialler};
use super::hello::{self, Side};
use super::join::{IncomingJoin, RateLimit};
use super::link::{Inbox, Link, LinkFacts};
use super::peer::{Peer, Reach};
use super::{tls, transport};
use crate::address_book::{AddressBook, AddressSource};
use crate::error::{MeshError, Refusal};
use crate::identity::Identity;
use crate::mesh::{IncomingStream, PeerStatus};
use crate::os;
use crate::trust::{Standing, Trust};
use crate::wire::{ADDRESSES_MAX, Hello, describe};

/// How often one dial starts anew because the peer got a new address.
const RESTARTS_MAX: u32 = 4;
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct Inner {
    pub(super) identity: Identity,
    pub(super) endpoint: RwLock<Option<Endpoint>>,
    pub(super) local: SocketAddr,
    pub(super) tls: tls::Tls,
    pub(super) transport: Arc<TransportConfig>,
    pub(super) trust: Arc<dyn Trust>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) boot: u64,
    pub(super) limits: MeshLimits,
    pub(super) keep_connected: bool,
    pub(super) book: Mutex<AddressBook>,
    pub(super) peers: Mutex<BTreeMap<MemberId, Arc<Peer>>>,
    pub(super) inbox: Inbox,
    pub(super) streams: tokio::sync::Mutex<mpsc::Receiver<IncomingStream>>,
    pub(super) gossip: tokio::sync::Mutex<mpsc::Receiver<(MemberId, Bytes)>>,
    pub(super) joins_in: mpsc::Sender<IncomingJoin>,
    pub(super) joins: tokio::sync::Mutex<mpsc::Receiver<IncomingJoin>>,
    pub(super) join_rate: Mutex<RateLimit>,
    pub(super) handshakes: Arc<Semaphore>,
    pub(super) join_places: Arc<Semaphore>,
    pub(super) maintain: Notify,
    pub(super) beacon_wanted: Notify,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
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
                peer.has_new_address();
            }
            self.maintain.notify_one();
        }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(super) async fn receive<T>(&self, channel: &tokio::sync::Mutex<mpsc::Receiver<T>>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            item = async { channel.lock().await.recv().await } => item,
        }
    }

    pub(super) fn known(&self, id: MemberId) -> Option<Arc<Peer>> {
        self.peers.lock().get(&id).cloned()
    }

    /// The peer's entry. Made for admitted members only, which bounds their number.
    pub(super) fn peer(&self, id: MemberId) -> Arc<Peer> {
        self.peers.lock().entry(id).or_insert_with(|| Peer::new(id)).clone()
    }

    /// Whether a connection with `peer` may stand, and if not, what to tell it.
    pub(super) fn admission(&self, peer: MemberId) -> Result<(), (Refusal, &'static str)> {
        match self.trust.standing(peer) {
            Standing::Admitted => Ok(()),
            Standing::Unknown => Err((Refusal::Unknown, "this key was not admitted to the cluster")),
            Standing::Expelled => Err((Refusal::Expelled, "this key was expelled from the cluster")),
            Standing::Left => Err((Refusal::Left, "this key left the cluster; join again with a new ticket")),
            Standing::Fenced => Err((Refusal::Fenced, "this key belongs to an epoch that was given up")),
        }
    }

    pub(super) fn hello(&self) -> Hello {
        let mut local = self.trust.hello();
        if local.addresses.is_empty() {
            local.addresses = os::addresses_of(self.local);
        }
        Hello::new(local, self.boot, self.clock.unix_ms())
    }

    pub(super) fn jitter(&self, peer: MemberId) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&self.boot.to_le_bytes())
            .update(self.me().as_bytes())
            .update(peer.as_bytes());
        hasher.update(&self.clock.unix_ms().to_le_bytes());
        u64::from(hasher.finalize().as_bytes()[0])
    }

    /// The connection to `peer`, dialling if nobody does. The caller bounds the time.
    pub(super) async fn connect(self: &Arc<Self>, id: MemberId) -> Result<Arc<Link>, MeshError> {
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

    pub(super) fn start_dial(self: &Arc<Self>, peer: Arc<Peer>) {
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

    pub(super) async fn dial(self: &Arc<Self>, peer: &Arc<Peer>) -> Result<(), MeshError> {
        let Some(endpoint) = self.endpoint.read().clone() else {
            return Err(MeshError::Closed);
        };
        let dialler = Dialler {
            endpoint: &endpoint,
            tls: &self.tls,
            transport: self.transport.clone(),
        };
        let mut restarts = 0;
        let (connection, failures) = loop {
            let mut addresses = self.book.lock().candidates(peer.id);
            addresses.retain(|address| address.is_ipv4() || self.local.is_ipv6());
            if addresses.is_empty() {
                return Err(MeshError::NoAddress { peer: peer.id });
            }
            // A peer that moved is not kept waiting by attempts at where it was.
            tokio::select! {
                dialled = dialler.dial(peer.id, &addresses, tls::ALPN_MESH) => break dialled,
                () = peer.new_address(), if restarts < RESTARTS_MAX => restarts += 1,
            }
        };
        for (address, error) in &failures.by_address {
            if matches!(error, MeshError::WrongKey { .. }) {
                self.book.lock().wrong_key(peer.id, *address);
            }
        }
        let Ok(connection) = connection else {
            return Err(failures.into_error(peer.id));
        };
        let ours = self.hello();
        let greeting = hello::greet(Side::Dialler, &connection, peer.id, &ours, &*self.trust);
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
    pub(super) fn establish(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        connection: Connection,
        hello: Hello,
        dialled_by: MemberId,
    ) {
        transport::widen(&connection, &self.limits);
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
            hello.epoch,
            connection,
        );
        debug!(peer = %describe(peer.id, &hello), %remote, by_me = dialled_by == self.me(), "connected");
        if let Some(loser) = peer.install(link.clone(), self.me(), now_ms) {
            self.spawn(loser.drain());
        }
        // The standing or the epoch may have changed during the greeting.
        if let Err((refusal, reason)) = self.admission(peer.id) {
            link.close(refusal, reason);
        }
        link.close_unless_of(self.trust.hello().epoch);
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

    pub(super) fn status(&self, id: MemberId, now_ms: u64) -> PeerStatus {
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
pub(super) async fn maintenance_loop(inner: Arc<Inner>) {
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
