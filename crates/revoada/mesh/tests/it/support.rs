//! Members with real sockets on loopback, and a trust that tests can change.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use revoada_core::env::Clock;
use revoada_core::{ClusterId, MemberId};
use revoada_mesh::{
    AddressSource, BindError, DiscoveryConfig, Identity, LocalHello, Mesh, MeshConfig, MeshStream, QuicMesh, Standing,
    Trust,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const DEADLINE: Duration = Duration::from_secs(8);

pub fn identity(n: u8) -> Identity {
    Identity::from_secret(&[n; 32])
}

/// Waits for a state.
pub async fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !state() {
        assert!(started.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Bounds a wait.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"))
}

#[derive(Default)]
pub struct TestTrust {
    pub standings: Mutex<BTreeMap<MemberId, Standing>>,
    pub cluster: Mutex<ClusterId>,
    pub epoch: AtomicU64,
    pub evidence: Mutex<Vec<(MemberId, u64, Bytes)>>,
    pub unknown: Mutex<Vec<MemberId>>,
}

impl TestTrust {
    pub fn set(&self, member: MemberId, standing: Standing) {
        self.standings.lock().insert(member, standing);
    }
}

impl Trust for TestTrust {
    fn standing(&self, member: MemberId) -> Standing {
        self.standings.lock().get(&member).copied().unwrap_or(Standing::Unknown)
    }

    fn members(&self) -> Vec<MemberId> {
        let standings = self.standings.lock();
        standings
            .iter()
            .filter(|(_, s)| **s == Standing::Admitted)
            .map(|(id, _)| *id)
            .collect()
    }

    fn hello(&self) -> LocalHello {
        LocalHello {
            cluster: *self.cluster.lock(),
            epoch: self.epoch.load(Ordering::Relaxed),
            name: "member".into(),
            version: "0".into(),
            addresses: vec![],
        }
    }

    fn evidence(&self) -> Bytes {
        Bytes::from_static(b"proof")
    }

    fn on_evidence(&self, peer: MemberId, epoch: u64, evidence: Bytes) {
        self.evidence.lock().push((peer, epoch, evidence));
    }

    fn on_unknown(&self, peer: MemberId) {
        self.unknown.lock().push(peer);
    }
}

#[derive(Default)]
pub struct TestClock(pub AtomicI64);

impl Clock for TestClock {
    fn unix_ms(&self) -> u64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        (real + self.0.load(Ordering::Relaxed)) as u64
    }
}

pub struct Member {
    pub mesh: QuicMesh,
    pub trust: Arc<TestTrust>,
    pub clock: Arc<TestClock>,
}

impl Member {
    pub fn id(&self) -> MemberId {
        self.mesh.me()
    }

    pub fn knows(&self, other: &Member) {
        self.mesh
            .add_address(other.id(), other.mesh.local_addr(), AddressSource::Given);
    }

    pub fn connected(&self, other: MemberId) -> bool {
        self.mesh.peers().iter().any(|peer| peer.id == other && peer.connected)
    }

    pub fn last_error(&self, other: MemberId) -> String {
        let peers = self.mesh.peers();
        peers
            .iter()
            .find(|peer| peer.id == other)
            .and_then(|peer| peer.last_error.clone())
            .unwrap_or_default()
    }
}

pub struct Options {
    pub secret: u8,
    pub listen: &'static str,
    pub listen_at: Option<SocketAddr>,
    pub members: Vec<u8>,
    pub keep_connected: bool,
    pub discovery: Option<DiscoveryConfig>,
    pub boot: u64,
}

impl Options {
    pub fn new(secret: u8, members: &[u8]) -> Self {
        Self {
            secret,
            listen: "127.0.0.1:0",
            listen_at: None,
            members: members.to_vec(),
            keep_connected: false,
            discovery: None,
            boot: u64::from(secret),
        }
    }

    pub fn start(self) -> Member {
        self.try_start().unwrap()
    }

    /// Waits for another process to give up the port.
    pub async fn start_when_free(self) -> Member {
        let started = std::time::Instant::now();
        loop {
            match self.try_start() {
                Ok(member) => return member,
                Err(error) => assert!(started.elapsed() < DEADLINE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn try_start(&self) -> Result<Member, BindError> {
        let trust = Arc::new(TestTrust::default());
        for n in &self.members {
            trust.set(identity(*n).id(), Standing::Admitted);
        }
        let clock = Arc::new(TestClock::default());
        let listen = self.listen_at.unwrap_or_else(|| self.listen.parse().unwrap());
        let mut config = MeshConfig::new(identity(self.secret), listen, trust.clone(), clock.clone(), self.boot);
        config.keep_connected = self.keep_connected;
        config.discovery = self.discovery.clone();
        Ok(Member {
            mesh: QuicMesh::bind(config)?,
            trust,
            clock,
        })
    }
}

/// Two members that know each other's addresses.
pub fn pair() -> (Member, Member) {
    let (a, b) = (Options::new(1, &[1, 2]).start(), Options::new(2, &[1, 2]).start());
    a.knows(&b);
    b.knows(&a);
    (a, b)
}

/// Answers each stream with what it says, reversed.
pub fn echo(member: &Member) {
    let mesh = member.mesh.clone();
    tokio::spawn(async move {
        while let Some(mut incoming) = mesh.accept().await {
            tokio::spawn(async move {
                let mut text = Vec::new();
                if incoming.stream.read_to_end(&mut text).await.is_ok() {
                    text.reverse();
                    let _ = incoming.stream.write_all(&text).await;
                    let _ = incoming.stream.shutdown().await;
                }
            });
        }
    });
}

pub async fn ask(mut stream: MeshStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
