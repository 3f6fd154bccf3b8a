//! The replicated state machine: mesh state, exactly-once table, and the application of the layer above.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use revoada_core::chain::Standing;
use revoada_core::command::Command;
use revoada_core::consensus::{Application, ApplicationImage, LogPosition};
use revoada_core::dedupe::{Dedupe, Lookup};
use revoada_core::state::{MeshOutcome, MeshState};
use revoada_core::view::RaftView;
use revoada_log::{SnapshotRef, SnapshotStore};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::codec;
use super::types::{Answer, Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::known::Known;

/// Upper bound of the mesh part of a snapshot.
const MESH_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What applying a command answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The application's own answer.
    App(Bytes),
    /// The mesh state's answer.
    Mesh(MeshOutcome),
    /// The command was written for another term.
    Fenced {
        /// Term the writer believed in.
        fence: u64,
        /// Term of the entry.
        term: u64,
    },
    /// A retry whose first outcome is no longer remembered.
    TooOld,
    /// The entry could not be decoded; it changes nothing, on every replica alike.
    Undecodable(String),
}

/// The mesh part of a snapshot.
#[derive(Serialize, Deserialize)]
struct MeshImage {
    mesh: MeshState,
    dedupe: Dedupe,
    changed: u64,
}

/// What is stored beside a snapshot's bytes.
#[derive(Serialize, Deserialize)]
pub struct StoredMeta {
    /// Last entry that the snapshot stands for.
    pub last_log_id: Option<LogId>,
    /// Configuration at that point.
    pub membership: StoredMembership,
}

struct Inner {
    mesh: MeshState,
    dedupe: Dedupe,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    changed: u64,
}

impl Inner {
    /// Whether it was a member once and is none any more.
    fn departed(&self, origin: &revoada_core::MemberId) -> bool {
        let standing = self.mesh.standing(origin);
        matches!(standing, Standing::Left | Standing::Expelled | Standing::Fenced { .. })
    }
}

/// Cheap handle to the one state machine of a replica.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    app: Arc<dyn Application>,
    snapshots: SnapshotStore,
    known: watch::Sender<Option<Arc<Known>>>,
    applied: watch::Sender<u64>,
}

