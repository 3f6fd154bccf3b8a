//! Safety of role changes: a change of voters never takes away the live majority.
//!
//! Raft dissertation (Ongaro 2014), 4.2 and 4.4: a configuration in which the live servers are no majority can
//! neither commit nor be changed back. Deaths may do that to a cluster; its own planner never.

use std::collections::BTreeSet;

use revoada_core::MemberId;
use revoada_core::model::{Happening, Model};
use revoada_core::planner::Decision;
use revoada_core::view::is_majority;

use super::Broken;

const NAME: &str = "voters are never below the safe count by our own doing";

/// Remembers the configuration before the step.
#[derive(Debug, Clone, Default)]
pub struct Voters {
    before: BTreeSet<MemberId>,
}

impl Voters {
    pub(super) fn check(&mut self, model: &Model) -> Result<(), Broken> {
        let after = &model.raft.config.voters;
        if *after == self.before {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.before, after.clone());
        if before.is_empty() {
            return Ok(());
        }
        // A leader that removed itself is gone by now: everyone who could have been it counts.
        let witness = model.raft.leader.or_else(|| {
            after
                .iter()
                .find(|id| model.nodes.get(id).is_some_and(|n| n.up))
                .copied()
        });
        let live = witness.map(|id| model.reach(&id)).unwrap_or_default();
        if !is_majority(after, &live) {
            let what = format!(
                "{} of {} voters live after a change from {}",
                after.intersection(&live).count(),
                after.len(),
                before.len()
            );
            return Err(Broken::new(NAME, what));
        }
        if after.len().abs_diff(before.len()) > 1 {
            return Err(Broken::new(
                NAME,
                format!("{} voters became {} at once", before.len(), after.len()),
            ));
        }
        Ok(())
    }

    /// An even number of voters is only passed through: two must be fit before an odd number grows.
    pub(super) fn check_growth(&self, model: &Model, happenings: &[(u64, Happening)]) -> Result<(), Broken> {
        for (_, what) in happenings {
            let Happening::Decided(Decision::Begin(spec)) = what else {
                continue;
            };
            let grows = spec.to.votes() && spec.replaces.is_none() && !model.raft.config.voters.contains(&spec.member);
            let Some(view) = model
                .raft
                .leader
                .filter(|_| grows)
                .and_then(|leader| model.view(leader))
            else {
                continue;
            };
            let fit = view.members.iter().filter(|(id, member)| {
                !view.raft.votes(id)
                    && member.liveness.is_alive()
                    && member.storage_ok
                    && member.may_be(member.voting_role())
            });
            if view.raft.voters.len() % 2 == 1 && fit.count() < 2 {
                return Err(Broken::new(NAME, format!("only one is fit: {}", model.describe(what))));
            }
        }
        Ok(())
    }

    pub(super) fn disturbed(&mut self, model: &Model) {
        self.before = model.raft.config.voters.clone();
    }
}
