//! Who lost its role lately is not promoted again while it cools down.
//!
//! Route flap damping (RFC 2439) in small: a member that was demoted waits, twice as long each time
//! ([`revoada_core::policy::cooldown_ms`]), except in the place of a voter that is dead or that an operator moves out.

use std::collections::{BTreeMap, BTreeSet};

use revoada_core::MemberId;
use revoada_core::chain::{Block, Event};
use revoada_core::policy::COOLDOWN_MS;
use revoada_core::state::MeshState;
use revoada_core::transition::{Transition, TransitionSpec};

use super::Broken;
use crate::facts::Facts;
use crate::record::{Picture, RECOVER, Stamp};

/// Name of the invariant.
pub const NAME: &str = "the damper holds";

/// How many times within [`WINDOW_MS`] a member may be promoted without need.
const PROMOTIONS_MAX: usize = 6;
/// See [`PROMOTIONS_MAX`].
const WINDOW_MS: u64 = 60_000;

/// How far apart two measures of one time may be to count as the same, milliseconds.
const CLOCK_MS: u64 = 2_000;
/// What operators do that ends cool-downs, or lets none begin.
const MEDDLING: [&str; 6] = ["drain", "undrain", "leave", "expel", "return", RECOVER];
/// How long it may take until a new formation is committed, milliseconds.
const MEDDLING_MS: u64 = 30_000;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut begun = BTreeSet::new();
    for picture in &facts.record.pictures {
        let state = &picture.state;
        let Some(transition) = state.in_flight() else { continue };
        let epoch = state.chain().map_or(0, |chain| chain.epoch());
        let branch = facts.branch(picture.machine, epoch, picture.at);
        if !begun.insert((branch, transition.id)) || !is_free_promotion(&transition.spec) {
            continue;
        }
        too_soon(facts, branch, picture, transition)?;
    }
    seldom(facts)
}

/// The shortest cool-down has passed since a member lost its role, by the simulation's own time: by the clocks of leaders
/// it may be shorter or longer.
fn too_soon(facts: &Facts<'_>, branch: u64, picture: &Picture, transition: &Transition) -> Result<(), Broken> {
    let (state, member) = (&picture.state, transition.spec.member);
    let Some(lost) = last_loss(state, &member) else {
        return Ok(());
    };
    let Some(shown) = facts.blocks_shown(branch).get(&lost.index).copied() else {
        return Ok(());
    };
    let waited_ms = picture.at.at_ms.saturating_sub(shown.at_ms);
    if waited_ms + CLOCK_MS >= COOLDOWN_MS {
        return Ok(());
    }
    let by_state = state.cooling_until_ms(&member) > transition.since_ms && state.hold(&member).is_none();
    // Whatever the state says, where the clocks agree and no operator ended a cool-down or saw to it that there was none.
    let by_clock_ms = transition.since_ms.saturating_sub(lost.proposed_ms);
    let is_plain = waited_ms.abs_diff(by_clock_ms) < CLOCK_MS && !was_meddled(facts, shown, picture.at);
    if by_state || is_plain {
        let what = format!(
            "{} is promoted ({} -> {}, {}) {waited_ms} ms after block {} took its role",
            member.short(),
            transition.spec.from,
            transition.spec.to,
            transition.spec.reason,
            lost.index
        );
        return Err(Broken::new(NAME, picture.at, what));
    }
    Ok(())
}

fn was_meddled(facts: &Facts<'_>, lost: Stamp, now: Stamp) -> bool {
    let faults = facts.record.faults.iter().filter(|fault| fault.at < now);
    faults.into_iter().any(|fault| match fault.kind {
        "formation" => fault.at.at_ms + MEDDLING_MS > lost.at_ms,
        // Before that the operator of the test shapes the cluster.
        "stands" => fault.at > lost,
        kind => MEDDLING.contains(&kind),
    })
}

fn is_free_promotion(spec: &TransitionSpec) -> bool {
    spec.to > spec.from && spec.replaces.is_none() && !spec.reason.starts_with("recorded")
}

/// The last block that took a role away from a member.
fn last_loss<'a>(state: &'a MeshState, member: &MemberId) -> Option<&'a Block> {
    let lost = |block: &&Block| match &block.event {
        Event::Transition {
            member: of, from, to, ..
        } if of == member => to < from,
        Event::Transition { replaces, .. } => replaces.as_ref() == Some(member),
        _ => false,
    };
    state.blocks().iter().rev().find(lost)
}

/// However short the cool-downs were, for whatever reason: no member goes up and down all the time.
fn seldom(facts: &Facts<'_>) -> Result<(), Broken> {
    let states = facts.record.pictures.iter().map(|picture| picture.state.as_ref());
    let Some(state) = states.max_by_key(|state| state.chain().map(|chain| (chain.epoch(), chain.height()))) else {
        return Ok(());
    };
    let shown = facts.blocks_shown(facts.surviving);
    let mut promotions: BTreeMap<MemberId, Vec<Stamp>> = BTreeMap::new();
    for block in state.blocks() {
        match &block.event {
            Event::Transition {
                member,
                from,
                to,
                replaces: None,
            } if to > from && !block.reason.starts_with("recorded") => {
                let Some(at) = shown.get(&block.index).copied() else {
                    continue;
                };
                let of_member = promotions.entry(*member).or_default();
                of_member.push(at);
                let window = of_member.len().checked_sub(PROMOTIONS_MAX + 1).map(|n| of_member[n]);
                if window.is_some_and(|first| at.at_ms < first.at_ms + WINDOW_MS) {
                    let what = format!(
                        "{} was promoted more than {PROMOTIONS_MAX} times in a minute",
                        member.short()
                    );
                    return Err(Broken::new(NAME, at, what));
                }
            }
            // A new shape is a new start.
            Event::Formation { .. } | Event::Recover { .. } => promotions.clear(),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use revoada_core::role::Role;

    use super::*;
    use crate::testing::{World, assert_only};

    #[test]
    fn a_promotion_while_cooling() {
        let mut world = World::founded();
        world.join(1);
        world.change(1, Role::Worker, Role::Standby);
        world.change(1, Role::Standby, Role::Worker);
        world.pass_ms(COOLDOWN_MS / 2);
        world.change(1, Role::Worker, Role::Standby);
        assert_only(&world.finish(), NAME);
    }

    #[test]
    fn a_promotion_that_waited() {
        let mut world = World::founded();
        world.join(1);
        world.change(1, Role::Worker, Role::Standby);
        world.change(1, Role::Standby, Role::Worker);
        world.pass_ms(COOLDOWN_MS);
        world.change(1, Role::Worker, Role::Standby);
        assert_eq!(crate::check_all(&world.finish()), []);
    }

    #[test]
    fn up_and_down_all_the_time() {
        let mut world = World::founded();
        world.join(1);
        for _ in 0..8 {
            world.change(1, Role::Worker, Role::Standby);
            world.change(1, Role::Standby, Role::Worker);
            // As after each of an operator's holds, nothing cools down.
            world.lift_hold(1);
        }
        world.pass_ms(COOLDOWN_MS);
        world.change(1, Role::Worker, Role::Standby);
        assert_only(&world.finish(), NAME);
    }
}