impl Machine {
    /// Restores the newest snapshot, if there is one; the log's entries after it are applied by the library.
    pub fn open(app: Arc<dyn Application>, snapshots: SnapshotStore) -> io::Result<Self> {
        let inner = Inner {
            mesh: MeshState::default(),
            dedupe: Dedupe::default(),
            last_applied: None,
            membership: StoredMembership::default(),
            changed: 0,
        };
        let machine = Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(inner),
                app,
                snapshots,
                known: watch::Sender::new(None),
                applied: watch::Sender::new(0),
            }),
        };
        if let Some(latest) = machine.shared.snapshots.latest() {
            let meta: StoredMeta = codec::decode("snapshot meta", &latest.meta)?;
            machine.restore(&latest, meta)?;
        }
        Ok(machine)
    }

    /// Newest picture of the mesh, `None` before genesis was applied.
    pub fn known(&self) -> watch::Receiver<Option<Arc<Known>>> {
        self.shared.known.subscribe()
    }

    /// Index of the last applied entry.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// Last applied entry.
    pub fn last_applied(&self) -> Option<LogId> {
        self.shared.inner.lock().last_applied
    }

    /// Where snapshots are kept.
    pub fn snapshots(&self) -> &SnapshotStore {
        &self.shared.snapshots
    }

    fn restore(&self, snapshot: &SnapshotRef, meta: StoredMeta) -> io::Result<()> {
        let mut reader = self.shared.snapshots.open_reader(snapshot)?;
        let mut length = [0; 8];
        reader.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > MESH_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("snapshot claims {length} bytes of mesh state"),
            ));
        }
        let mut raw = Vec::new();
        (&mut reader).take(length).read_to_end(&mut raw)?;
        let image: MeshImage = codec::decode("mesh state of a snapshot", &raw)?;
        let index = meta.last_log_id.map_or(0, |id| id.index);
        self.shared.app.restore(index, &mut reader)?;
        let mut inner = self.shared.inner.lock();
        inner.mesh = image.mesh;
        inner.dedupe = image.dedupe;
        inner.changed = image.changed;
        inner.last_applied = meta.last_log_id;
        inner.membership = meta.membership;
        self.publish(&inner);
        self.shared.applied.send_replace(index);
        Ok(())
    }

    fn publish(&self, inner: &Inner) {
        // Before genesis is applied there is nothing to show.
        if let Ok(known) = Known::new(
            inner.changed,
            Arc::new(inner.mesh.clone()),
            raft_view(&inner.membership),
        ) {
            self.shared.known.send_replace(Some(Arc::new(known)));
        }
    }

    /// Applies one entry. Also used by recovery, which applies what the library never will.
    pub fn apply_entry(&self, entry: &Entry) -> Answer {
        let mut inner = self.shared.inner.lock();
        let log_id = entry.log_id;
        let at = LogPosition {
            index: log_id.index,
            term: **log_id.committed_leader_id(),
        };
        inner.last_applied = Some(log_id);
        let answer = match &entry.payload {
            EntryPayload::Blank => Answer::default(),
            EntryPayload::Normal(payload) => Answer(self.apply_command(&mut inner, at, &payload.0)),
            EntryPayload::Membership(membership) => {
                inner.membership = StoredMembership::new(Some(log_id), membership.clone());
                inner.changed = at.index;
                Answer::default()
            }
        };
        if inner.changed == at.index {
            self.publish(&inner);
        }
        answer
    }

    fn apply_command(&self, inner: &mut Inner, at: LogPosition, raw: &[u8]) -> Bytes {
        let command = match Command::decode(raw) {
            Ok(command) => command,
            Err(error) => return codec::encode(&Reply::Undecodable(error.to_string())),
        };
        let request = *command.request();
        let known = if inner.departed(&request.origin) && !inner.dedupe.remembers(&request.origin) {
            Lookup::TooOld
        } else {
            inner.dedupe.lookup(&request)
        };
        #[cfg(feature = "mutations")]
        let known = if sim_mutation::is("apply-twice") {
            Lookup::New
        } else {
            known
        };
        match known {
            Lookup::Duplicate(answer) => return answer,
            Lookup::TooOld => return codec::encode(&Reply::TooOld),
            Lookup::New => {}
        }
        #[cfg(feature = "mutations")]
        let command = match command {
            Command::App { request, payload, .. } if sim_mutation::is("accept-old-fence") => Command::App {
                request,
                fence: None,
                payload,
            },
            command => command,
        };
        let reply = match command {
            Command::App { fence: Some(fence), .. } if fence != at.term => Reply::Fenced { fence, term: at.term },
            Command::App { payload, .. } => Reply::App(self.shared.app.apply(at, &payload)),
            Command::Mesh { at_ms, by, command, .. } => {
                inner.changed = at.index;
                Reply::Mesh(self.apply_mesh(inner, at, at_ms, by, command))
            }
        };
        let answer = codec::encode(&reply);
        inner.dedupe.record(&request, answer.clone());
        answer
    }

    fn apply_mesh(
        &self,
        inner: &mut Inner,
        at: LogPosition,
        at_ms: u64,
        by: revoada_core::MemberId,
        command: revoada_core::command::MeshCommand,
    ) -> MeshOutcome {
        let outcome = inner.mesh.apply(at, at_ms, by, &command);
        let Inner { mesh, dedupe, .. } = inner;
        dedupe.members_changed(|origin| mesh.standing(origin).is_admitted());
        outcome
    }

    /// Replaces the configuration by one voter, as recovery does after a lost majority.
    pub fn force_single_voter(&self, me: revoada_core::MemberId) {
        let mut inner = self.shared.inner.lock();
        let nodes = std::collections::BTreeMap::from([(me, ())]);
        let membership =
            openraft::Membership::new_with_defaults(vec![std::collections::BTreeSet::from([me])], nodes.into_keys());
        inner.membership = StoredMembership::new(inner.last_applied, membership);
        inner.changed = inner.last_applied.map_or(0, |id| id.index);
        self.publish(&inner);
    }

    /// Writes a snapshot of the present state; blocks.
    pub fn write_snapshot(&self) -> io::Result<SnapshotRef> {
        self.begin_snapshot().write()
    }

    fn begin_snapshot(&self) -> SnapshotJob {
        let inner = self.shared.inner.lock();
        let mesh = MeshImage {
            mesh: inner.mesh.clone(),
            dedupe: inner.dedupe.clone(),
            changed: inner.changed,
        };
        SnapshotJob {
            shared: Arc::clone(&self.shared),
            mesh: codec::encode(&mesh),
            image: Mutex::new(self.shared.app.image()),
            meta: StoredMeta {
                last_log_id: inner.last_applied,
                membership: inner.membership.clone(),
            },
        }
    }
}

