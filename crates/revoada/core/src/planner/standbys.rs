//! Who keeps a copy without voting.

use std::cmp::Reverse;

use super::{Damper, Planner};
use crate::command::Hold;
use crate::id::MemberId;
use crate::role::Role;
use crate::transition::TransitionSpec;

impl Planner<'_> {
    /// Standbys that must not or cannot be one, and those over the number wanted.
    pub(super) fn vacate_standbys(&self) -> Option<TransitionSpec> {
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
    pub(super) fn standbys_wanted(&self) -> usize {
        let seated = self.voters().filter(|(_, member)| !member.witness).count();
        self.target.standbys + self.target.voters.saturating_sub(seated)
    }

    pub(super) fn fill_standbys(&self) -> Option<TransitionSpec> {
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
}
