//! The one way out of a lost majority: this survivor goes on alone, in a new epoch that fences the others.

use std::sync::Arc;
use std::time::Duration;

use revoada_core::MemberId;
use revoada_core::chain::{Event, sign_recover};
use revoada_core::command::MeshCommand;
use revoada_core::consensus::ProposeError;
use revoada_core::state::MeshOutcome;

use super::supervisor::{close_locked, open_replica};
use super::{Member, ReplicaPhase, Shared};
use crate::raft::replica::{ReplicaError, rewrite_as_sole_voter};

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
    /// Writing the recovery down failed.
    #[error("the recovery could not be written down: {0}")]
    Propose(#[from] ProposeError),
    /// The state refused it.
    #[error("the recovery was refused: {0}")]
    Refused(String),
    /// Disk.
    #[error("cannot move {path} aside: {source}")]
    Io {
        /// What was to be moved.
        path: std::path::PathBuf,
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
        let (missing, voters) = shared.missing_voters();
        if missing.len() * 2 < voters {
            return Err(RecoverError::HasQuorum);
        }
        let known = shared.trust.known();
        let everyone = shared.gossip.everyone().borrow().clone();
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
        let (keep, lost) = known
            .members()
            .into_iter()
            .partition(|id| *id == shared.me || everyone.get(id).is_some_and(|heard| heard.liveness.is_alive()));
        Ok((keep, lost))
    }

    /// Carries it out: the replica is rewritten with this member as its only voter, and a signed block begins the
    /// new epoch. Members that are alive stay admitted and follow; all others are fenced for good.
    pub async fn recover(&self, force: bool) -> Result<u64, RecoverError> {
        let (keep, lost) = self.recovery_plan(force)?;
        let shared = &self.shared;
        tracing::warn!(keep = keep.len(), lost = lost.len(), "recovering from a lost majority");
        rewrite(shared).await?;
        open_replica(shared).await?;
        let mut phase = shared.phase.subscribe();
        let ready = phase.wait_for(|phase| *phase == ReplicaPhase::Ready);
        if tokio::time::timeout(DEADLINE, ready).await.is_err() {
            return Err(RecoverError::Refused(
                "the sole voter did not elect itself within 30 s".into(),
            ));
        }
        let known = shared.trust.known();
        let Event::Recover {
            epoch,
            survivor,
            keep,
            signature,
        } = sign_recover(&shared.options.key, known.chain(), keep)
        else {
            return Err(RecoverError::Refused("no recovery could be signed".into()));
        };
        // The replica's directory is named after its epoch: from the next start on it is the new one.
        let outcome = shared
            .propose_mesh(
                MeshCommand::Recover {
                    epoch,
                    survivor,
                    keep,
                    signature,
                },
                DEADLINE,
            )
            .await?;
        match outcome {
            MeshOutcome::Recovered { epoch } => {
                reopen_in(shared, epoch).await?;
                Ok(epoch)
            }
            MeshOutcome::Refused(refusal) => Err(RecoverError::Refused(refusal.to_string())),
            other => Err(RecoverError::Refused(format!("{other:?}"))),
        }
    }
}

async fn rewrite(shared: &Arc<Shared>) -> Result<(), RecoverError> {
    let _guard = shared.opening.lock().await;
    close_locked(shared).await;
    let dir = shared.replica_dir(shared.trust.known().version().epoch);
    let options = &shared.options;
    let app = options.application.open(&dir).map_err(|source| ReplicaError::Io {
        what: "opening",
        path: dir.clone(),
        source,
    })?;
    let rewritten = rewrite_as_sole_voter(shared.me, Arc::clone(&options.disk), &dir, app).await;
    options.application.close();
    Ok(rewritten?)
}

/// Closes the replica and opens it again under the new epoch's name.
async fn reopen_in(shared: &Arc<Shared>, epoch: u64) -> Result<(), RecoverError> {
    {
        let _guard = shared.opening.lock().await;
        close_locked(shared).await;
        let (old, new) = (shared.replica_dir(epoch - 1), shared.replica_dir(epoch));
        if !new.exists() {
            std::fs::rename(&old, &new).map_err(|source| RecoverError::Io { path: old, source })?;
        }
        let mut known = shared.trust.watch();
        let _ = tokio::time::timeout(
            Duration::from_secs(5),
            known.wait_for(|known| known.version().epoch >= epoch),
        )
        .await;
    }
    open_replica(shared).await?;
    Ok(())
}
