//! The one way out of a lost majority: this survivor goes on alone, in a new epoch that fences the others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use revoada_core::MemberId;
use revoada_core::chain::{Event, sign_recover};
use revoada_core::command::MeshCommand;
use revoada_core::state::MeshOutcome;
use revoada_core::view::Liveness;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::supervisor::close_locked;
use super::{Member, Shared};
use crate::raft::replica::{Replica, ReplicaError, rewrite_as_sole_voter};

/// How long the sole voter may take to elect itself and write the recovery down.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why a recovery was not begun, or did not end.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Nothing to recover from.
    #[error("the cluster has a quorum: nothing is lost; use `engenho expel` to remove a dead member")]
    HasQuorum,
    /// Only a replica holds the state.
    #[error("this member has no replica: run `engenho recover` on a voter or standby that survived")]
    NoReplica,
    /// Another survivor knows more.
    #[error(
        "{name} is alive and holds {behind} entries more than this member: run `engenho recover` there, \
         or repeat with --force to give those entries up"
    )]
    Behind {
        /// The better survivor.
        name: String,
        /// How many entries this member lacks.
        behind: u64,
    },
    /// Rewriting the replica failed.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The state refused it.
    #[error("the recovery was refused: {0}")]
    Refused(String),
    /// Disk.
    #[error("{path}: {source}")]
    Io {
        /// What could not be written, moved or removed.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Member {
    /// What a recovery from here would do: who stays, who is fenced. Refuses where there is nothing to recover.
    pub fn recovery_plan(&self, force: bool) -> Result<(Vec<MemberId>, Vec<MemberId>), RecoverError> {
        let shared = &self.shared;
        let replica = shared.running().ok_or(RecoverError::NoReplica)?;
        let known = shared.trust.known();
        let everyone = shared.gossip.everyone().borrow().clone();
        // Somebody who is late is not lost.
        let is_lost = |id: &MemberId| {
            let liveness = everyone.get(id).map(|heard| heard.liveness).unwrap_or_default();
            *id != shared.me && matches!(liveness, Liveness::Dead { .. } | Liveness::Unknown)
        };
        let voters = &known.config().voters;
        if voters.iter().filter(|id| is_lost(id)).count() * 2 < voters.len() {
            return Err(RecoverError::HasQuorum);
        }
        let mine = replica.metrics().last_applied.map_or(0, |id| id.index);
        if !force {
            for (id, heard) in everyone
                .iter()
                .filter(|(id, heard)| **id != shared.me && heard.liveness.is_alive())
            {
                if heard.pulse.applied > mine {
                    let name = known
                        .chain()
                        .member(id)
                        .map_or_else(|| id.short(), |member| member.name.clone());
                    return Err(RecoverError::Behind {
                        name,
                        behind: heard.pulse.applied - mine,
                    });
                }
            }
        }
        let (lost, keep) = known.members().into_iter().partition(is_lost);
        Ok((keep, lost))
    }

    /// Carries it out: the replica is rewritten with this member as its only voter, and a signed block begins the
    /// new epoch. Members that are alive stay admitted and follow; all others are fenced for good.
    pub async fn recover(&self, force: bool) -> Result<u64, RecoverError> {
        let (keep, lost) = self.recovery_plan(force)?;
        let shared = &self.shared;
        tracing::warn!(keep = keep.len(), lost = lost.len(), "recovering from a lost majority");
        let from_epoch = shared.trust.known().version().epoch;
        let intent = Intent { from_epoch, keep };
        // From here on a crash is answered by going on with it: a sole voter in the old epoch must never serve.
        let path = intent_path(shared);
        let raw = serde_json::to_vec(&intent).map_err(|error| RecoverError::Refused(error.to_string()))?;
        revoada_log::write_file(&*shared.options.disk, &path, &raw)
            .map_err(|source| RecoverError::Io { path, source })?;
        carry_out(shared, intent).await
    }
}

/// Upper bound of the file below.
const INTENT_BYTES_MAX: u64 = 1024 * 1024;

/// What was decided, on disk until it is done.
#[derive(Serialize, Deserialize)]
struct Intent {
    from_epoch: u64,
    keep: Vec<MemberId>,
}

pub(super) fn intent_path(shared: &Shared) -> PathBuf {
    shared.options.dir.join("recovering.json")
}

