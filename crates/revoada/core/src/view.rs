//! What the leader knows when it plans: the replicated state, Raft's configuration and gossip, in one value.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::command::Hold;
use crate::formation::Formation;
use crate::id::MemberId;
use crate::policy::{Eligible, Policy};
use crate::role::Role;
use crate::state::MeshState;
use crate::transition::Transition;

/// What gossip makes of a member. `since_ms` is when that began, by the clock of [`View::now_ms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Liveness {
    /// Heard of lately.
    Alive {
        /// Since when without a break.
        since_ms: u64,
    },
    /// Not heard of for longer than usual.
    Suspect {
        /// Since when.
        since_ms: u64,
    },
    /// Held for dead or unreachable.
    Dead {
        /// Since when.
        since_ms: u64,
    },
    /// Never heard of by this leader.
    #[default]
    Unknown,
}

impl Liveness {
    /// Whether the member is alive now.
    pub const fn is_alive(self) -> bool {
        matches!(self, Liveness::Alive { .. })
    }

    /// How long the member has been alive without a break.
    pub const fn alive_for_ms(self, now_ms: u64) -> Option<u64> {
        match self {
            Liveness::Alive { since_ms } => Some(now_ms.saturating_sub(since_ms)),
            _ => None,
        }
    }
}

/// What the leader observes of one member, from gossip and Raft metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// Gossip's opinion.
    pub liveness: Liveness,
    /// Failure domain; empty when not given. Members without one count as one zone.
    pub zone: String,
    /// Entries behind the leader; `None` for members without a replica, and for a learner that never acknowledged
    /// anything: in a short log it would look caught up without having been reached.
    pub lag: Option<u64>,
    /// Whether the member's replica answers (as opposed to starting, or restoring a snapshot).
    pub replica_ready: bool,
    /// Whether the member can write its log: false when its disk is full or failed.
    pub storage_ok: bool,
    /// Version of the program it runs.
    pub version: String,
}

/// One admitted member as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Role by the replicated state.
    pub role: Role,
    /// Whether it may only be a witness.
    pub witness: bool,
    /// What an operator asked for.
    pub hold: Option<Hold>,
    /// Until when it is not promoted without need, by the clock of [`View::now_ms`].
    pub cooling_until_ms: u64,
    /// Gossip's opinion.
    pub liveness: Liveness,
    /// Failure domain; empty when not given.
    pub zone: String,
    /// Entries behind the leader, if it is a replica that was heard of.
    pub lag: Option<u64>,
    /// Whether its replica answers.
    pub replica_ready: bool,
    /// Whether it can write its log.
    pub storage_ok: bool,
    /// Version of the program it runs.
    pub version: String,
}

impl MemberView {
    /// Whether the member may hold `role` at all, by its kind and by what an operator asked for.
    pub fn may_be(&self, role: Role) -> bool {
        let kind = match role {
            Role::Worker => true,
            Role::Standby | Role::Voter => !self.witness,
            Role::Witness => self.witness,
        };
        kind && match self.hold {
            None | Some(Hold::Pinned(Role::Voter | Role::Witness)) => true,
            Some(Hold::Pinned(Role::Standby)) => !role.votes(),
            Some(Hold::Drained | Hold::Pinned(Role::Worker)) => role == Role::Worker,
        }
    }

    /// The role this member has when it votes.
    pub const fn voting_role(&self) -> Role {
        if self.witness { Role::Witness } else { Role::Voter }
    }
}

/// Raft's configuration: what it says is the truth about roles.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RaftView {
    /// The voters; in a joint configuration those of the incoming one.
    pub voters: BTreeSet<MemberId>,
    /// In a joint configuration, the voters of the outgoing one.
    pub outgoing: Option<BTreeSet<MemberId>>,
    /// Members that receive the log and do not vote in either configuration.
    pub learners: BTreeSet<MemberId>,
}

impl RaftView {
    /// From Raft's list of configurations (the last one is the incoming one) and all its nodes.
    pub fn new(mut configs: Vec<BTreeSet<MemberId>>, nodes: impl IntoIterator<Item = MemberId>) -> Self {
        let learners = nodes
            .into_iter()
            .filter(|id| !configs.iter().any(|voters| voters.contains(id)))
            .collect();
        let voters = configs.pop().unwrap_or_default();
        let outgoing = configs.into_iter().reduce(|mut all, more| {
            all.extend(more);
            all
        });
        Self {
            voters,
            outgoing,
            learners,
        }
    }

    /// Whether two configurations are in force.
    pub fn is_joint(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Whether the member votes in any configuration in force.
    pub fn votes(&self, id: &MemberId) -> bool {
        self.voters.contains(id) || self.outgoing.as_ref().is_some_and(|voters| voters.contains(id))
    }

    /// Whether the member is in the configuration at all.
    pub fn contains(&self, id: &MemberId) -> bool {
        self.votes(id) || self.learners.contains(id)
    }

    /// Everyone in the configuration.
    pub fn members(&self) -> BTreeSet<MemberId> {
        self.voters
            .iter()
            .chain(self.outgoing.iter().flatten())
            .chain(&self.learners)
            .copied()
            .collect()
    }
}

/// Whether `live` holds a majority of `voters`; false for no voters.
pub fn is_majority(voters: &BTreeSet<MemberId>, live: &BTreeSet<MemberId>) -> bool {
    !voters.is_empty() && voters.intersection(live).count() > voters.len() / 2
}

/// When cool-downs end by a leader's monotonic clock: once seen, a cool-down ends after what was left of it then, even
/// if the wall clock is set back meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cooling {
    /// By member: until when it cools down by the replicated state, and when that is by the monotonic clock.
    ends: BTreeMap<MemberId, (u64, u64)>,
}

