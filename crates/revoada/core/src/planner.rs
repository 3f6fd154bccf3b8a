//! The role planner: from what the leader sees to what should happen next.
//!
//! [`plan`] is pure and total: the same view gives the same decisions, and it may be asked at any time. It
//! begins at most one transition and none while one is in flight. Safety comes before shape:
//!
//! - a change of voters is begun only if the live members are a majority of both the old and the new set;
//! - the number of voters never shrinks because one died: without a spare the dead voter keeps its seat;
//! - an even number of voters is only passed through: from an odd number the next voter is added only when the
//!   one after it is at hand too;
//! - what Raft's configuration says is true; where the recorded roles differ, recording comes first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::command::Hold;
use crate::formation::Spread;
use crate::id::MemberId;
use crate::policy::{Policy, Target};
use crate::role::Role;
use crate::transition::{Phase, TransitionSpec};
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
        let outgoing = self.view.raft.outgoing.as_ref();
        let quorum = is_majority(&self.view.raft.voters, &self.live)
            && outgoing.is_none_or(|voters| is_majority(voters, &self.live));
        if !quorum {
            // Nothing could be committed.
            return None;
        }
        if let Some(decision) = self.hand_over() {
            return Some(decision);
        }
        if self.view.in_flight.is_some() {
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

    // ---- Voters ----

    /// A dead voter, or one whose disk failed, gives its seat to a spare in one joint change.
    fn replace_failed(&self) -> Option<TransitionSpec> {
        let surplus = self.view.raft.voters.len() > self.target.votes();
        let failed: Vec<_> = self
            .voters()
            .filter(|(id, _)| self.view.is_failed(id, self.policy))
            .collect();
        if surplus || failed.is_empty() {
            return None;
        }
        for (id, member) in &failed {
            let what = if member.storage_ok {
                "is dead"
            } else {
                "cannot write its log"
            };
            let reason = format!("voter {} {what}", id.short());
            // Replacing a dead voter is never put off by a cool-down.
            if let Some(spec) = self.swap(id, self.replacement_kind(member), Damper::Ignored, reason) {
                return Some(spec);
            }
        }
        // An even set with a dead member tolerates less than the odd rest: the seat is given up until two return.
        let (id, member) = failed.first()?;
        let even = self.view.raft.voters.len().is_multiple_of(2);
        if even && !self.live.contains(id) && self.view.raft.voters.len() > 2 {
            let reason = format!("voter {} is dead and the number of voters is even", id.short());
            return self.take_vote(id, member, reason);
        }
        None
    }

    /// Voters that are drained, pinned lower, or witnesses that the shape no longer needs.
    fn move_out_unwanted(&self) -> Option<TransitionSpec> {
        if self.view.raft.voters.len() > self.target.votes() {
            return None;
        }
        self.unwanted_voters().into_iter().find_map(|(id, member, reason)| {
            let kind = self.replacement_kind(member);
            if let Some(spec) = self.swap(&id, kind, Damper::Ignored, reason.clone()) {
                return Some(spec);
            }
            // Without any spare that could come soon the seat is given up: an operator asked for it.
            let held = !member.may_be(member.voting_role());
            let spare_soon = self.spares(kind).any(|(id, _)| self.live.contains(id));
            if !held || spare_soon || id == self.view.leader {
                return None;
            }
            self.take_vote(&id, member, reason)
        })
    }

    /// Voters that the shape doesn't want in their seat, worst first.
    fn unwanted_voters(&self) -> Vec<(MemberId, &'a MemberView, String)> {
        let mut unwanted: Vec<_> = self
            .voters()
            .filter(|(_, member)| !member.may_be(member.voting_role()))
            .map(|(id, member)| {
                let what = if member.hold == Some(Hold::Drained) {
                    "drained"
                } else {
                    "demoted"
                };
                (*id, member, format!("voter {} is {what}", id.short()))
            })
            .collect();
        let mut witnesses: Vec<_> = self
            .voters()
            .filter(|(_, member)| member.witness && member.may_be(Role::Witness))
            .collect();
        witnesses.sort_by_key(|(id, _)| (!self.live.contains(id), **id));
        for (id, member) in witnesses.into_iter().skip(self.target.witnesses) {
            unwanted.push((*id, member, format!("witness {} is no longer needed", id.short())));
        }
        unwanted.sort_by_key(|(id, member, _)| {
            (
                !self.view.is_failed(id, self.policy),
                member.may_be(member.voting_role()),
                *id,
            )
        });
        unwanted
    }

    /// Which kind of voter has to come for `member`: the kind there are too few of once it is gone.
    fn replacement_kind(&self, member: &MemberView) -> Role {
        let wanted = |witness: bool| {
            self.voters()
                .filter(|(_, m)| m.witness == witness && m.may_be(m.voting_role()))
                .count()
        };
        let gone = |witness: bool| usize::from(member.witness == witness && member.may_be(member.voting_role()));
        if wanted(false) - gone(false) < self.target.voters {
            Role::Voter
        } else if wanted(true) - gone(true) < self.target.witnesses {
            Role::Witness
        } else {
            member.voting_role()
        }
    }

    fn add_missing(&self) -> Option<TransitionSpec> {
        let voters = &self.view.raft.voters;
        let missing = |role: Role, wanted: usize| {
            wanted.saturating_sub(self.voters().filter(|(_, m)| m.voting_role() == role).count())
        };
        let missing_data = missing(Role::Voter, self.target.voters);
        let missing_witnesses = missing(Role::Witness, self.target.witnesses);
        if voters.len() >= self.target.votes() {
            return None;
        }
        let data = self.candidates(Role::Voter, Damper::Respected, None);
        let witnesses = self.candidates(Role::Witness, Damper::Respected, None);
        let at_hand = data.len().min(missing_data) + witnesses.len().min(missing_witnesses);
        let needed = if voters.len().is_multiple_of(2) { 1 } else { 2 };
        if at_hand < needed {
            return None;
        }
        let (id, member) = if missing_data > 0 && !data.is_empty() {
            data[0]
        } else {
            *witnesses.first()?
        };
        let mut after = voters.clone();
        after.insert(id);
        self.is_safe(&after).then(|| TransitionSpec {
            member: id,
            from: member.role,
            to: member.voting_role(),
            replaces: None,
            reason: format!("{} of {} voters", voters.len(), self.target.votes()),
        })
    }

    fn remove_surplus(&self) -> Option<TransitionSpec> {
        let voters = &self.view.raft.voters;
        if voters.len() <= self.target.votes() {
            return None;
        }
        let unwanted: BTreeMap<_, _> = self
            .unwanted_voters()
            .into_iter()
            .map(|(id, _, reason)| (id, reason))
            .collect();
        let zones = self.zone_counts(None);
        let mut victims: Vec<_> = self.voters().filter(|(id, _)| **id != self.view.leader).collect();
        let witnesses = victims.iter().filter(|(_, member)| member.witness).count();
        victims.sort_by_key(|(id, member)| {
            (
                !unwanted.contains_key(id),
                !self.view.is_failed(id, self.policy),
                !member.witness && witnesses > self.target.witnesses,
                self.live.contains(id),
                is_pinned_voter(member),
                Reverse(zones.get(member.zone.as_str()).copied().unwrap_or(0)),
                self.is_caught_up(member),
                member.liveness.alive_for_ms(self.view.now_ms),
                Reverse(**id),
            )
        });
        let reason = format!("{} voters, {} wanted", voters.len(), self.target.votes());
        victims
            .into_iter()
            .find_map(|(id, member)| self.take_vote(id, member, reason.clone()))
    }

    /// An operator promoted a member: it takes the seat of a voter nobody promoted.
    fn seat_pinned(&self) -> Option<TransitionSpec> {
        let pinned = |member: &MemberView| is_pinned_voter(member);
        let candidate = self
            .candidates(Role::Voter, Damper::Ignored, None)
            .into_iter()
            .find(|(_, member)| pinned(member) && !member.witness)?;
        let zones = self.zone_counts(None);
        let victim = self
            .voters()
            .filter(|(id, member)| **id != self.view.leader && !member.witness && !pinned(member))
            .min_by_key(|(id, member)| {
                (
                    self.live.contains(id),
                    Reverse(zones.get(member.zone.as_str()).copied().unwrap_or(0)),
                    member.liveness.alive_for_ms(self.view.now_ms),
                    Reverse(**id),
                )
            })?;
        self.swap_with(
            victim.0,
            candidate,
            format!("{} was promoted by an operator", candidate.0.short()),
        )
    }

    // ---- Standbys ----

    /// Standbys that must not or cannot be one, and those over the number wanted.
    fn vacate_standbys(&self) -> Option<TransitionSpec> {
        let demote = |id: &MemberId, reason: String| TransitionSpec {
            member: *id,
            from: Role::Standby,
            to: Role::Worker,
            replaces: None,
            reason,
        };
        let mut rest = Vec::new();
        for (id, member) in self.standbys() {
            if !member.may_be(Role::Standby) {
                let what = if member.hold == Some(Hold::Drained) {
                    "drained"
                } else {
                    "demoted"
                };
                return Some(demote(id, format!("standby {} is {what}", id.short())));
            }
            if self.view.is_failed(id, self.policy) {
                let what = if member.storage_ok {
                    "is dead"
                } else {
                    "cannot write its log"
                };
                return Some(demote(id, format!("standby {} {what}", id.short())));
            }
            rest.push((id, member));
        }
        let wanted = self.standbys_wanted();
        if rest.len() <= wanted {
            return None;
        }
        let reason = format!("{} standbys, {wanted} wanted", rest.len());
        let worst = rest.into_iter().min_by_key(|(id, member)| {
            (
                self.live.contains(id),
                member.hold.is_some(),
                member.liveness.alive_for_ms(self.view.now_ms),
                Reverse(**id),
            )
        })?;
        Some(demote(worst.0, reason))
    }

    /// Standbys of the shape, and one for each vote that cannot be given yet: who waits for a seat keeps a copy
    /// meanwhile, and is there at once when its turn comes.
    fn standbys_wanted(&self) -> usize {
        let seated = self.voters().filter(|(_, member)| !member.witness).count();
        self.target.standbys + self.target.voters.saturating_sub(seated)
    }

    fn fill_standbys(&self) -> Option<TransitionSpec> {
        let standbys = self.standbys().count();
        let wanted = self.standbys_wanted();
        if standbys >= wanted {
            return None;
        }
        let (id, member) = *self.candidates(Role::Standby, Damper::Respected, None).first()?;
        Some(TransitionSpec {
            member: id,
            from: member.role,
            to: Role::Standby,
            replaces: None,
            reason: format!("{standbys} of {wanted} standbys"),
        })
    }

    // ---- Zones ----

    /// In quiet times a voter of a crowded zone gives its seat to a spare of an emptier one. Each such swap makes
    /// the spread strictly better, so there is an end to it.
    fn spread_zones(&self) -> Option<TransitionSpec> {
        if self.view.formation.spread != Spread::Zone || self.view.raft.voters.len() != self.target.votes() {
            return None;
        }
        let quiet = |member: &MemberView| {
            let alive_ms = member.liveness.alive_for_ms(self.view.now_ms);
            alive_ms.is_some_and(|ms| ms >= self.policy.zone_quiet_ms) && !self.is_cooling(member)
        };
        if !self
            .voters()
            .all(|(id, member)| *id == self.view.leader || quiet(member))
        {
            return None;
        }
        let zones = self.zone_counts(None);
        let count = |member: &MemberView| zones.get(member.zone.as_str()).copied().unwrap_or(0);
        let candidate = self
            .candidates(Role::Voter, Damper::Respected, None)
            .into_iter()
            .filter(|(_, member)| quiet(member))
            .min_by_key(|(id, member)| (count(member), member.role != Role::Standby, *id))?;
        let victim = self
            .voters()
            .filter(|(id, member)| **id != self.view.leader && !member.witness && !is_pinned_voter(member))
            .filter(|(_, member)| count(member) >= count(candidate.1) + 2)
            .max_by_key(|(id, member)| (count(member), **id))?;
        let (crowded, emptier) = (&victim.1.zone, &candidate.1.zone);
        self.swap_with(
            victim.0,
            candidate,
            format!("zone {crowded:?} has more voters than zone {emptier:?}"),
        )
    }

    /// Voters per zone, leaving one member out.
    fn zone_counts(&self, without: Option<&MemberId>) -> BTreeMap<&'a str, usize> {
        let mut counts = BTreeMap::new();
        for (id, member) in self.voters() {
            if Some(id) != without {
                *counts.entry(member.zone.as_str()).or_insert(0) += 1;
            }
        }
        counts
    }

    // ---- Parts ----

    /// Admitted voters of Raft's configuration.
    fn voters(&self) -> impl Iterator<Item = (&'a MemberId, &'a MemberView)> {
        let view = self.view;
        view.members.iter().filter(|(id, _)| view.raft.voters.contains(id))
    }

    fn standbys(&self) -> impl Iterator<Item = (&'a MemberId, &'a MemberView)> {
        let view = self.view;
        view.members.iter().filter(|(id, _)| view.raft.learners.contains(id))
    }

    /// Members that could hold `role` and don't vote.
    fn spares(&self, role: Role) -> impl Iterator<Item = (&'a MemberId, &'a MemberView)> {
        let view = self.view;
        view.members
            .iter()
            .filter(move |(id, member)| !view.raft.votes(id) && member.may_be(role))
    }

    /// Spares fit to take `role` now, best first: promoted by an operator, then standbys, then the zone with the
    /// fewest voters (not counting `leaving`), then caught up, then longest alive, then by id.
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
        fit.sort_by_key(|(id, member)| {
            (
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

    /// The best spare takes the seat of `leaving`.
    fn swap(&self, leaving: &MemberId, kind: Role, damper: Damper, reason: String) -> Option<TransitionSpec> {
        let candidates = self.candidates(kind, damper, Some(leaving));
        candidates
            .into_iter()
            .find_map(|candidate| self.swap_with(leaving, candidate, reason.clone()))
    }

    fn swap_with(
        &self,
        leaving: &MemberId,
        joining: (MemberId, &MemberView),
        reason: String,
    ) -> Option<TransitionSpec> {
        let (id, member) = joining;
        let mut after = self.view.raft.voters.clone();
        after.remove(leaving);
        after.insert(id);
        self.is_safe(&after).then(|| TransitionSpec {
            member: id,
            from: member.role,
            to: member.voting_role(),
            replaces: Some(*leaving),
            reason,
        })
    }

    /// Takes a vote away without a replacement; the member stays as a standby if one is wanted.
    fn take_vote(&self, id: &MemberId, member: &MemberView, reason: String) -> Option<TransitionSpec> {
        let mut after = self.view.raft.voters.clone();
        after.remove(id);
        let stays = self.live.contains(id)
            && member.storage_ok
            && member.may_be(Role::Standby)
            && self.standbys().count() < self.standbys_wanted();
        self.is_safe(&after).then_some(TransitionSpec {
            member: *id,
            from: member.role,
            to: if stays { Role::Standby } else { Role::Worker },
            replaces: None,
            reason,
        })
    }

    /// Whether the live members can go on after a change to `after`. That they can commit it, a majority of the
    /// present voters being alive, was checked first of all.
    fn is_safe(&self, after: &BTreeSet<MemberId>) -> bool {
        is_majority(after, &self.live)
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
