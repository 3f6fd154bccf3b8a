//! The mesh over turmoil: what QUIC does in production is played here by simulated TCP (streams) and UDP (gossip,
//! keep-alives, beacons).
//!
//! The rules are those of the real mesh: only admitted keys are served, both sides judge cluster, epoch and clock, a
//! link that is silent for the idle timeout is closed with all its streams, proofs of a newer epoch travel in the
//! greeting. Keys are claimed, not proved: there is no TLS here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use revoada::JoinDialer;
use revoada_core::env::Clock;
use revoada_core::key::SecretKey;
use revoada_core::{ClusterId, MemberId};
use revoada_mesh::{
    CLOCK_SKEW_MS_MAX, GOSSIP_MESSAGE_BYTES_MAX, IncomingJoin, IncomingStream, LocalHello, Mesh, MeshError, MeshStream,
    PeerStatus, Refusal, Standing, StreamClass, Trust,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

use super::host::Cell;
use super::recorder::Recorder;

/// As the real mesh.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_millis(500);
const OPEN_DEADLINE: Duration = Duration::from_millis(2_700);
const GREETING_DEADLINE: Duration = Duration::from_secs(3);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const BEACON: Duration = Duration::from_secs(2);

/// A datagram that was on its way for longer is lost: what a cut link kept back is no use to gossip.
const DATAGRAM_AGE_MAX: Duration = Duration::from_secs(1);

const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Where machines listen, as a multicast beacon would find out.
pub type Neighbourhood = Arc<Mutex<BTreeMap<u16, SocketAddr>>>;

#[derive(Serialize, Deserialize)]
enum Greeting {
    Join {
        from: MemberId,
    },
    Stream {
        from: MemberId,
        class: u8,
        hello: Hello,
        /// Epoch of the link that the caller thinks it has.
        linked: Option<u64>,
    },
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Join {
        me: MemberId,
    },
    Stream {
        me: MemberId,
        hello: Hello,
        refused: Option<(u32, String)>,
        evidence: Vec<u8>,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hello {
    cluster: ClusterId,
    epoch: u64,
    boot: u64,
    unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Datagram {
    from: MemberId,
    boot: u64,
    cluster: ClusterId,
    epoch: u64,
    sent_ms: u64,
    listens: SocketAddr,
    gossip: Option<Vec<u8>>,
}

#[derive(Default)]
struct Peer {
    addresses: Vec<SocketAddr>,
    heard: Option<Instant>,
    boot: u64,
    streams: CancellationToken,
    /// Epoch in which the link was greeted: streams over it are not judged by their epoch again.
    greeted: Option<u64>,
    backoff: Option<(Instant, Duration, String)>,
}

impl Peer {
    /// The link ends, and all its streams.
    fn drop_link(&mut self) {
        self.streams.cancel();
        self.heard = None;
        self.greeted = None;
    }
}

struct Inner {
    me: MemberId,
    machine: u16,
    boot: u64,
    local: SocketAddr,
    trust: Arc<dyn Trust>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    outbox: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    peers: Mutex<BTreeMap<MemberId, Peer>>,
    streams_in: mpsc::Sender<IncomingStream>,
    gossip_in: mpsc::Sender<(MemberId, Bytes)>,
    joins_in: mpsc::Sender<IncomingJoin>,
    neighbourhood: Neighbourhood,
    loss: Arc<AtomicU64>,
    cell: Arc<Cell>,
    stop: CancellationToken,
    stopped: AtomicBool,
}

/// One machine's mesh.
pub struct SimMesh {
    inner: Arc<Inner>,
    streams: tokio::sync::Mutex<mpsc::Receiver<IncomingStream>>,
    gossip: tokio::sync::Mutex<mpsc::Receiver<(MemberId, Bytes)>>,
    joins: tokio::sync::Mutex<mpsc::Receiver<IncomingJoin>>,
}

/// What a mesh is made of.
pub struct SimMeshConfig {
    pub me: MemberId,
    pub machine: u16,
    pub boot: u64,
    pub ip: IpAddr,
    pub port: u16,
    pub trust: Arc<dyn Trust>,
    pub clock: Arc<dyn Clock>,
    pub recorder: Recorder,
    pub neighbourhood: Neighbourhood,
    /// Share of datagrams that are lost, in a thousand.
    pub loss: Arc<AtomicU64>,
    pub cell: Arc<Cell>,
}

impl SimMesh {
    pub async fn bind(config: SimMeshConfig) -> std::io::Result<Arc<Self>> {
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), config.port);
        let listener = TcpListener::bind(any).await?;
        let udp = UdpSocket::bind(any).await?;
        let (streams_in, streams) = mpsc::channel(256);
        let (gossip_in, gossip) = mpsc::channel(256);
        let (joins_in, joins) = mpsc::channel(64);
        let (outbox, outgoing) = mpsc::channel(1024);
        let local = SocketAddr::new(config.ip, config.port);
        config.neighbourhood.lock().insert(config.machine, local);
        let inner = Arc::new(Inner {
            me: config.me,
            machine: config.machine,
            boot: config.boot,
            local,
            trust: config.trust,
            clock: config.clock,
            recorder: config.recorder,
            outbox,
            peers: Mutex::default(),
            streams_in,
            gossip_in,
            joins_in,
            neighbourhood: config.neighbourhood,
            loss: config.loss,
            cell: config.cell,
            stop: CancellationToken::new(),
            stopped: AtomicBool::new(false),
        });
        tokio::spawn(accept_loop(Arc::clone(&inner), listener));
        // Sockets belong to tasks alone: whatever else outlives a crash, they don't.
        tokio::spawn(datagram_loop(Arc::clone(&inner), udp, outgoing));
        tokio::spawn(keep_alive_loop(Arc::clone(&inner)));
        Ok(Arc::new(Self {
            inner,
            streams: tokio::sync::Mutex::new(streams),
            gossip: tokio::sync::Mutex::new(gossip),
            joins: tokio::sync::Mutex::new(joins),
        }))
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    pub async fn join_accept(&self) -> Option<IncomingJoin> {
        self.joins.lock().await.recv().await
    }

    /// The admitted set or the epoch may have changed: links with whoever isn't in it any more end, as do those of
    /// another epoch.
    pub fn trust_changed(&self) {
        let epoch = self.inner.trust.hello().epoch;
        let mut peers = self.inner.peers.lock();
        for (id, peer) in peers.iter_mut() {
            let over = peer.greeted.is_some_and(|greeted| greeted != epoch);
            #[cfg(feature = "mutations")]
            let over = over && !sim_mutation::is("ignore-epoch");
            if over || self.inner.trust.standing(*id) != Standing::Admitted {
                peer.drop_link();
            }
        }
    }

    pub fn shutdown(&self) {
        self.inner.stopped.store(true, Ordering::Release);
        self.inner.stop.cancel();
        self.inner.neighbourhood.lock().remove(&self.inner.machine);
        for peer in self.inner.peers.lock().values() {
            peer.streams.cancel();
        }
    }
}

impl Inner {
    fn hello(&self) -> (Hello, LocalHello) {
        let local = self.trust.hello();
        let hello = Hello {
            cluster: local.cluster,
            epoch: local.epoch,
            boot: self.boot,
            unix_ms: self.clock.unix_ms(),
        };
        (hello, local)
    }

    /// What this side says to the peer's hello, by the order of the real greeting. Over a link that is `linked` the
    /// epochs were compared before.
    fn judge(&self, peer: MemberId, ours: &Hello, theirs: &Hello, linked: bool) -> Result<(), (Refusal, String)> {
        let standing = self.trust.standing(peer);
        let refusal = match standing {
            Standing::Admitted | Standing::Fenced => None,
            Standing::Unknown => Some(Refusal::Unknown),
            Standing::Expelled => Some(Refusal::Expelled),
            Standing::Left => Some(Refusal::Left),
        };
        if let Some(refusal) = refusal {
            return Err((refusal, format!("{refusal}")));
        }
        if theirs.cluster != ours.cluster {
            return Err((Refusal::WrongCluster, "another cluster".into()));
        }
        if ours.unix_ms.abs_diff(theirs.unix_ms) > CLOCK_SKEW_MS_MAX {
            return Err((Refusal::ClockSkew, "the clocks are too far apart".into()));
        }
        if (theirs.epoch != ours.epoch && !linked) || standing == Standing::Fenced {
            return Err((
                Refusal::Fenced,
                format!("the cluster is at epoch {}, you are at {}", ours.epoch, theirs.epoch),
            ));
        }
        Ok(())
    }

    /// A sign of life of an incarnation; streams of an older one are dead.
    fn heard(&self, id: MemberId, boot: u64, listens: Option<SocketAddr>) -> CancellationToken {
        let mut peers = self.peers.lock();
        let peer = peers.entry(id).or_default();
        if boot > peer.boot || peer.streams.is_cancelled() {
            peer.drop_link();
            peer.streams = self.stop.child_token();
            peer.boot = peer.boot.max(boot);
        }
        if boot == peer.boot {
            peer.heard = Some(Instant::now());
            if let Some(address) = listens {
                peer.addresses.retain(|known| *known != address);
                peer.addresses.insert(0, address);
                peer.addresses.truncate(8);
                peer.backoff = None;
            }
        }
        peer.streams.clone()
    }

    /// A link on which a stream was accepted.
    fn greeted(&self, id: MemberId, theirs: &Hello) -> CancellationToken {
        let streams = self.heard(id, theirs.boot, None);
        if let Some(peer) = self.peers.lock().get_mut(&id) {
            peer.greeted.get_or_insert(theirs.epoch);
        }
        streams
    }

    fn members(&self) -> Vec<MemberId> {
        let members = self.trust.members();
        members.into_iter().filter(|id| *id != self.me).collect()
    }

    fn datagram(&self, to: SocketAddr, gossip: Option<Vec<u8>>) {
        let loss = self.loss.load(Ordering::Relaxed);
        if loss > 0 {
            let mut draw = [0; 2];
            getrandom::fill(&mut draw).expect("the simulated source never fails");
            if u64::from(u16::from_le_bytes(draw)) % 1000 < loss {
                return;
            }
        }
        let hello = self.trust.hello();
        let datagram = Datagram {
            from: self.me,
            boot: self.boot,
            cluster: hello.cluster,
            epoch: hello.epoch,
            sent_ms: self.recorder.now_ms(),
            listens: self.local,
            gossip,
        };
        if let Ok(raw) = postcard::to_stdvec(&datagram) {
            // Datagrams may be lost anywhere.
            let _ = self.outbox.try_send((to, raw));
        }
    }

    async fn connect(&self, peer: MemberId, class: StreamClass) -> Result<MeshStream, MeshError> {
        let lost = |cause: String| MeshError::Lost { peer, cause };
        let (addresses, linked) = {
            let mut peers = self.peers.lock();
            let known = peers.entry(peer).or_default();
            if let Some((at, pause, last)) = &known.backoff
                && at.elapsed() < *pause
            {
                return Err(MeshError::Backoff {
                    peer,
                    retry_in_ms: (*pause - at.elapsed()).as_millis() as u64,
                    last: Arc::new(lost(last.clone())),
                });
            }
            (known.addresses.clone(), known.greeted)
        };
        if addresses.is_empty() {
            return Err(MeshError::NoAddress { peer });
        }
        let (ours, _) = self.hello();
        let mut last = String::from("no address answered");
        for address in addresses {
            let mut stream = match TcpStream::connect(address).await {
                Ok(stream) => stream,
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            };
            let greeting = Greeting::Stream {
                from: self.me,
                class: class.to_byte(),
                hello: ours.clone(),
                linked,
            };
            write_frame(&mut stream, &greeting)
                .await
                .map_err(|error| lost(error.to_string()))?;
            let answer: Answer = read_frame(&mut stream).await.map_err(|error| lost(error.to_string()))?;
            let Answer::Stream {
                me,
                hello,
                refused,
                evidence,
            } = answer
            else {
                return Err(lost("an answer to another question".into()));
            };
            if me != peer {
                last = format!("{address} belongs to {} now", me.short());
                continue;
            }
            if let Some((code, reason)) = refused {
                let refusal = Refusal::from_code(u64::from(code)).unwrap_or(Refusal::Protocol);
                self.peers.lock().entry(peer).or_default().drop_link();
                if refusal == Refusal::Fenced && hello.epoch > ours.epoch {
                    self.trust.on_evidence(peer, hello.epoch, evidence.into());
                }
                return Err(MeshError::Refused { peer, refusal, reason });
            }
            if let Err((refusal, reason)) = self.judge(peer, &ours, &hello, linked.is_some()) {
                return Err(MeshError::Refused { peer, refusal, reason });
            }
            let streams = self.greeted(peer, &hello);
            return Ok(pump(stream, streams));
        }
        Err(lost(last))
    }
}

/// Couples a TCP stream to a mesh stream that ends, with an error, when the link does.
fn pump(mut tcp: TcpStream, link: CancellationToken) -> MeshStream {
    let (near, mut far) = tokio::io::duplex(256 * 1024);
    tokio::spawn(async move {
        tokio::select! {
            // Either end may break it; both see the end.
            _ = tokio::io::copy_bidirectional(&mut tcp, &mut far) => {}
            () = link.cancelled() => {}
        }
    });
    MeshStream::new(near)
}

async fn write_frame<T: Serialize>(stream: &mut TcpStream, value: &T) -> std::io::Result<()> {
    let raw = postcard::to_stdvec(value).map_err(std::io::Error::other)?;
    stream.write_all(&(raw.len() as u32).to_le_bytes()).await?;
    stream.write_all(&raw).await
}

async fn read_frame<T: serde::de::DeserializeOwned>(stream: &mut TcpStream) -> std::io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(std::io::Error::other("a frame too large"));
    }
    let mut raw = vec![0; length];
    stream.read_exact(&mut raw).await?;
    postcard::from_bytes(&raw).map_err(std::io::Error::other)
}

async fn accept_loop(inner: Arc<Inner>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = inner.stop.cancelled() => return,
        };
        let Ok((stream, remote)) = accepted else { continue };
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            // A greeting that doesn't come costs nobody but its sender.
            let _ = tokio::time::timeout(GREETING_DEADLINE, serve(inner, stream, remote)).await;
        });
    }
}