impl Cooling {
    /// Corrects the cool-downs of a view that was just made of `state`.
    pub fn hold(&mut self, view: &mut View, state: &MeshState) {
        self.ends.retain(|id, _| view.members.contains_key(id));
        for (id, member) in &mut view.members {
            let until = state.cooling_until_ms(id);
            let (known, ends) = *self.ends.entry(*id).or_insert((until, member.cooling_until_ms));
            if known != until {
                self.ends.insert(*id, (until, member.cooling_until_ms));
            } else if ends <= view.now_ms {
                member.cooling_until_ms = 0;
            } else {
                member.cooling_until_ms = member.cooling_until_ms.min(ends);
            }
        }
    }
}

/// Everything the planner decides from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Now, in milliseconds of any clock that does not jump: all other times of the view are on the same one.
    pub now_ms: u64,
    /// The leader, that is who plans.
    pub leader: MemberId,
    /// All admitted members.
    pub members: BTreeMap<MemberId, MemberView>,
    /// Raft's configuration.
    pub raft: RaftView,
    /// The transition in flight.
    pub in_flight: Option<Transition>,
    /// The wanted shape.
    pub formation: Formation,
}

impl View {
    /// Puts the replicated state and the leader's observations together.
    ///
    /// `now_ms` is the leader's monotonic time and `unix_ms` its wall clock. Cool-downs are kept in wall-clock
    /// time; whatever the clocks did, what is left of one is never more than all of it. See also [`Cooling`].
    pub fn new(
        state: &MeshState,
        leader: MemberId,
        raft: RaftView,
        now_ms: u64,
        unix_ms: u64,
        mut observe: impl FnMut(&MemberId) -> Observation,
    ) -> Self {
        let members = state
            .members()
            .map(|(id, member)| {
                let seen = observe(&id);
                let left_ms = state.cooling_until_ms(&id).saturating_sub(unix_ms);
                let left_ms = left_ms.min(state.cooldown_ms(&id));
                let view = MemberView {
                    role: member.role,
                    witness: member.witness,
                    hold: state.hold(&id),
                    cooling_until_ms: if left_ms == 0 {
                        0
                    } else {
                        now_ms.saturating_add(left_ms)
                    },
                    liveness: seen.liveness,
                    zone: seen.zone,
                    lag: seen.lag,
                    replica_ready: seen.replica_ready,
                    storage_ok: seen.storage_ok,
                    version: seen.version,
                };
                (id, view)
            })
            .collect();
        Self {
            now_ms,
            leader,
            members,
            raft,
            in_flight: state.in_flight().cloned(),
            formation: state.formation(),
        }
    }

    /// Members that are alive now; the leader always is.
    pub fn live(&self) -> BTreeSet<MemberId> {
        let alive = self
            .members
            .iter()
            .filter(|(_, member)| member.liveness.is_alive())
            .map(|(id, _)| *id);
        alive.chain([self.leader]).collect()
    }

    /// Whether the member has been dead for long enough to be replaced, or cannot write its log.
    pub fn is_failed(&self, id: &MemberId, policy: &Policy) -> bool {
        let Some(member) = self.members.get(id) else {
            return true;
        };
        let dead = match member.liveness {
            Liveness::Dead { since_ms } if *id != self.leader => {
                self.now_ms.saturating_sub(since_ms) >= policy.dead_after_ms
            }
            _ => false,
        };
        dead || !member.storage_ok
    }

    /// How many members there are to choose replicas from.
    pub fn eligible(&self) -> Eligible {
        let count = |role: Role| self.members.values().filter(|member| member.may_be(role)).count();
        Eligible {
            voters: count(Role::Voter),
            replicas: count(Role::Standby),
            witnesses: count(Role::Witness),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_cool_down() {
        let id = MemberId([1; 32]);
        let member = |cooling_until_ms| MemberView {
            role: Role::Worker,
            witness: false,
            hold: None,
            cooling_until_ms,
            liveness: Liveness::Unknown,
            zone: String::new(),
            lag: None,
            replica_ready: true,
            storage_ok: true,
            version: String::new(),
        };
        let view = |now_ms, cooling_until_ms| View {
            now_ms,
            leader: id,
            members: BTreeMap::from([(id, member(cooling_until_ms))]),
            raft: RaftView::default(),
            in_flight: None,
            formation: Formation::default(),
        };
        let state = MeshState::default();
        let mut cooling = Cooling::default();
        let mut held = |now_ms, until_ms| {
            let mut view = view(now_ms, until_ms);
            cooling.hold(&mut view, &state);
            view.members[&id].cooling_until_ms
        };
        assert_eq!(held(1_000, 11_000), 11_000);
        // The wall clock jumped back: by it, the whole cool-down would begin anew.
        assert_eq!(held(6_000, 16_000), 11_000);
        assert_eq!(held(11_000, 21_000), 0);
    }
}
