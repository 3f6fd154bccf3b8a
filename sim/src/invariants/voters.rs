//! Safety of role changes: a change of voters never takes away the live majority.
//!
//! Raft dissertation (Ongaro 2014), 4.2 and 4.4: a configuration in which the live servers are no majority can
//! neither commit nor be changed back. Deaths may do that to a cluster; its own planner never.

use std::collections::BTreeSet;

use revoada_core::MemberId;
use revoada_core::model::Model;
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

    pub(super) fn disturbed(&mut self, model: &Model) {
        self.before = model.raft.config.voters.clone();
    }
}