async fn serve(inner: Arc<Inner>, mut stream: TcpStream, remote: SocketAddr) -> std::io::Result<()> {
    match read_frame(&mut stream).await? {
        Greeting::Join { from } => {
            write_frame(&mut stream, &Answer::Join { me: inner.me }).await?;
            let join = IncomingJoin {
                peer: from,
                remote,
                stream: pump(stream, inner.stop.clone()),
            };
            inner
                .joins_in
                .send(join)
                .await
                .map_err(|_| std::io::Error::other("the member stopped"))
        }
        Greeting::Stream {
            from,
            class,
            hello,
            linked,
        } => {
            let (ours, _) = inner.hello();
            let own = inner.peers.lock().get(&from).and_then(|peer| peer.greeted);
            let linked = linked.is_some() && linked == own;
            let class = StreamClass::from_byte(class);
            let judged = match class {
                Some(class) => inner.judge(from, &ours, &hello, linked).map(|()| class),
                None => Err((Refusal::Protocol, "no such class".into())),
            };
            let (refused, evidence) = match &judged {
                Ok(_) => (None, Vec::new()),
                Err((refusal, reason)) => {
                    let proves = *refusal == Refusal::Fenced && ours.epoch >= hello.epoch;
                    let evidence = if proves {
                        inner.trust.evidence().to_vec()
                    } else {
                        Vec::new()
                    };
                    (Some((refusal.code(), reason.clone())), evidence)
                }
            };
            let answer = Answer::Stream {
                me: inner.me,
                hello: ours,
                refused,
                evidence,
            };
            write_frame(&mut stream, &answer).await?;
            match judged {
                Ok(class) => {
                    inner.recorder.served(inner.machine, from);
                    let link = inner.greeted(from, &hello);
                    let incoming = IncomingStream {
                        peer: from,
                        class,
                        stream: pump(stream, link),
                    };
                    inner
                        .streams_in
                        .send(incoming)
                        .await
                        .map_err(|_| std::io::Error::other("the member stopped"))
                }
                Err((refusal, _)) => {
                    inner.recorder.turned_away(inner.machine, from, refusal);
                    if refusal == Refusal::Unknown {
                        inner.trust.on_unknown(from);
                    }
                    // The answer is read before the end is seen.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Ok(())
                }
            }
        }
    }
}

