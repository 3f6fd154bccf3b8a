//! A whole member: it gossips, holds a replica while it is in the Raft configuration, leads when elected,
//! and gives the layer above consensus from wherever it stands.

mod admin;
mod join;
mod leader;
mod propose;
mod read;
mod recover;
mod seal;
mod service;
mod status;
mod supervisor;
mod sync;
pub(crate) mod trust;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use revoada_core::chain::Genesis;
use revoada_core::consensus::Application;
use revoada_core::env::{Clock, Entropy};
use revoada_core::key::SecretKey;
use revoada_core::policy::Policy;
use revoada_core::{ClusterId, MemberId};
use revoada_log::Disk;
use revoada_mesh::{Mesh, Refusal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use admin::AdminError;
pub use join::{JoinDialer, JoinError, JoinIntent, Joined, NameWish, join};
pub use propose::ConsensusHandle;
pub use recover::RecoverError;
pub use status::{ChainStatus, FormationStatus, MemberStatus, RaftFigures, RaftState, Status, TransitionStatus};
pub use trust::{MemberTrust, TrustFileError};

use crate::gossip::{Announcement, Gossip, GossipError};
use crate::known::Known;
use crate::raft::replica::{Replica, ReplicaError, Timing};
use crate::rpc::RpcClient;

/// Makes the engine's replicated state each time a replica opens, and takes it back when it closes.
pub trait ApplicationFactory: Send + Sync + 'static {
    /// A fresh, empty state whose own files may live in `dir`.
    fn open(&self, dir: &std::path::Path) -> std::io::Result<Arc<dyn Application>>;

    /// The replica was closed: the state is no longer driven.
    fn close(&self);
}

/// Answers the unary calls of the layer above.
#[async_trait::async_trait]
pub trait CallHandler: Send + Sync + 'static {
    /// Answers `method` for `peer`, or says why not.
    async fn call(&self, peer: MemberId, method: &str, payload: bytes::Bytes) -> Result<bytes::Bytes, String>;
}

/// How a member comes to be.
#[derive(Debug, Clone)]
pub enum Start {
    /// It founds a cluster.
    Found(Genesis),
    /// It has been admitted and knows the cluster, from a join or from its own file.
    Continue(Known),
}

/// Everything a member is given.
pub struct MemberOptions {
    /// Key.
    pub key: SecretKey,
    /// Directory for the replica and the member's own files.
    pub dir: PathBuf,
    /// What it says of itself; the layer above may replace it later.
    pub announcement: Announcement,
    /// Election timing.
    pub timing: Timing,
    /// The planner's policy.
    pub policy: Policy,
    /// Disk of the replica.
    pub disk: Arc<dyn Disk>,
    /// How the replica's log is written.
    pub log: revoada_log::LogOptions,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The engine's state.
    pub application: Arc<dyn ApplicationFactory>,
    /// The engine's calls.
    pub calls: Arc<dyn CallHandler>,
    /// Called when the set of admitted keys may have changed, so that the transport drops refused peers at once.
    pub trust_changed: Arc<dyn Fn() + Send + Sync>,
}

/// Why a member could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Gossip.
    #[error(transparent)]
    Gossip(#[from] GossipError),
    /// The replica.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The member's own files.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Genesis was refused.
    #[error("the cluster cannot be founded: {0}")]
    Genesis(String),
    /// A recovery that a crash interrupted could not be finished.
    #[error("an interrupted recovery could not be finished: {0}")]
    Recovery(String),
    /// This member belongs to an epoch that was given up.
    #[error("{0}")]
    Fenced(String),
}

/// Whether this member has a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplicaPhase {
    /// None.
    #[default]
    None,
    /// Open, and not yet caught up with a leader since it opened.
    Opening,
    /// Open and following (or being) a leader.
    Ready,
}

