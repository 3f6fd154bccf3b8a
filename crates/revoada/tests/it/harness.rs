//! A member with everything real but the engine.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use revoada::quic::{QuicJoinDialer, serve_joins};
use revoada::{
    Announcement, ApplicationFactory, CallHandler, JoinIntent, Known, Member, MemberOptions, MemberTrust, NameWish,
    Start, Status, Timing, join,
};
use revoada_core::chain::Genesis;
use revoada_core::consensus::{Application, ApplicationImage, Consensus, LogPosition, ProposeError};
use revoada_core::env::{Clock, Entropy};
use revoada_core::key::SecretKey;
use revoada_core::policy::Policy;
use revoada_core::ticket::Ticket;
use revoada_core::{Hash32, MemberId};
use revoada_mesh::{DiscoveryConfig, Identity, Mesh, MeshConfig, QuicMesh};

pub const VERSION: &str = "0.1.0";

/// The replicated list.
#[derive(Default)]
pub struct List(Mutex<Vec<Vec<u8>>>);

impl Application for List {
    fn apply(&self, _: LogPosition, payload: &[u8]) -> Bytes {
        let mut list = self.0.lock();
        list.push(payload.to_vec());
        Bytes::from(list.len().to_string())
    }

    fn applied(&self, _: u64) {}

    fn image(&self) -> Box<dyn ApplicationImage> {
        Box::new(Image(self.0.lock().clone()))
    }

    fn restore(&self, _: u64, input: &mut dyn Read) -> std::io::Result<()> {
        let mut raw = Vec::new();
        input.read_to_end(&mut raw)?;
        *self.0.lock() = serde_json::from_slice(&raw)?;
        Ok(())
    }
}

struct Image(Vec<Vec<u8>>);

impl ApplicationImage for Image {
    fn write(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&serde_json::to_vec(&self.0)?)
    }
}

#[derive(Default)]
pub struct Lists(Mutex<Option<Arc<List>>>);

impl ApplicationFactory for Lists {
    fn open(&self, _: &Path) -> std::io::Result<Arc<dyn Application>> {
        let list = Arc::new(List::default());
        *self.0.lock() = Some(Arc::clone(&list));
        Ok(list)
    }

    fn close(&self) {
        *self.0.lock() = None;
    }
}

struct NoCalls;

#[async_trait::async_trait]
impl CallHandler for NoCalls {
    async fn call(&self, _: MemberId, method: &str, _: Bytes) -> Result<Bytes, String> {
        Err(format!("no method {method}"))
    }
}

struct OsClock;

impl Clock for OsClock {
    fn unix_ms(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64
    }
}

struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn fill(&self, out: &mut [u8]) {
        let seed = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new_derive_key("test entropy")
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(out);
    }
}

pub struct Node {
    root: std::path::PathBuf,
    pub member: Member,
    pub mesh: Arc<QuicMesh>,
    pub lists: Arc<Lists>,
    pub key: SecretKey,
    pub name: String,
}

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

fn boot() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
}

impl Node {
    pub async fn found(root: &Path, n: u8) -> Self {
        let key = key(n);
        let genesis = Genesis {
            founder: key.member_id(),
            founder_name: format!("n{n}"),
            created_ms: OsClock.unix_ms(),
            salt: Hash32([n; 32]),
        };
        let known = Known::founding(&genesis).unwrap();
        Self::start(root, n, known, Start::Found(genesis), Vec::new(), "127.0.0.1:0").await
    }

    pub async fn join(root: &Path, n: u8, ticket: &Ticket) -> Result<Self, revoada::JoinError> {
        let intent = JoinIntent {
            ticket: ticket.clone(),
            name: NameWish {
                name: format!("n{n}"),
                is_explicit: true,
            },
            witness: false,
            version: VERSION.into(),
        };
        let joined = join(&QuicJoinDialer, &key(n), &intent, &OsClock).await?;
        Ok(Self::start(
            root,
            n,
            joined.known.clone(),
            Start::Continue(joined.known),
            joined.peers,
            "127.0.0.1:0",
        )
        .await)
    }