async fn datagram_loop(inner: Arc<Inner>, udp: UdpSocket, mut outgoing: mpsc::Receiver<(SocketAddr, Vec<u8>)>) {
    let mut buffer = vec![0; GOSSIP_MESSAGE_BYTES_MAX + 4096];
    loop {
        let received = tokio::select! {
            received = udp.recv_from(&mut buffer) => received,
            Some((to, raw)) = outgoing.recv() => {
                let _ = udp.send_to(&raw, to).await;
                continue;
            }
            () = inner.stop.cancelled() => return,
        };
        let Ok((length, _)) = received else { continue };
        let Ok(datagram) = postcard::from_bytes::<Datagram>(&buffer[..length]) else {
            continue;
        };
        let age = inner.recorder.now_ms().saturating_sub(datagram.sent_ms);
        let hello = inner.trust.hello();
        if age > DATAGRAM_AGE_MAX.as_millis() as u64 || datagram.cluster != hello.cluster {
            continue;
        }
        match inner.trust.standing(datagram.from) {
            Standing::Admitted => {}
            Standing::Unknown => {
                inner.trust.on_unknown(datagram.from);
                continue;
            }
            _ => continue,
        }
        if datagram.epoch != hello.epoch {
            // No link, but an address: the greeting of a stream carries the proof.
            let mut peers = inner.peers.lock();
            let peer = peers.entry(datagram.from).or_default();
            if !peer.addresses.contains(&datagram.listens) {
                peer.addresses.insert(0, datagram.listens);
            }
            continue;
        }
        inner.heard(datagram.from, datagram.boot, Some(datagram.listens));
        if let Some(gossip) = datagram.gossip {
            inner.recorder.served(inner.machine, datagram.from);
            // Full: lost, as a datagram may be.
            let _ = inner.gossip_in.try_send((datagram.from, gossip.into()));
        }
    }
}