/// A running member; cheap to clone.
#[derive(Clone)]
pub struct Member {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) me: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) options: MemberOptions,
    pub(crate) boot: u64,
    pub(crate) sequence: AtomicU64,
    pub(crate) proposals: tokio::sync::Semaphore,
    pub(crate) mesh: Arc<dyn Mesh>,
    pub(crate) trust: Arc<MemberTrust>,
    pub(crate) rpc: RpcClient,
    pub(crate) gossip: Gossip,
    pub(crate) announcement: watch::Sender<Announcement>,
    pub(crate) api_ready: watch::Sender<bool>,
    pub(crate) replica: watch::Sender<Option<Arc<Replica>>>,
    pub(crate) phase: watch::Sender<ReplicaPhase>,
    pub(crate) leadership: watch::Sender<Option<u64>>,
    pub(crate) opening: tokio::sync::Mutex<()>,
    pub(crate) leader_contact: Mutex<Option<tokio::time::Instant>>,
    pub(crate) sealing: Mutex<bool>,
    pub(crate) recovering: AtomicBool,
    /// Set once enough others say that this member is none any more.
    pub(crate) refused: watch::Sender<Option<Refusal>>,
    pub(crate) halted: watch::Sender<Option<String>>,
    pub(crate) reads: read::ReadBatcher,
    pub(crate) api_streams:
        Mutex<Option<tokio::sync::mpsc::Receiver<(MemberId, revoada_mesh::StreamClass, revoada_mesh::MeshStream)>>>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Member {
    /// Starts a member over an authenticated mesh. `boot` must grow with each start.
    pub async fn start(
        options: MemberOptions,
        start: Start,
        mesh: Arc<dyn Mesh>,
        trust: Arc<MemberTrust>,
        boot: u64,
    ) -> Result<Self, StartError> {
        supervisor::start(options, start, mesh, trust, boot).await
    }

    /// This member's key.
    pub fn id(&self) -> MemberId {
        self.shared.me
    }

    /// The cluster.
    pub fn cluster(&self) -> ClusterId {
        self.shared.cluster
    }

    /// The newest picture of the cluster this member has.
    pub fn known(&self) -> Arc<Known> {
        self.shared.trust.known()
    }

    /// Follows that picture.
    pub fn watch_known(&self) -> watch::Receiver<Arc<Known>> {
        self.shared.trust.watch()
    }

    /// Whether this member has a replica.
    pub fn watch_phase(&self) -> watch::Receiver<ReplicaPhase> {
        self.shared.phase.subscribe()
    }

    /// The term in which this member leads and has applied everything before it; `None` otherwise.
    pub fn watch_leadership(&self) -> watch::Receiver<Option<u64>> {
        self.shared.leadership.subscribe()
    }

    /// Everyone as gossip shows them.
    pub fn watch_everyone(&self) -> watch::Receiver<crate::gossip::Everyone> {
        self.shared.gossip.everyone()
    }

    /// Monotonic milliseconds, the clock of gossip's times.
    pub fn now_ms(&self) -> u64 {
        self.shared.gossip.now_ms()
    }

    /// Set once this member may no longer take part, with the reason.
    pub fn watch_halted(&self) -> watch::Receiver<Option<String>> {
        self.shared.halted.subscribe()
    }

    /// Tells the cluster whether this member's API endpoint answers.
    pub fn set_api_ready(&self, ready: bool) {
        self.shared.api_ready.send_replace(ready);
    }

    /// Replaces what this member says of itself.
    pub fn announce(&self, announcement: Announcement) {
        self.shared.announcement.send_if_modified(|current| {
            let changed = *current != announcement;
            *current = announcement;
            changed
        });
    }

    /// The mesh, for the layer above's own streams.
    pub fn mesh(&self) -> Arc<dyn Mesh> {
        Arc::clone(&self.shared.mesh)
    }

    /// Consensus for the engine; works with and without a replica.
    pub fn consensus(&self) -> Arc<ConsensusHandle> {
        Arc::new(ConsensusHandle::new(Arc::clone(&self.shared)))
    }

    /// Calls the layer above of another member.
    pub async fn call(
        &self,
        peer: MemberId,
        method: &str,
        payload: bytes::Bytes,
        deadline: std::time::Duration,
    ) -> Result<bytes::Bytes, crate::rpc::RpcError> {
        let mut client = self.shared.rpc.peer(peer);
        let request = crate::rpc::pb::CallRequest {
            method: method.to_owned(),
            payload,
        };
        let reply = crate::rpc::call(peer, deadline, client.call(request)).await?;
        if reply.error.is_empty() {
            Ok(reply.payload)
        } else {
            Err(crate::rpc::RpcError::Refused {
                peer: peer.short(),
                code: "Refused".into(),
                message: reply.error,
            })
        }
    }

    /// Cancelled when this member stops.
    pub fn stop_token(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    /// Wall clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.options.clock)
    }

    /// Randomness.
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.shared.options.entropy)
    }

    /// Runs a task that [`Member::shutdown`] waits for; it ends when the stop token is cancelled.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(task);
    }

    /// This member's key.
    pub fn key(&self) -> &SecretKey {
        &self.shared.options.key
    }
}

impl Shared {
    pub(crate) fn running(&self) -> Option<Arc<Replica>> {
        self.replica.borrow().clone()
    }

    /// The running replica if its history is that of `epoch`.
    pub(crate) fn replica_of(&self, epoch: u64) -> Option<Arc<Replica>> {
        self.running().filter(|replica| replica.epoch == epoch)
    }

    /// As [`Shared::replica_of`], for what peers ask: a replica that is being recovered answers nobody.
    pub(crate) fn serving(&self, epoch: u64) -> Option<Arc<Replica>> {
        #[cfg(feature = "mutations")]
        if sim_mutation::is("ignore-epoch") {
            return self.running();
        }
        self.replica_of(epoch).filter(|_| !self.is_recovering())
    }

    pub(crate) fn is_recovering(&self) -> bool {
        self.recovering.load(Ordering::Acquire)
    }

    pub(crate) fn next_request(&self) -> revoada_core::command::RequestId {
        let seq = self.sequence.fetch_add(1, Ordering::Relaxed);
        revoada_core::command::RequestId {
            origin: self.me,
            boot: self.boot,
            seq,
        }
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        self.options.clock.unix_ms()
    }

    pub(crate) fn replica_dir(&self, epoch: u64) -> PathBuf {
        self.options.dir.join("raft").join(format!("epoch-{epoch}"))
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.announcement.borrow().addresses.clone()
    }
}
