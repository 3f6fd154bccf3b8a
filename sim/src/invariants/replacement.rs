//! A dead voter is replaced within seconds if there is a spare: the promise of 10 s from its death, less the
//! time that gossip takes to notice.

use revoada_core::model::{CATCH_UP, Model};
use revoada_core::role::Role;

use super::Broken;

const NAME: &str = "a dead voter is replaced in time";

/// The longest that a replacement may take once the death counts.
const WITHIN_MS: u64 = 5_000;

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
    let Some(view) = model.view(leader) else { return false };
    if view.members.values().any(|member| member.witness) || !model.raft.has_quorum(&model.reach(&leader)) {
        return false;
    }
    let target = view.formation.resolve(view.eligible());
    let dead = view.raft.voters.iter().any(|id| {
        view.is_failed(id, &model.policy) && view.members.get(id).is_some_and(|member| !member.liveness.is_alive())
    });
    let spare = view.members.iter().any(|(id, member)| {
        !view.raft.votes(id)
            && member.storage_ok
            && member.may_be(Role::Voter)
            && member
                .liveness
                .alive_for_ms(view.now_ms)
                .is_some_and(|ms| ms >= model.policy.stabilise_ms)
    });
    let healthy = view
        .members
        .keys()
        .all(|id| model.nodes.get(id).is_some_and(|node| node.catch_up == CATCH_UP));
    dead && spare && healthy && view.raft.voters.len() <= target.votes() && !view.raft.is_joint()
}
