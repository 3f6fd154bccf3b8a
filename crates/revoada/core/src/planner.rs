//! The role planner: from what the leader sees to what should happen next.
//!
//! [`plan`] is pure and total: the same view gives the same decisions, and it may be asked at any time. It
//! begins at most one transition and none while one is in flight. Safety comes before shape:
//!
//! - a change of voters is begun only if the live members are a majority of both the old and the new set, and one of the
//!   new set lives that is no witness;
//! - the number of voters never shrinks because one died: without a spare the dead voter keeps its seat;
//! - an even number of voters is only passed through: from an odd number the next voter is added only when the
//!   one after it is at hand too;
//! - what Raft's configuration says is true; where the recorded roles differ, recording comes first.

mod standbys;
mod voters;
mod zones;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::command::Hold;
use crate::formation::Spread;
use crate::id::MemberId;
use crate::policy::{Policy, Target};
use crate::role::Role;
use crate::transition::{Phase, Step, TransitionSpec};
use crate::view::{MemberView, View, is_majority};

/// What the leader should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Hand leadership over. Comes before anything else, so it is always the only decision.
    TransferLeadership {
        /// A live, caught-up voter.
        to: MemberId,
        /// Why, for people.
        reason: String,
    },
    /// Propose `BeginTransition` with this.
    Begin(TransitionSpec),
    /// Raft is in a joint configuration that no transition asks for: change the voters to this set (the
    /// incoming one), keeping removed ones as learners.
    FinishJoint {
        /// The incoming voters.
        voters: BTreeSet<MemberId>,
    },
    /// Raft's configuration names a key that is not admitted: remove it from the voters and the learners. No
    /// block is made, as it has no role to lose.
    Forget {
        /// The key.
        member: MemberId,
        /// Why, for people.
        reason: String,
    },
}

/// Decides what to do next: at most one decision today, a list so that independent ones can be added.
pub fn plan(view: &View, policy: &Policy) -> Vec<Decision> {
    Planner::new(view, policy).decide().into_iter().collect()
}

/// Why the transition in flight should be given up for something more urgent, as the step that does so.
///
/// Ask before [`crate::transition::next_step`]: a learner that takes its time must not keep a dead voter from
/// being replaced, nor must a demotion that became unsafe because that voter died, and a member that an operator
/// holds back meanwhile need not be promoted first. Only what Raft has not begun to change is given up.
pub fn preempt(view: &View, policy: &Policy) -> Option<Step> {
    let spec = &view
        .in_flight
        .as_ref()
        .filter(|transition| transition.phase < Phase::Committed)?
        .spec;
    let demotes = spec.to < spec.from;
    if view.raft.is_joint() || demotes != view.raft.voters.contains(&spec.member) {
        return None;
    }
    let planner = Planner::new(view, policy);
    if demotes {
        if !planner.has_quorum() || planner.is_safe(&spec.target_voters(&view.raft.voters)) {
            return None;
        }
        // It would wait for the dead to come back, and keep them from being replaced meanwhile.
        let urgent = planner.replace_failed().filter(|urgent| urgent.replaces.is_some())?;
        return Some(Step::Abort {
            reason: format!("more urgent: {}", urgent.reason),
            undo: None,
        });
    }
    let give_up = |reason: String| {
        Some(Step::Abort {
            reason,
            undo: spec.undo(&view.raft),
        })
    };
    let member = view.members.get(&spec.member)?;
    if !member.may_be(spec.to) {
        return give_up("an operator holds the member back".to_owned());
    }
    if !member.storage_ok {
        return give_up("the member cannot write its log".to_owned());
    }
    if !planner.has_quorum() {
        return None;
    }
    let urgent = planner.replace_failed().filter(|urgent| urgent.replaces.is_some())?;
    let ready = |id: &MemberId| {
        view.members
            .get(id)
            .is_some_and(|member| planner.live.contains(id) && planner.is_caught_up(member))
    };
    if urgent.member == spec.member {
        // It has to catch up either way.
        return None;
    }
    let already = spec.replaces.is_some_and(|replaced| view.is_failed(&replaced, policy));
    let better = (ready(&urgent.member) && !ready(&spec.member)) || !planner.live.contains(&spec.member);
    if already && !better {
        return None;
    }
    give_up(format!("more urgent: {}", urgent.reason))
}

struct Planner<'a> {
    view: &'a View,
    policy: &'a Policy,
    live: BTreeSet<MemberId>,
    target: Target,
}