/// Goes on with an interrupted recovery.
pub(super) async fn resume(shared: &Arc<Shared>) -> Result<u64, RecoverError> {
    let path = intent_path(shared);
    let raw = revoada_log::read_file(&*shared.options.disk, &path, INTENT_BYTES_MAX)
        .map_err(|source| RecoverError::Io {
            path: path.clone(),
            source,
        })?
        .unwrap_or_default();
    let intent: Intent = serde_json::from_slice(&raw)
        .map_err(|error| RecoverError::Refused(format!("{} is damaged: {error}", path.display())))?;
    tracing::warn!("going on with a recovery that was interrupted");
    carry_out(shared, intent).await
}

/// Every step may be repeated after a crash.
async fn carry_out(shared: &Arc<Shared>, intent: Intent) -> Result<u64, RecoverError> {
    shared.recovering.store(true, Ordering::Release);
    let done = steps(shared, intent).await;
    shared.recovering.store(false, Ordering::Release);
    done
}

async fn steps(shared: &Arc<Shared>, intent: Intent) -> Result<u64, RecoverError> {
    let epoch = intent.from_epoch + 1;
    let (old, new) = (shared.replica_dir(intent.from_epoch), shared.replica_dir(epoch));
    // While the lock is held nobody else opens or closes the replica.
    let guard = shared.opening.lock().await;
    close_locked(shared).await;
    let disk = &shared.options.disk;
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RecoverError::Io { path, source }
    };
    if !disk.exists(&new).map_err(io(&new))? {
        rewrite(shared, &old).await?;
        let replica = super::supervisor::open_locked(shared, intent.from_epoch).await?;
        begin_epoch(shared, &replica, &intent, epoch).await?;
        close_locked(shared).await;
        disk.rename(&old, &new).map_err(io(&old))?;
        let parent = new.parent().unwrap_or(&new);
        disk.sync_dir(parent).map_err(io(parent))?;
    }
    let replica = super::supervisor::open_locked(shared, epoch).await?;
    drop(guard);
    let mut known = replica.machine.known();
    let reached = known.wait_for(|known| known.as_ref().is_some_and(|known| known.version().epoch >= epoch));
    match tokio::time::timeout(DEADLINE, reached).await {
        Ok(Ok(known)) => {
            if let Some(known) = known.as_ref() {
                shared.trust.accept(Arc::clone(known));
            }
        }
        _ => {
            return Err(RecoverError::Refused(
                "the rewritten replica did not reach its new epoch within 30 s".into(),
            ));
        }
    }
    let path = intent_path(shared);
    shared
        .trust
        .save()
        .map_err(|error| RecoverError::Refused(error.to_string()))?;
    disk.remove(&path).map_err(io(&path))?;
    disk.sync_dir(&shared.options.dir).map_err(io(&shared.options.dir))?;
    Ok(epoch)
}

async fn rewrite(shared: &Arc<Shared>, dir: &Path) -> Result<(), RecoverError> {
    let options = &shared.options;
    let app = options.application.open(dir).map_err(|source| ReplicaError::Io {
        what: "opening",
        path: dir.to_path_buf(),
        source,
    })?;
    let rewritten = rewrite_as_sole_voter(shared.me, Arc::clone(&options.disk), dir, app, options.log.clone()).await;
    options.application.close();
    Ok(rewritten?)
}

/// The sole voter elects itself and writes the signed block down, unless an earlier attempt did.
async fn begin_epoch(shared: &Arc<Shared>, replica: &Replica, intent: &Intent, epoch: u64) -> Result<(), RecoverError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let known = replica.machine.known().borrow().clone();
        if let Some(known) = &known
            && known.version().epoch >= epoch
        {
            shared.trust.accept(Arc::clone(known));
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(RecoverError::Refused(
                "the sole voter did not write the recovery down within 30 s".into(),
            ));
        }
        // Only a leader has applied everything before it, which the signature speaks of.
        let leads = replica.metrics().current_leader == Some(shared.me)
            && super::propose::read_index_at(shared, replica, Duration::from_secs(1))
                .await
                .is_ok();
        let Some(known) = known.filter(|_| leads) else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Event::Recover {
            epoch,
            survivor,
            keep,
            signature,
        } = sign_recover(&shared.options.key, known.chain(), intent.keep.iter().copied())
        else {
            return Err(RecoverError::Refused("no recovery could be signed".into()));
        };
        let command = MeshCommand::Recover {
            epoch,
            survivor,
            keep,
            signature,
        };
        match shared.propose_mesh(command, Duration::from_secs(5)).await {
            // Signed over a state that moved on meanwhile: the next attempt signs the newer one.
            Ok(MeshOutcome::Refused(refusal)) => {
                tracing::warn!(%refusal, "the recovery is signed anew");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the recovery is not written down yet"),
        }
    }
}