/// The configuration as the planner sees it.
pub fn raft_view(stored: &StoredMembership) -> RaftView {
    let membership = stored.membership();
    RaftView::new(
        membership.get_joint_config().clone(),
        membership.nodes().map(|(id, ())| *id),
    )
}

/// A snapshot that was begun under the state's lock and is written outside it.
pub struct SnapshotJob {
    shared: Arc<Shared>,
    mesh: Bytes,
    image: Mutex<Box<dyn ApplicationImage>>,
    meta: StoredMeta,
}

impl SnapshotJob {
    fn write(&mut self) -> io::Result<SnapshotRef> {
        let mut writer = self.shared.snapshots.begin()?;
        writer.write_all(&(self.mesh.len() as u64).to_le_bytes())?;
        writer.write_all(&self.mesh)?;
        self.image.get_mut().write(&mut writer)?;
        writer.finish(&codec::encode(&self.meta))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Option<SnapshotJob> {
    type SnapshotData = SnapshotRef;

    async fn build_snapshot(&mut self) -> io::Result<openraft::alias::SnapshotOf<TypeConfig, SnapshotRef>> {
        let mut job = self
            .take()
            .ok_or_else(|| io::Error::other("this snapshot was built already"))?;
        let (job, written) = crate::blocking::run(move || {
            let written = job.write();
            (job, written)
        })
        .await
        .map_err(io::Error::other)?;
        let meta = SnapshotMeta {
            last_log_id: job.meta.last_log_id,
            last_membership: job.meta.membership.clone(),
        };
        Ok(openraft::Snapshot {
            meta,
            snapshot: written?,
        })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotRef;
    type SnapshotBuilder = Option<SnapshotJob>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let inner = self.shared.inner.lock();
        Ok((inner.last_applied, inner.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut answered = Vec::new();
        let mut last = None;
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let answer = self.apply_entry(&entry);
            last = Some(entry.log_id.index);
            if let Some(responder) = responder {
                answered.push((responder, answer));
            }
        }
        if let Some(index) = last {
            self.shared.app.applied(index);
            self.shared.applied.send_replace(index);
        }
        for (responder, answer) in answered {
            responder.send(answer);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Option<SnapshotJob> {
        Some(self.begin_snapshot())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotRef) -> io::Result<()> {
        let machine = self.clone();
        let meta = StoredMeta {
            last_log_id: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        crate::blocking::run(move || machine.restore(&snapshot, meta))
            .await
            .map_err(io::Error::other)?
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::alias::SnapshotOf<TypeConfig, SnapshotRef>>> {
        let Some(latest) = self.shared.snapshots.latest() else {
            return Ok(None);
        };
        let meta: StoredMeta = codec::decode("snapshot meta", &latest.meta)?;
        let meta = SnapshotMeta {
            last_log_id: meta.last_log_id,
            last_membership: meta.membership,
        };
        Ok(Some(openraft::Snapshot { meta, snapshot: latest }))
    }
}