    /// Starts again from its own files, at another address.
    pub async fn restart(root: &Path, n: u8, listen: &str, peers: Vec<(MemberId, Vec<SocketAddr>)>) -> Self {
        let (known, fenced) = MemberTrust::load(&revoada_log::OsDisk, &root.join(format!("n{n}/member.bin")))
            .unwrap()
            .unwrap();
        assert_eq!(fenced, None);
        Self::start(root, n, known.clone(), Start::Continue(known), peers, listen).await
    }

    async fn start(
        root: &Path,
        n: u8,
        known: Known,
        start: Start,
        peers: Vec<(MemberId, Vec<SocketAddr>)>,
        listen: &str,
    ) -> Self {
        let dir = root.join(format!("n{n}"));
        let key = key(n);
        let name = format!("n{n}");
        let trust = Arc::new(MemberTrust::new(
            key.member_id(),
            Arc::new(revoada_log::OsDisk),
            &dir.join("member.bin"),
            known,
            VERSION,
            &name,
        ));
        let boot = boot();
        let identity = Identity::from_secret(key.expose_bytes());
        let mut config = MeshConfig::new(
            identity,
            listen.parse().unwrap(),
            trust.clone(),
            Arc::new(OsClock),
            boot,
        );
        config.discovery = Some(DiscoveryConfig {
            loopback_only: true,
            ..DiscoveryConfig::default()
        });
        let mesh = Arc::new(QuicMesh::bind(config).unwrap());
        for (id, addresses) in peers {
            mesh.update_addresses(id, addresses);
        }
        let lists = Arc::new(Lists::default());
        let hook = mesh.clone();
        let options = MemberOptions {
            key: key.clone(),
            dir: dir.clone(),
            announcement: Announcement {
                name: name.clone(),
                addresses: mesh.own_addresses(),
                version: VERSION.into(),
                ..Default::default()
            },
            timing: Timing::default(),
            policy: Policy::default(),
            disk: Arc::new(revoada_log::OsDisk),
            log: revoada_log::LogOptions::default(),
            clock: Arc::new(OsClock),
            entropy: Arc::new(CountingEntropy(AtomicU64::new(u64::from(n) << 32))),
            application: lists.clone(),
            calls: Arc::new(NoCalls),
            trust_changed: Arc::new(move || hook.trust_changed()),
        };
        let member = Member::start(options, start, mesh.clone(), trust, boot).await.unwrap();
        serve_joins(&member, mesh.clone(), VERSION);
        Node {
            root: root.to_path_buf(),
            member,
            mesh,
            lists,
            key,
            name,
        }
    }

    pub async fn put(&self, text: &str) -> Result<String, ProposeError> {
        let applied = self
            .member
            .consensus()
            .propose(Bytes::from(text.to_owned()), None, Duration::from_secs(10))
            .await?;
        Ok(String::from_utf8_lossy(&applied.response).into_owned())
    }

    /// The list as this replica has it after a linearizable read.
    pub async fn list(&self) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            // A handle is good for the replica that was open when it was made; a role change may open another.
            match self.member.consensus().read_index(Duration::from_secs(10)).await {
                Ok(_) => return self.local_list().unwrap(),
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{}: {error}", self.name),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn local_list(&self) -> Option<Vec<String>> {
        let list = self.lists.0.lock().clone()?;
        let list = list.0.lock();
        Some(
            list.iter()
                .map(|item| String::from_utf8_lossy(item).into_owned())
                .collect(),
        )
    }

    pub async fn ticket(&self) -> Ticket {
        self.member
            .issue_ticket(OsClock.unix_ms() + 60_000, 10, false)
            .await
            .unwrap()
    }

    pub fn dir_of_epoch(&self, epoch: u64) -> std::path::PathBuf {
        self.root.join(&self.name).join(format!("raft/epoch-{epoch}"))
    }

    pub fn address(&self) -> (MemberId, Vec<SocketAddr>) {
        (self.key.member_id(), self.mesh.own_addresses())
    }

    /// Stops without a word to anyone.
    pub async fn kill(self) {
        self.mesh.shutdown().await;
        self.member.shutdown().await;
    }
}

/// Waits until `done` holds for the status, or fails showing the last one.
pub async fn wait(node: &Node, what: &str, mut done: impl FnMut(&Status) -> bool) -> Status {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let status = node.member.status();
        if done(&status) {
            return status;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}: not reached: {what}: {status:#?}",
            node.name
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
