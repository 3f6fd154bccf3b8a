//! How voters are spread over failure domains.

use std::collections::BTreeMap;

use super::{Damper, Planner, is_pinned_voter};
use crate::formation::Spread;
use crate::id::MemberId;
use crate::role::Role;
use crate::transition::TransitionSpec;
use crate::view::MemberView;

impl<'a> Planner<'a> {
    /// In quiet times a voter of a crowded zone gives its seat to a spare of an emptier one. Each such swap makes
    /// the spread strictly better, so there is an end to it.
    pub(super) fn spread_zones(&self) -> Option<TransitionSpec> {
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
    pub(super) fn zone_counts(&self, without: Option<&MemberId>) -> BTreeMap<&'a str, usize> {
        let mut counts = BTreeMap::new();
        for (id, member) in self.voters() {
            if Some(id) != without {
                *counts.entry(member.zone.as_str()).or_insert(0) += 1;
            }
        }
        counts
    }
}
