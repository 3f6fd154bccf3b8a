//! A dead voter is replaced within seconds if there is a spare: the promise of 10 s from its death, less the
//! time that gossip takes to notice.

use revoada_core::model::{CATCH_UP, Model};
use revoada_core::role::Role;
use revoada_core::view::Liveness;

use super::Broken;

const NAME: &str = "a dead voter is replaced in time";

/// The longest that a replacement may take once the death counts.
const WITHIN_MS: u64 = 5_000;

/// How long a voter must have been dead for its death to count.
const DEAD_AFTER_MS: u64 = 2_500;

/// How long a spare must have been alive to be fit.
const ALIVE_MS: u64 = 2_000;

/// Since when a replacement has been possible without a break.
#[derive(Debug, Clone, Default)]
pub struct Replacement {
    possible_since_ms: Option<u64>,
}

impl Replacement {
    pub(super) fn check(&mut self, model: &Model) -> Result<(), Broken> {
        if !is_due(model) {
            self.possible_since_ms = None;
            return Ok(());
        }
        let since_ms = *self.possible_since_ms.get_or_insert(model.now_ms);
        if model.now_ms - since_ms > WITHIN_MS {
            return Err(Broken::new(
                NAME,
                format!("not within {WITHIN_MS} ms: {:?}", model.roles()),
            ));
        }
        Ok(())
    }

    pub(super) fn disturbed(&mut self) {
        self.possible_since_ms = None;
    }
}

/// Whether a leader with a quorum sees a dead voter and a fit spare, and the number of voters is not to shrink.
fn is_due(model: &Model) -> bool {
    let Some(leader) = model.raft.leader else { return false };
    // Mostly every voter is there: no need to look closer.
    let live = model.reach(&leader);
    if model.raft.config.voters.is_subset(&live) || !model.raft.has_quorum(&live) {
        return false;
    }
    let Some(view) = model.view(leader) else { return false };
    if view.members.values().any(|member| member.witness) {
        return false;
    }
    let target = view.formation.resolve(view.eligible());
    let dead = view.raft.voters.iter().any(|id| {
        let since_ms = view.members.get(id).map(|member| member.liveness);
        matches!(since_ms, Some(Liveness::Dead { since_ms }) if view.now_ms - since_ms >= DEAD_AFTER_MS)
    });
    let fit: Vec<_> = view
        .members
        .iter()
        .filter(|(id, member)| {
            !view.raft.votes(id)
                && member.storage_ok
                && member.may_be(Role::Voter)
                && member
                    .liveness
                    .alive_for_ms(view.now_ms)
                    .is_some_and(|ms| ms >= ALIVE_MS)
        })
        .collect();
    let ready = fit
        .iter()
        .any(|(_, member)| member.role == Role::Standby && member.lag == Some(0));
    // Among workers the planner may have chosen one that is slow: nobody can know before.
    let slow = fit
        .iter()
        .any(|(id, _)| model.nodes.get(id).is_none_or(|node| node.catch_up != CATCH_UP));
    let spare = ready || (!fit.is_empty() && !slow);
    dead && spare && view.raft.voters.len() <= target.votes() && !view.raft.is_joint()
}
