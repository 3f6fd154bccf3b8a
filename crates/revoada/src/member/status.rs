//! What a member can say of the cluster, in the stable form that scripts rely on.

use revoada_core::view::Liveness;
use revoada_core::{ClusterId, Hash32, MemberId, Role};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

use super::Member;

/// The cluster as this member sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Cluster id.
    pub cluster_id: ClusterId,
    /// Recovery epoch.
    pub epoch: u64,
    /// Raft term, as far as known.
    pub term: u64,
    /// Leader, if one is known.
    pub leader: Option<MemberId>,
    /// Whether writes can be committed.
    pub quorum: bool,
    /// The wanted shape.
    pub formation: FormationStatus,
    /// All admitted members, this one first, then by name.
    pub members: Vec<MemberStatus>,
    /// The role change in flight, if any.
    pub transitions: Vec<TransitionStatus>,
    /// The chain.
    pub chain: ChainStatus,
}

/// The wanted shape, resolved for the members there are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormationStatus {
    /// Wanted votes.
    pub voters: usize,
    /// Wanted standbys.
    pub standbys: usize,
}

/// One member.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Key.
    pub id: MemberId,
    /// Name.
    pub name: String,
    /// Whether it is the member that answers.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// Role.
    pub role: Role,
    /// `alive`, `suspect` or `dead`.
    pub state: String,
    /// Mesh addresses.
    pub addresses: Vec<SocketAddr>,
    /// Failure domain.
    pub zone: String,
    /// API endpoint.
    pub api: String,
    /// Whether that endpoint answers.
    pub api_ready: bool,
    /// Index of the last entry it applied.
    pub applied_index: u64,
    /// Entries behind the most advanced member.
    pub lag: u64,
    /// Software version.
    pub version: String,
    /// What an operator asked of its role, if anything: `drained`, `voter`, `standby`, `worker`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hold: Option<String>,
}

/// One role change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransitionStatus {
    /// The member.
    pub member: MemberId,
    /// Role before.
    pub from: Role,
    /// Role after.
    pub to: Role,
    /// How far it has come.
    pub phase: String,
    /// Why.
    pub reason: String,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// The chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainStatus {
    /// Number of blocks.
    pub height: u64,
    /// Hash of the last one.
    pub head: Hash32,
    /// Blocks that are sealed.
    pub sealed: u64,
}

/// Figures of this member's replica, for metrics.
#[derive(Debug, Clone)]
pub struct RaftFigures {
    /// Index of the last log entry.
    pub last_log_index: u64,
    /// Index of the last applied entry.
    pub applied_index: u64,
    /// The durable log.
    pub log: revoada_log::LogStats,
}

/// How this member's replica stands in consensus at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftState {
    /// Recovery epoch of its history.
    pub epoch: u64,
    /// Current term.
    pub term: u64,
    /// Whether it holds itself for the leader of that term.
    pub leads: bool,
    /// Index of the last applied entry.
    pub applied: u64,
}

impl Member {
    /// How the replica stands, if this member has one.
    pub fn raft_state(&self) -> Option<RaftState> {
        let replica = self.shared.running()?;
        let metrics = replica.metrics();
        Some(RaftState {
            epoch: replica.epoch,
            term: metrics.current_term,
            leads: metrics.state.is_leader(),
            applied: metrics.last_applied.map_or(0, |id| id.index),
        })
    }

    /// Has the replica write a snapshot now and drop the log before it, whatever its size.
    pub async fn compact_log(&self) -> Result<(), String> {
        let replica = self.shared.running().ok_or("this member has no replica")?;
        let trigger = replica.raft.trigger();
        trigger.snapshot().await.map_err(|error| error.to_string())?;
        let wanted = replica.metrics().last_applied.map_or(0, |id| id.index);
        let mut metrics = replica.raft.server_metrics();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        while replica.metrics().snapshot.is_none_or(|at| at.index < wanted) {
            let change = openraft::async_runtime::WatchReceiver::changed(&mut metrics);
            // Not every step of a snapshot shows in these metrics.
            let changed = tokio::time::timeout(std::time::Duration::from_millis(100), change).await;
            if let Ok(Err(_)) = changed {
                return Err("the replica stopped".into());
            }
            if tokio::time::Instant::now() > deadline {
                return Err("no snapshot within 10 s".into());
            }
        }
        trigger.purge_log(wanted).await.map_err(|error| error.to_string())
    }