impl<'a> Planner<'a> {
    fn new(view: &'a View, policy: &'a Policy) -> Self {
        let target = view.formation.resolve(view.eligible());
        Self {
            view,
            policy,
            live: view.live(),
            target,
        }
    }

    fn decide(&self) -> Option<Decision> {
        if !self.has_quorum() {
            // Nothing could be committed.
            return None;
        }
        if let Some(decision) = self.hand_over() {
            return Some(decision);
        }
        #[cfg(feature = "mutations")]
        let one_only = !sim_mutation::is("promote-two");
        #[cfg(not(feature = "mutations"))]
        let one_only = true;
        if self.view.in_flight.is_some() && one_only {
            return None;
        }
        if self.view.raft.is_joint() {
            return Some(Decision::FinishJoint {
                voters: self.view.raft.voters.clone(),
            });
        }
        if let Some(decision) = self.forget() {
            return Some(decision);
        }
        let spec = self
            .record()
            .or_else(|| self.replace_failed())
            .or_else(|| self.move_out_unwanted())
            .or_else(|| self.add_missing())
            .or_else(|| self.remove_surplus())
            .or_else(|| self.seat_pinned())
            .or_else(|| self.vacate_standbys())
            .or_else(|| self.fill_standbys())
            .or_else(|| self.spread_zones())?;
        Some(Decision::Begin(spec))
    }

    fn has_quorum(&self) -> bool {
        let outgoing = self.view.raft.outgoing.as_ref();
        is_majority(&self.view.raft.voters, &self.live) && outgoing.is_none_or(|voters| is_majority(voters, &self.live))
    }

    // ---- Leadership ----

    /// Leadership goes to another voter when this one is about to stop voting or cannot do the work.
    fn hand_over(&self) -> Option<Decision> {
        let leader = &self.view.leader;
        let reason = match self.view.members.get(leader) {
            None => "the leader is not admitted".to_owned(),
            Some(me) if me.hold == Some(Hold::Drained) => "the leader is drained".to_owned(),
            Some(me) if !me.storage_ok => "the leader cannot write its log".to_owned(),
            Some(me) if me.witness => "a witness does not lead".to_owned(),
            Some(me) if !me.may_be(Role::Voter) => "the leader is demoted".to_owned(),
            Some(_) if self.is_leaving(leader) => "the leader is being replaced".to_owned(),
            Some(_) => return None,
        };
        let raft = &self.view.raft;
        let to = raft
            .voters
            .iter()
            .filter(|id| *id != leader && self.live.contains(id) && !self.is_leaving(id))
            .filter(|id| raft.outgoing.as_ref().is_none_or(|outgoing| outgoing.contains(id)))
            .filter_map(|id| Some((id, self.view.members.get(id)?)))
            .filter(|(_, member)| member.storage_ok && member.may_be(Role::Voter) && self.is_caught_up(member))
            .min_by_key(|(id, member)| (!member.replica_ready, !is_pinned_voter(member), member.lag, **id))?;
        Some(Decision::TransferLeadership { to: *to.0, reason })
    }

    /// Whether the transition in flight takes this member's vote away.
    fn is_leaving(&self, id: &MemberId) -> bool {
        self.view
            .in_flight
            .as_ref()
            .filter(|transition| transition.phase < Phase::Committed)
            .is_some_and(|transition| {
                let spec = &transition.spec;
                spec.replaces == Some(*id) || (spec.member == *id && spec.from.votes() && !spec.to.votes())
            })
    }

    // ---- Agreement of Raft and the record ----

    fn forget(&self) -> Option<Decision> {
        let raft = &self.view.raft;
        let stray = raft
            .members()
            .into_iter()
            .find(|id| !self.view.members.contains_key(id) && *id != self.view.leader)?;
        let mut voters = raft.voters.clone();
        if voters.remove(&stray) && !self.is_safe(&voters) {
            return None;
        }
        Some(Decision::Forget {
            member: stray,
            reason: "in Raft's configuration without being admitted".to_owned(),
        })
    }

    /// A role that Raft already made true, or took away, without its block having been made. Gained votes come
    /// first: the record must name a voter at all times.
    fn record(&self) -> Option<TransitionSpec> {
        let differing = self.view.members.iter().filter_map(|(id, member)| {
            let to = self.raft_role(id, member);
            (to != member.role && !(to.votes() && member.role.votes())).then_some((id, member.role, to))
        });
        let (id, from, to) = differing.min_by_key(|(id, _, to)| (!to.votes(), **id))?;
        let reason = "recorded: Raft's configuration already says so".to_owned();
        Some(TransitionSpec {
            member: *id,
            from,
            to,
            replaces: None,
            reason,
        })
    }

