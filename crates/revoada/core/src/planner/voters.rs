//! Who votes: dead voters first, then what operators asked for, then the number of seats.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Damper, Planner, is_pinned_voter};
use crate::command::Hold;
use crate::id::MemberId;
use crate::role::Role;
use crate::transition::TransitionSpec;
use crate::view::MemberView;

impl<'a> Planner<'a> {
    /// A dead voter, or one whose disk failed, gives its seat to a spare in one joint change.
    pub(super) fn replace_failed(&self) -> Option<TransitionSpec> {
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
    pub(super) fn move_out_unwanted(&self) -> Option<TransitionSpec> {
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
    pub(super) fn unwanted_voters(&self) -> Vec<(MemberId, &'a MemberView, String)> {
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
    pub(super) fn replacement_kind(&self, member: &MemberView) -> Role {
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

    pub(super) fn add_missing(&self) -> Option<TransitionSpec> {
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

    pub(super) fn remove_surplus(&self) -> Option<TransitionSpec> {
        #[cfg(feature = "mutations")]
        if sim_mutation::is("keep-surplus") {
            return None;
        }
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
        #[cfg(feature = "mutations")]
        if sim_mutation::is("unsafe-removal") {
            victims.reverse();
        }
        let reason = format!("{} voters, {} wanted", voters.len(), self.target.votes());
        victims
            .into_iter()
            .find_map(|(id, member)| self.take_vote(id, member, reason.clone()))
    }

    /// An operator promoted a member: it takes the seat of a voter nobody promoted.
    pub(super) fn seat_pinned(&self) -> Option<TransitionSpec> {
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

    /// The best spare takes the seat of `leaving`.
    pub(super) fn swap(
        &self,
        leaving: &MemberId,
        kind: Role,
        damper: Damper,
        reason: String,
    ) -> Option<TransitionSpec> {
        let candidates = self.candidates(kind, damper, Some(leaving));
        candidates
            .into_iter()
            .find_map(|candidate| self.swap_with(leaving, candidate, reason.clone()))
    }

    pub(super) fn swap_with(
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
    pub(super) fn take_vote(&self, id: &MemberId, member: &MemberView, reason: String) -> Option<TransitionSpec> {
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
}
