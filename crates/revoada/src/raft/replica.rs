//! A running replica: log, state machine and the consensus library's core, opened and closed as one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::{Raft, SnapshotPolicy};
use revoada_core::MemberId;
use revoada_core::consensus::Application;
use revoada_log::{Disk, Log, LogOptions, SnapshotStore};

use super::log_store::LogStore;
use super::machine::Machine;
use super::network::Network;
use super::types::{RaftMetrics, TypeConfig};
use crate::rpc::RpcClient;

/// The consensus library's handle with our parameters.
pub type RaftHandle = Raft<TypeConfig, Machine>;

/// Timing of elections; all members of a cluster should agree on it.
///
/// The library waits for the leader's lease (`election_max_ms`) to run out before a follower's own random timeout
/// (`election_min_ms..election_max_ms`) starts, so a dead leader is followed by an election after 900 to 1200 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Interval of heartbeats, milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest election timeout, milliseconds.
    pub election_min_ms: u64,
    /// Longest election timeout, milliseconds.
    pub election_max_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 600,
        }
    }
}

/// Entries after the last snapshot at which the next one is written.
const SNAPSHOT_AFTER_ENTRIES: u64 = 4_000;

/// Why a replica could not be opened or failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The log is damaged or unreadable.
    #[error("{0}; {help}", help = .0.help())]
    Log(#[from] revoada_log::OpenError),
    /// Disk trouble outside the log.
    #[error("{what} in {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The consensus core stopped.
    #[error("consensus stopped: {0}")]
    Fatal(String),
}

/// One open replica. Dropping it does not stop it; call [`Replica::close`].
pub struct Replica {
    /// Handle of the consensus core.
    pub raft: RaftHandle,
    /// State machine.
    pub machine: Machine,
    /// Recovery epoch that its history belongs to.
    pub epoch: u64,
    pub(super) me: MemberId,
    pub(super) network: Network,
    store: LogStore,
}

impl Replica {
    /// Opens the replica kept in `dir`, an empty one if there is none yet.
    pub async fn open(
        me: MemberId,
        disk: Arc<dyn Disk>,
        dir: &Path,
        app: Arc<dyn Application>,
        rpc: RpcClient,
        timing: Timing,
        log_options: LogOptions,
        epoch: u64,
    ) -> Result<Self, ReplicaError> {
        let (log, machine) = open_storage(disk, dir, app, log_options).await?;
        let store = LogStore::new(log);
        let network = Network::new(rpc, machine.snapshots().clone(), epoch);
        let config = openraft::Config {
            cluster_name: "engenho".into(),
            heartbeat_interval: timing.heartbeat_ms,
            election_timeout_min: timing.election_min_ms,
            election_timeout_max: timing.election_max_ms,
            install_snapshot_timeout: 120_000,
            max_payload_entries: 256,
            replication_lag_threshold: SNAPSHOT_AFTER_ENTRIES + 1_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_AFTER_ENTRIES),
            max_in_snapshot_log_to_keep: 1_000,
            enable_pre_vote: Some(true),
            // The committed index is written lazily, so a restarted leader must be elected before it may answer reads.
            enable_leader_restore: Some(false),
            api_channel_size: Some(4_096),
            notification_channel_size: Some(4_096),
            backoff: "50ms 100ms 200ms ...500ms".into(),
            ..Default::default()
        };
        let config = config
            .validate()
            .map_err(|error| ReplicaError::Fatal(error.to_string()))?;
        let raft = Raft::new(me, Arc::new(config), network.clone(), store.clone(), machine.clone())
            .await
            .map_err(|error| ReplicaError::Fatal(error.to_string()))?;
        #[cfg(feature = "mutations")]
        store.is_open.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(Self {
            raft,
            machine,
            epoch,
            me,
            network,
            store,
        })
    }

    /// Founds a cluster: this member is its only voter.
    pub async fn initialize(&self, me: MemberId) -> Result<(), ReplicaError> {
        self.raft
            .initialize(BTreeMap::from([(me, ())]))
            .await
            .map_err(|error| ReplicaError::Fatal(error.to_string()))
    }

    /// Present metrics of the consensus core.
    pub fn metrics(&self) -> RaftMetrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Statistics of the durable log.
    pub fn log_stats(&self) -> revoada_log::LogStats {
        self.store.log().stats()
    }

    /// Stops the consensus core and closes the log; everything acknowledged is on disk already.
    pub async fn close(&self) -> Result<(), ReplicaError> {
        let stopped = tokio::time::timeout(Duration::from_secs(5), self.raft.shutdown()).await;
        let log = self.store.log().clone();
        // Closing joins the writer thread.
        let closed = crate::blocking::run(move || log.close()).await;
        match (stopped, closed) {
            (Ok(Ok(())), Ok(Ok(()))) => Ok(()),
            (_, Ok(Err(error))) => Err(ReplicaError::Fatal(error.to_string())),
            (Err(_), _) => Err(ReplicaError::Fatal("it did not stop within 5 s".into())),
            (Ok(Err(error)), _) => Err(ReplicaError::Fatal(error.to_string())),
            (_, Err(error)) => Err(ReplicaError::Fatal(error.to_string())),
        }
    }
}

async fn open_storage(
    disk: Arc<dyn Disk>,
    dir: &Path,
    app: Arc<dyn Application>,
    log_options: LogOptions,
) -> Result<(Log, Machine), ReplicaError> {
    let dir = dir.to_path_buf();
    crate::blocking::run(move || {
        let log = Log::open(Arc::clone(&disk), &dir.join("log"), log_options)?;
        let snapshots = SnapshotStore::open(disk, &dir.join("snapshots"))?;
        let machine = Machine::open(app, snapshots).map_err(|source| ReplicaError::Io {
            what: "restoring the snapshot",
            path: dir.clone(),
            source,
        })?;
        Ok((log, machine))
    })
    .await
    .map_err(|error| ReplicaError::Fatal(error.to_string()))?
}

/// Makes this survivor's copy the whole truth, offline: every entry of its log is applied, committed or not,
/// a snapshot with itself as the only voter replaces the history. The directory belongs to a closed replica.
pub async fn rewrite_as_sole_voter(
    me: MemberId,
    disk: Arc<dyn Disk>,
    dir: &Path,
    app: Arc<dyn Application>,
    log_options: LogOptions,
) -> Result<(), ReplicaError> {
    let (log, machine) = open_storage(disk, dir, app, log_options).await?;
    let store = LogStore::new(log);
    let io = |what: &'static str| {
        move |source: io::Error| ReplicaError::Io {
            what,
            path: dir.to_path_buf(),
            source,
        }
    };
    let mut reader = store.clone();
    let next = machine.last_applied().map_or(0, |id| id.index + 1);
    let entries = openraft::RaftLogReader::try_get_log_entries(&mut reader, next..)
        .await
        .map_err(io("reading the log"))?;
    for entry in &entries {
        machine.apply_entry(entry);
    }
    machine.force_single_voter(me);
    let last = machine.last_applied();
    let writer = machine.clone();
    crate::blocking::run(move || writer.write_snapshot())
        .await
        .map_err(|error| ReplicaError::Fatal(error.to_string()))?
        .map_err(io("writing the recovery snapshot"))?;
    if let Some(last) = last {
        store.purge_all(last).await.map_err(io("purging the log"))?;
    }
    let log = store.log().clone();
    let closed = crate::blocking::run(move || log.close())
        .await
        .map_err(|error| ReplicaError::Fatal(error.to_string()))?;
    closed.map_err(io("closing the log"))
}