    fn raft_role(&self, id: &MemberId, member: &MemberView) -> Role {
        if self.view.raft.voters.contains(id) {
            member.voting_role()
        } else if self.view.raft.learners.contains(id) {
            Role::Standby
        } else {
            Role::Worker
        }
    }

    // ---- Parts ----

    /// Admitted voters of Raft's configuration.
    fn voters(&self) -> impl Iterator<Item = (&'a MemberId, &'a MemberView)> {
        let view = self.view;
        view.raft.voters.iter().filter_map(|id| view.members.get_key_value(id))
    }

    fn standbys(&self) -> impl Iterator<Item = (&'a MemberId, &'a MemberView)> {
        let view = self.view;
        view.raft
            .learners
            .iter()
            .filter_map(|id| view.members.get_key_value(id))
    }

    /// Members that could hold `role` and don't vote.
    fn spares(&self, role: Role) -> impl Iterator<Item = (&'a MemberId, &'a MemberView)> {
        let view = self.view;
        view.members
            .iter()
            .filter(move |(id, member)| !view.raft.votes(id) && member.may_be(role))
    }

    /// Spares fit to take `role` now, best first: who is ready if it is urgent, promoted by an operator, standbys,
    /// the zone with the fewest voters (not counting `leaving`), caught up, longest alive, then by id.
    fn candidates(&self, role: Role, damper: Damper, leaving: Option<&MemberId>) -> Vec<(MemberId, &'a MemberView)> {
        let mut zones = self.zone_counts(leaving);
        if role == Role::Standby {
            for (_, member) in self.standbys() {
                *zones.entry(member.zone.as_str()).or_insert(0) += 1;
            }
        }
        let by_zone = self.view.formation.spread == Spread::Zone;
        let mut fit: Vec<_> = self
            .spares(role)
            .filter(|(id, _)| role != Role::Standby || !self.view.raft.learners.contains(id))
            .filter(|(_, member)| member.storage_ok)
            .filter(|(_, member)| {
                member
                    .liveness
                    .alive_for_ms(self.view.now_ms)
                    .is_some_and(|ms| ms >= self.policy.stabilise_ms)
            })
            .filter(|(_, member)| damper == Damper::Ignored || !self.is_cooling(member))
            .map(|(id, member)| (*id, member))
            .collect();
        fit.sort_by_cached_key(|(id, member)| {
            let ready = member.role == Role::Standby && self.is_caught_up(member);
            (
                // When a seat has to change hands now, who can take it now goes first.
                damper == Damper::Ignored && !ready,
                !(is_pinned_voter(member) || (role == Role::Standby && member.hold.is_some())),
                member.role != Role::Standby,
                self.is_cooling(member),
                if by_zone {
                    zones.get(member.zone.as_str()).copied().unwrap_or(0)
                } else {
                    0
                },
                !self.is_caught_up(member),
                Reverse(member.liveness.alive_for_ms(self.view.now_ms)),
                *id,
            )
        });
        fit
    }

    /// Whether the live members can go on after a change to `after`. That they can commit it, a majority of the
    /// present voters being alive, was checked first of all.
    fn is_safe(&self, after: &BTreeSet<MemberId>) -> bool {
        #[cfg(feature = "mutations")]
        if sim_mutation::is("unsafe-removal") {
            return true;
        }
        // A witness has no store to serve from and cannot vouch for the cluster's secrets: one live voter has to.
        let holds_data = |id: &MemberId| {
            let member = self.view.members.get(id);
            self.live.contains(id) && member.is_some_and(|member| !member.witness && member.storage_ok)
        };
        is_majority(after, &self.live) && after.iter().any(holds_data)
    }

    fn is_cooling(&self, member: &MemberView) -> bool {
        member.cooling_until_ms > self.view.now_ms
    }

    fn is_caught_up(&self, member: &MemberView) -> bool {
        member.lag.is_some_and(|lag| lag <= self.policy.lag_entries_max)
    }
}

/// Whether a cool-down keeps a member from being chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damper {
    Respected,
    Ignored,
}

fn is_pinned_voter(member: &MemberView) -> bool {
    matches!(member.hold, Some(Hold::Pinned(role)) if role.votes())
}

#[cfg(test)]
mod tests;