/// Keeps links alive, closes silent ones, and shows itself to the neighbourhood.
async fn keep_alive_loop(inner: Arc<Inner>) {
    let mut beacon = Instant::now();
    loop {
        let cut = std::mem::take(&mut *inner.cell.cut.lock());
        for other in cut {
            let address = inner.neighbourhood.lock().get(&other).copied();
            for peer in inner.peers.lock().values_mut() {
                if peer.addresses.first().copied() == address {
                    peer.drop_link();
                }
            }
        }
        for id in inner.members() {
            let address = {
                let mut peers = inner.peers.lock();
                let peer = peers.entry(id).or_default();
                if peer.heard.is_some_and(|at| at.elapsed() > IDLE_TIMEOUT) {
                    peer.drop_link();
                }
                peer.addresses.first().copied()
            };
            if let Some(address) = address {
                inner.datagram(address, None);
            }
        }
        if beacon <= Instant::now() {
            beacon = Instant::now() + BEACON;
            let everyone: Vec<SocketAddr> = inner.neighbourhood.lock().values().copied().collect();
            for address in everyone.into_iter().filter(|address| *address != inner.local) {
                inner.datagram(address, None);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(KEEP_ALIVE) => {}
            () = inner.stop.cancelled() => return,
        }
    }
}

#[async_trait]
impl Mesh for SimMesh {
    fn me(&self) -> MemberId {
        self.inner.me
    }

    async fn open(&self, peer: MemberId, class: StreamClass) -> Result<MeshStream, MeshError> {
        let inner = &self.inner;
        if inner.stopped.load(Ordering::Acquire) {
            return Err(MeshError::Closed);
        }
        if peer == inner.me {
            return Err(MeshError::Myself);
        }
        let refusal = match inner.trust.standing(peer) {
            Standing::Admitted => None,
            Standing::Unknown => Some(Refusal::Unknown),
            Standing::Expelled => Some(Refusal::Expelled),
            Standing::Left => Some(Refusal::Left),
            // It is told so, with the proof, when it dials.
            Standing::Fenced => Some(Refusal::Fenced),
        };
        if let Some(refusal) = refusal {
            return Err(MeshError::NotAdmitted { peer, refusal });
        }
        let result = match tokio::time::timeout(OPEN_DEADLINE, inner.connect(peer, class)).await {
            Ok(result) => result,
            Err(_) => Err(MeshError::Timeout {
                what: "answer",
                waited_ms: OPEN_DEADLINE.as_millis() as u64,
            }),
        };
        let mut peers = inner.peers.lock();
        let known = peers.entry(peer).or_default();
        match &result {
            Ok(_) => known.backoff = None,
            Err(MeshError::Backoff { .. }) => {}
            Err(error) => {
                let pause = known
                    .backoff
                    .as_ref()
                    .map_or(BACKOFF_MIN, |(_, pause, _)| (*pause * 2).min(BACKOFF_MAX));
                known.backoff = Some((Instant::now(), pause, error.to_string()));
            }
        }
        result
    }

    async fn accept(&self) -> Option<IncomingStream> {
        let mut streams = self.streams.lock().await;
        tokio::select! {
            incoming = streams.recv() => incoming,
            () = self.inner.stop.cancelled() => None,
        }
    }

    async fn gossip_send(&self, peer: MemberId, message: Bytes) -> Result<(), MeshError> {
        if self.inner.trust.standing(peer) != Standing::Admitted {
            return Err(MeshError::NotAdmitted {
                peer,
                refusal: Refusal::Unknown,
            });
        }
        let address = {
            let peers = self.inner.peers.lock();
            peers.get(&peer).and_then(|known| known.addresses.first().copied())
        };
        let address = address.ok_or(MeshError::NoAddress { peer })?;
        self.inner.datagram(address, Some(message.to_vec()));
        Ok(())
    }

    async fn gossip_recv(&self) -> Option<(MemberId, Bytes)> {
        let mut gossip = self.gossip.lock().await;
        tokio::select! {
            message = gossip.recv() => message,
            () = self.inner.stop.cancelled() => None,
        }
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let peers = self.inner.peers.lock();
        self.inner
            .members()
            .into_iter()
            .map(|id| {
                let known = peers.get(&id);
                PeerStatus {
                    id,
                    connected: known.is_some_and(|known| known.heard.is_some()),
                    address: known.and_then(|known| known.addresses.first().copied()),
                    rtt_ms: known.and_then(|known| known.heard).map(|_| 1),
                    last_error: known
                        .and_then(|known| known.backoff.as_ref())
                        .map(|(_, _, error)| error.clone()),
                    last_seen: None,
                }
            })
            .collect()
    }

    fn update_addresses(&self, peer: MemberId, addresses: Vec<SocketAddr>) {
        let mut peers = self.inner.peers.lock();
        let known = peers.entry(peer).or_default();
        for address in addresses {
            if !known.addresses.contains(&address) {
                known.addresses.push(address);
            }
        }
        known.addresses.truncate(8);
    }

    fn reset_backoff(&self, peer: MemberId) {
        if let Some(known) = self.inner.peers.lock().get_mut(&peer) {
            known.backoff = None;
        }
    }
}

/// Dials a join stream.
pub struct SimJoinDialer;

#[async_trait]
impl JoinDialer for SimJoinDialer {
    async fn dial(&self, address: &str, key: &SecretKey) -> Result<(MemberId, MeshStream), String> {
        let address: SocketAddr = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let dialling = async {
            let mut stream = TcpStream::connect(address).await?;
            write_frame(&mut stream, &Greeting::Join { from: key.member_id() }).await?;
            match read_frame(&mut stream).await? {
                Answer::Join { me } => Ok((me, pump(stream, CancellationToken::new()))),
                Answer::Stream { .. } => Err(std::io::Error::other("an answer to another question")),
            }
        };
        match tokio::time::timeout(GREETING_DEADLINE, dialling).await {
            Ok(Ok(joined)) => Ok(joined),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!("{address}: no answer")),
        }
    }
}
