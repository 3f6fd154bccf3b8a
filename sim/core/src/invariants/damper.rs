//! A member that was demoted, or whose promotion was given up, is not promoted again while it cools down, except
//! in the place of a voter that is dead or that an operator moves out.

use revoada_core::model::{Happening, Model};
use revoada_core::planner::Decision;
use revoada_core::state::MeshState;

use super::Broken;

const NAME: &str = "the damper holds";

/// The shortest cool-down.
const COOLDOWN_MS: u64 = 10_000;

/// Looks at what was begun.
pub(super) fn check(model: &Model, happenings: &[(u64, Happening)]) -> Result<(), Broken> {
    for (_, what) in happenings {
        let Happening::Decided(Decision::Begin(spec)) = what else {
            continue;
        };
        let forced = spec.replaces.is_some() || spec.reason.starts_with("recorded");
        if spec.to <= spec.from || forced {
            continue;
        }
        let Some(state) = model.state() else { continue };
        let cooling = state.cooling_until_ms(&spec.member) > model.unix_ms();
        let demoted = last_demotion_ms(state, spec.member).is_some_and(|at_ms| model.unix_ms() < at_ms + COOLDOWN_MS);
        if cooling && demoted {
            return Err(Broken::new(NAME, model.describe(what)));
        }
    }
    Ok(())
}

/// When the chain last took a role away from a member.
fn last_demotion_ms(state: &MeshState, member: revoada_core::MemberId) -> Option<u64> {
    use revoada_core::chain::Event;
    let lost = |event: &Event| match event {
        Event::Transition {
            member: of, from, to, ..
        } if *of == member => to < from,
        Event::Transition { replaces, .. } => *replaces == Some(member),
        _ => false,
    };
    state
        .blocks()
        .iter()
        .rev()
        .find(|block| lost(&block.event))
        .map(|block| block.proposed_ms)
}