    /// Figures of the replica, if this member has one.
    pub fn raft_figures(&self) -> Option<RaftFigures> {
        let replica = self.shared.running()?;
        let metrics = replica.metrics();
        Some(RaftFigures {
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            log: replica.log_stats(),
        })
    }

    /// Voters that are not heard of.
    pub fn missing_voters(&self) -> Vec<MemberId> {
        self.shared.missing_voters().0
    }

    /// The present status.
    pub fn status(&self) -> Status {
        use revoada_core::consensus::Consensus;
        let shared = &self.shared;
        let known = shared.trust.known();
        let chain = known.chain();
        let consensus = self.consensus().status();
        let everyone = shared.gossip.everyone().borrow().clone();
        let mine = consensus.applied;
        let furthest = everyone
            .values()
            .map(|heard| heard.pulse.applied)
            .chain([mine])
            .max()
            .unwrap_or(0);
        let term = everyone
            .values()
            .map(|heard| heard.pulse.term)
            .chain([consensus.term])
            .max()
            .unwrap_or(0);
        let mut members: Vec<MemberStatus> = chain
            .admitted()
            .iter()
            .map(|(id, admitted)| {
                let heard = everyone.get(id);
                let is_self = *id == shared.me;
                let role = known.role(id).unwrap_or(Role::Worker);
                let announcement = if is_self {
                    shared.announcement.borrow().clone()
                } else {
                    heard.map(|heard| heard.announcement.clone()).unwrap_or_default()
                };
                let applied_index = if is_self {
                    mine
                } else {
                    heard.map_or(0, |heard| heard.pulse.applied)
                };
                let dead = matches!(heard.map(|heard| heard.liveness), Some(Liveness::Dead { .. }));
                let api_ready = if is_self {
                    *shared.api_ready.borrow()
                } else {
                    !dead && heard.is_some_and(|heard| heard.pulse.api_ready)
                };
                MemberStatus {
                    id: *id,
                    name: admitted.name.clone(),
                    is_self,
                    role,
                    state: state_word(is_self, heard.map(|heard| heard.liveness)).to_owned(),
                    addresses: announcement.addresses,
                    zone: announcement.zone,
                    api: announcement.api,
                    api_ready,
                    applied_index,
                    lag: if role.is_replica() {
                        furthest.saturating_sub(applied_index)
                    } else {
                        0
                    },
                    version: announcement.version,
                    hold: known.state().hold(id).map(hold_word),
                }
            })
            .collect();
        members.sort_by(|a, b| (!a.is_self, &a.name).cmp(&(!b.is_self, &b.name)));
        Status {
            cluster_id: shared.cluster,
            epoch: known.version().epoch,
            term,
            leader: consensus.leader,
            quorum: if shared.running().is_some() {
                consensus.quorum
            } else {
                consensus.leader.is_some()
            },
            formation: self.formation_status(),
            members,
            transitions: known.state().in_flight().map(transition_status).into_iter().collect(),
            chain: ChainStatus {
                height: chain.height(),
                head: chain.head(),
                sealed: chain.sealed_count(),
            },
        }
    }

    fn formation_status(&self) -> FormationStatus {
        let known = self.known();
        let target = known.state().formation().resolve(known.eligible());
        FormationStatus {
            voters: target.votes(),
            standbys: target.standbys,
        }
    }
}

fn transition_status(transition: &revoada_core::transition::Transition) -> TransitionStatus {
    TransitionStatus {
        member: transition.spec.member,
        from: transition.spec.from,
        to: transition.spec.to,
        phase: transition.phase.to_string(),
        reason: transition.spec.reason.clone(),
        since_ms: transition.since_ms,
    }
}

fn state_word(is_self: bool, liveness: Option<Liveness>) -> &'static str {
    match liveness {
        _ if is_self => "alive",
        Some(Liveness::Alive { .. }) => "alive",
        Some(Liveness::Dead { .. }) => "dead",
        _ => "suspect",
    }
}

fn hold_word(hold: revoada_core::command::Hold) -> String {
    match hold {
        revoada_core::command::Hold::Drained => "drained".to_owned(),
        revoada_core::command::Hold::Pinned(role) => role.to_string(),
    }
}
