//! Starts a member, and keeps its role true: a replica while the Raft configuration has it, none otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use parking_lot::Mutex;
use revoada_core::MemberId;
use revoada_core::command::{Command, MeshCommand};
use revoada_mesh::gossip::{GossipDirectory, GossipTransport};
use revoada_mesh::{Mesh, StreamClass};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::propose::Attempt;
use super::service::{PeerService, Source};
use super::trust::EpochClaim;
use super::{Member, MemberOptions, MemberTrust, ReplicaPhase, Shared, Start, StartError};
use crate::gossip::{Gossip, Pulse};
use crate::raft::replica::{Replica, ReplicaError};
use crate::raft::service::RaftService;
use crate::rpc::{PeerStream, RpcClient, RpcPeer, spawn_mesh_server};

/// How often the member looks at itself.
const TICK: Duration = Duration::from_millis(200);

/// Without a word from a leader for this long, a member that is in no configuration closes its replica.
const LEADERLESS: Duration = Duration::from_millis(2_000);

/// How long the consensus core may take to answer that it lives.
const CORE_DEADLINE: Duration = Duration::from_millis(200);

/// Pause before gossip is started again.
const REVIVE_PAUSE: Duration = Duration::from_millis(500);

/// Pictures are written to disk at most this often.
const SAVE_INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn start(
    options: MemberOptions,
    start: Start,
    mesh: Arc<dyn Mesh>,
    trust: Arc<MemberTrust>,
    boot: u64,
) -> Result<Member, StartError> {
    let me = options.key.member_id();
    let known = trust.known();
    let cluster = known.chain().cluster();
    trust.set_addresses(options.announcement.addresses.clone());
    trust.save().map_err(|error| match error {
        super::trust::TrustFileError::Io { path, source } => StartError::Io {
            what: "writing",
            path,
            source,
        },
    })?;
    let members: Vec<MemberId> = known.chain().admitted().keys().copied().collect();
    let transport = GossipTransport::new(Arc::clone(&mesh), Arc::new(GossipDirectory::default()));
    let gossip = Gossip::start(me, cluster, boot, transport, members).await?;
    let announcement = watch::Sender::new(options.announcement.clone());
    let shared = Arc::new(Shared {
        me,
        cluster,
        boot,
        sequence: AtomicU64::new(1),
        proposals: tokio::sync::Semaphore::new(super::propose::IN_FLIGHT_MAX),
        rpc: RpcClient::new(Arc::clone(&mesh)),
        mesh,
        trust,
        gossip,
        announcement,
        api_ready: watch::Sender::new(false),
        replica: watch::Sender::new(None),
        phase: watch::Sender::new(ReplicaPhase::None),
        leadership: watch::Sender::new(None),
        opening: tokio::sync::Mutex::new(()),
        leader_contact: Mutex::new(None),
        sealing: Mutex::default(),
        recovering: AtomicBool::new(false),
        refused: watch::Sender::new(None),
        halted: watch::Sender::new(None),
        reads: super::read::ReadBatcher::default(),
        api_streams: Mutex::default(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        options,
    });
    let raft_service = RaftService::new(Arc::new(Source {
        shared: Arc::clone(&shared),
    }));
    let peer_service = PeerService {
        shared: Arc::clone(&shared),
    };
    let rpc_streams = spawn_mesh_server(raft_service, peer_service, shared.stop.clone(), &shared.tasks);
    let (api_tx, api_rx) = mpsc::channel(64);
    shared
        .tasks
        .spawn(accept_streams(Arc::clone(&shared), rpc_streams, api_tx));
    *shared.api_streams.lock() = Some(api_rx);
    shared.tasks.spawn(gossip_loop(Arc::clone(&shared)));
    shared.tasks.spawn(revive_loop(Arc::clone(&shared)));
    shared.tasks.spawn(trust_loop(Arc::clone(&shared)));
    shared.tasks.spawn(claim_loop(Arc::clone(&shared)));
    shared.tasks.spawn(super::sync::run(Arc::clone(&shared)));
    match start {
        Start::Found(genesis) => found(&shared, genesis).await?,
        Start::Continue(known) => {
            let dir = shared.replica_dir(known.version().epoch);
            let exists = |path: &std::path::Path| {
                shared.options.disk.exists(path).map_err(|source| StartError::Io {
                    what: "looking at",
                    path: path.to_path_buf(),
                    source,
                })
            };
            if exists(&super::recover::intent_path(&shared))? {
                super::recover::resume(&shared)
                    .await
                    .map_err(|error| StartError::Recovery(error.to_string()))?;
            } else if exists(&dir.join("log"))? {
                open_replica(&shared).await?;
            }
        }
    }
    shared.tasks.spawn(role_loop(Arc::clone(&shared)));
    Ok(Member { shared })
}

/// Genesis: this member is the only voter and writes the first entry.
async fn found(shared: &Arc<Shared>, genesis: revoada_core::chain::Genesis) -> Result<(), StartError> {
    let replica = open_replica(shared).await?;
    let initialized = replica
        .raft
        .is_initialized()
        .await
        .map_err(|error| StartError::Genesis(error.to_string()))?;
    if !initialized {
        replica.initialize(shared.me).await?;
    }
    let request = shared.next_request();
    let command = Command::Mesh {
        request,
        at_ms: genesis.created_ms,
        by: shared.me,
        command: MeshCommand::Found { genesis },
    };
    let command = command
        .encode()
        .map_err(|error| StartError::Genesis(error.to_string()))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match shared
            .propose_at(&replica, command.clone(), Duration::from_secs(2))
            .await
        {
            Attempt::Done { .. } => return Ok(()),
            _ if Instant::now() > deadline => {
                return Err(StartError::Genesis(
                    "the first entry was not committed within 10 s".into(),
                ));
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Hands streams that peers open to whoever serves their class.
async fn accept_streams(
    shared: Arc<Shared>,
    rpc: mpsc::Sender<PeerStream<RpcPeer>>,
    api: mpsc::Sender<(MemberId, StreamClass, revoada_mesh::MeshStream)>,
) {
    loop {
        let incoming = tokio::select! {
            incoming = shared.mesh.accept() => incoming,
            () = shared.stop.cancelled() => return,
        };
        let Some(incoming) = incoming else { return };
        match incoming.class {
            StreamClass::Raft | StreamClass::Rpc | StreamClass::Snapshot => {
                if rpc
                    .send(PeerStream::new(incoming.stream, RpcPeer(incoming.peer)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            class => {
                // Dropping the stream resets it: the peer sees an error at once instead of waiting.
                let _ = api.try_send((incoming.peer, class, incoming.stream));
            }
        }
    }
}

/// Publishes this member's pulse and looks at everyone else's.
async fn gossip_loop(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut announcement = shared.announcement.subscribe();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = announcement.changed() => {}
            () = shared.stop.cancelled() => break,
        }
        let said = announcement.borrow_and_update().clone();
        shared.gossip.publish(&said, &shared.pulse()).await;
        let known = shared.trust.known();
        let members: Vec<MemberId> = known.chain().admitted().keys().copied().collect();
        shared.gossip.refresh(&members).await;
        for (id, heard) in shared.gossip.everyone().borrow().iter() {
            if *id != shared.me && !heard.announcement.addresses.is_empty() {
                shared.mesh.update_addresses(*id, heard.announcement.addresses.clone());
            }
        }
    }
    shared.gossip.stop().await;
}

/// Starts gossip again whenever it ends: without it the others would hold this member for dead.
async fn revive_loop(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.gossip.ended() => {}
            () = shared.stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(REVIVE_PAUSE) => {}
            () = shared.stop.cancelled() => return,
        }
        match shared.gossip.revive(&shared.trust.known().members()).await {
            Ok(()) => tracing::warn!("gossip was started again"),
            Err(error) => tracing::error!(%error, "gossip cannot be started again; it is tried once more"),
        }
    }
}

impl Shared {
    fn pulse(&self) -> Pulse {
        let known = self.trust.known();
        let mut pulse = Pulse {
            api_ready: *self.api_ready.borrow(),
            storage_ok: self.halted.borrow().is_none(),
            role: known.role(&self.me),
            height: known.chain().height(),
            ..Pulse::default()
        };
        if let Some(replica) = self.running() {
            let metrics = replica.raft.metrics().borrow_watched().clone();
            pulse.replica = true;
            pulse.leader = metrics.current_leader;
            pulse.term = metrics.current_term;
            // Rounded down, so that a busy cluster does not gossip every entry.
            pulse.applied = metrics.last_applied.map_or(0, |id| id.index);
            pulse.storage_ok &= metrics.running_state.is_ok();
        }
        pulse
    }
}

/// Follows the picture: peers, sessions and the member's file.
async fn trust_loop(shared: Arc<Shared>) {
    let mut watch = shared.trust.watch();
    loop {
        let members: Vec<MemberId> = {
            let known = watch.borrow_and_update();
            known.chain().admitted().keys().copied().collect()
        };
        shared.gossip.set_members(&members).await;
        (shared.options.trust_changed)();
        shared.rpc.retain(|peer| members.contains(peer));
        let trust = Arc::clone(&shared.trust);
        let saved = crate::blocking::run(move || trust.save()).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(%error, "the picture of the cluster cannot be saved");
        }
        if !members.contains(&shared.me) {
            let standing = shared.trust.known().chain().standing(&shared.me).to_string();
            shared.halt(format!(
                "this member's key is {standing} in cluster {}",
                shared.cluster.short()
            ));
        }
        tokio::time::sleep(SAVE_INTERVAL).await;
        tokio::select! {
            changed = watch.changed() => if changed.is_err() { return },
            () = shared.stop.cancelled() => return,
        }
    }
}

/// A proved newer epoch: follow it, or stop for good.
async fn claim_loop(shared: Arc<Shared>) {
    let mut claims = shared.trust.watch_claim();
    loop {
        let claim = claims.borrow_and_update().clone();
        match claim {
            EpochClaim::None => {}
            EpochClaim::Kept { epoch } => {
                tracing::warn!(epoch, "closing the replica of the old epoch");
                close_replica(&shared).await;
                // The picture of the new epoch comes over connections of the new epoch only.
                (shared.options.trust_changed)();
            }
            EpochClaim::Fenced { epoch, survivor } => {
                close_replica(&shared).await;
                shared.halt(format!(
                    "this member is fenced: the cluster went on as epoch {epoch} without it, recovered by {}; \
                     move its data directory aside and join with a new ticket",
                    survivor.short()
                ));
            }
        }
        tokio::select! {
            changed = claims.changed() => if changed.is_err() { return },
            () = shared.stop.cancelled() => return,
        }
    }
}

impl Shared {
    pub(crate) fn halt(&self, reason: String) {
        self.halted.send_if_modified(|halted| {
            let first = halted.is_none();
            if first {
                tracing::error!(%reason, "this member halts");
                *halted = Some(reason);
            }
            first
        });
    }
}

/// Opens this member's replica unless it is open.
pub(super) async fn open_replica(shared: &Arc<Shared>) -> Result<Arc<Replica>, ReplicaError> {
    let _guard = shared.opening.lock().await;
    if let Some(replica) = shared.running() {
        return Ok(replica);
    }
    open_locked(shared, shared.trust.known().version().epoch).await
}

/// Opens the replica of an epoch; the caller holds the lock and has closed any other.
pub(super) async fn open_locked(shared: &Arc<Shared>, epoch: u64) -> Result<Arc<Replica>, ReplicaError> {
    let replica = open_at(shared, epoch).await?;
    // It has the usual time to hear a leader.
    *shared.leader_contact.lock() = Some(Instant::now());
    shared.phase.send_replace(ReplicaPhase::Opening);
    shared.replica.send_replace(Some(Arc::clone(&replica)));
    shared
        .tasks
        .spawn(follow_replica(Arc::clone(shared), Arc::clone(&replica)));
    shared
        .tasks
        .spawn(super::leader::run(Arc::clone(shared), Arc::clone(&replica)));
    Ok(replica)
}

async fn open_at(shared: &Arc<Shared>, epoch: u64) -> Result<Arc<Replica>, ReplicaError> {
    let dir = shared.replica_dir(epoch);
    let dir = dir.as_path();
    let io = |source| ReplicaError::Io {
        what: "opening",
        path: dir.to_path_buf(),
        source,
    };
    shared.options.disk.create_dir_all(dir).map_err(io)?;
    let app = shared.options.application.open(dir).map_err(io)?;
    let options = &shared.options;
    let replica = Replica::open(
        shared.me,
        Arc::clone(&options.disk),
        dir,
        app,
        shared.rpc.clone(),
        options.timing,
        options.log.clone(),
        epoch,
    )
    .await?;
    Ok(Arc::new(replica))
}

/// Closes this member's replica; its files stay, because a key must never come back with an empty log.
pub(super) async fn close_replica(shared: &Arc<Shared>) {
    let _guard = shared.opening.lock().await;
    close_locked(shared).await;
}

pub(super) async fn close_locked(shared: &Arc<Shared>) {
    let Some(replica) = shared.replica.send_replace(None) else {
        return;
    };
    shared.phase.send_replace(ReplicaPhase::None);
    shared.leadership.send_replace(None);
    shared.options.application.close();
    if let Err(error) = replica.close().await {
        tracing::error!(%error, "the replica did not close cleanly");
    }
    tracing::info!("the replica is closed");
}

/// While a replica is open: its picture is this member's, its leader decides whether it is ready.
async fn follow_replica(shared: Arc<Shared>, replica: Arc<Replica>) {
    let mut known = replica.machine.known();
    let mut metrics = replica.raft.server_metrics();
    let mut applied = replica.machine.applied();
    loop {
        if shared.running().is_none_or(|current| !Arc::ptr_eq(&current, &replica)) {
            return;
        }
        let newest = known.borrow_and_update().clone();
        // What a recovery passes through is nobody's picture until it has begun its epoch.
        if let Some(newest) = newest.filter(|_| !shared.is_recovering()) {
            shared.trust.accept(newest);
        }
        let state = replica.metrics();
        if let Err(fatal) = &state.running_state {
            shared.halt(format!("the replica stopped: {fatal}"));
        }
        // A core that died without a word still says so when it is asked.
        if let Ok(Err(fatal)) = tokio::time::timeout(CORE_DEADLINE, replica.raft.is_initialized()).await
            && shared.running().is_some_and(|current| Arc::ptr_eq(&current, &replica))
        {
            shared.halt(format!("the replica stopped: {fatal}"));
        }
        let caught_up = !shared.is_recovering()
            && state.current_leader.is_some()
            && state.last_applied.map(|id| id.index) >= state.local_committed.map(|id| id.index)
            && replica.machine.known().borrow().is_some();
        if caught_up && *shared.phase.borrow() == ReplicaPhase::Opening {
            shared.phase.send_replace(ReplicaPhase::Ready);
        }
        let opening = *shared.phase.borrow() == ReplicaPhase::Opening;
        // The end of a recovery is no event of the replica.
        let look = Duration::from_millis(if shared.is_recovering() { 50 } else { 1_000 });
        tokio::select! {
            changed = known.changed() => if changed.is_err() { return },
            changed = metrics.changed() => if changed.is_err() {
                // The core is gone. Unless the replica was closed on purpose, that is this member's end.
                let reason = match replica.metrics().running_state {
                    Err(fatal) => fatal.to_string(),
                    Ok(()) => "its core ended".to_owned(),
                };
                if shared.running().is_some_and(|current| Arc::ptr_eq(&current, &replica)) {
                    shared.halt(format!("the replica stopped: {reason}"));
                }
                return;
            },
            changed = applied.changed(), if opening => if changed.is_err() { return },
            () = tokio::time::sleep(look) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

/// Closes a replica that no configuration has, and opens the one that a configuration has.
async fn role_loop(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shared.stop.cancelled() => return,
        }
        let known = shared.trust.known();
        // A picture without any voter is one that was made before the first configuration was known.
        let placed = !known.config().voters.is_empty();
        let wanted = known.config().contains(&shared.me) && shared.halted.borrow().is_none();
        if shared.is_recovering() {
            continue;
        }
        let epoch = known.version().epoch;
        match (shared.running(), wanted) {
            (Some(replica), _) if replica.epoch < shared.trust.epoch() => {
                tracing::warn!(epoch = replica.epoch, "closing the replica of an epoch that is over");
                close_replica(&shared).await;
            }
            (Some(_), false) if placed && shared.leaderless_for(LEADERLESS) => {
                tracing::info!("this member is in no Raft configuration any more: closing its replica");
                close_replica(&shared).await;
            }
            (None, true) if epoch == shared.trust.epoch() => {
                if let Err(error) = open_replica(&shared).await {
                    tracing::error!(%error, "the replica cannot be opened");
                    shared.halt(error.to_string());
                }
            }
            _ => {}
        }
    }
}

impl Shared {
    /// Whether no leader has spoken to this replica for a while, nor does it lead itself.
    pub(crate) fn leaderless_for(&self, time: Duration) -> bool {
        if self.leadership.borrow().is_some() {
            // A leader that hears nobody may have been taken out without hearing of that either.
            return self
                .running()
                .is_some_and(|replica| !super::propose::heard_majority(&replica, time));
        }
        self.leader_contact.lock().is_none_or(|at| at.elapsed() > time)
    }
}

impl Member {
    /// Streams of the layer above; taken once.
    pub fn take_api_streams(&self) -> Option<mpsc::Receiver<(MemberId, StreamClass, revoada_mesh::MeshStream)>> {
        self.shared.api_streams.lock().take()
    }

    /// Stops: hands leadership over if it can, closes the replica, ends every task. Bounded.
    pub async fn shutdown(&self) {
        if let Err(error) = self.hand_over_leadership(Duration::from_secs(1)).await {
            tracing::info!(%error, "leadership was not handed over");
        }
        self.shared.stop.cancel();
        close_replica(&self.shared).await;
        self.shared.tasks.close();
        if tokio::time::timeout(Duration::from_secs(3), self.shared.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some tasks did not end within 3 s");
        }
    }
}
