//! Changing the voters never takes the live majority away.
//!
//! Ongaro's dissertation, 4.2 and 4.4: a configuration whose live servers are no majority can neither commit nor be
//! changed back. Deaths may do that to a cluster, its own planner never. A change counts as our own doing where
//! the dead had been dead for long enough to be noticed.

use std::collections::{BTreeMap, BTreeSet};

use revoada_core::MemberId;
use revoada_core::transition::Phase;
use revoada_core::view::is_majority;

use super::Broken;
use crate::facts::Facts;
use crate::record::{Picture, Stamp};

/// Name of the invariant.
pub const NAME: &str = "voters are never below the safe count by our own doing";

/// How long a machine must have been down for the planner to have to know, milliseconds: the detector's own delay of up
/// to 4 s, and the time a joint change may take.
const NOTICED_MS: u64 = 15_000;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut branches: BTreeMap<u64, Vec<(u64, &Picture)>> = BTreeMap::new();
    for picture in facts.record.pictures.iter().filter(|picture| picture.replica) {
        let (Some(chain), Some(applied)) = (picture.state.chain(), picture.state.applied()) else {
            continue;
        };
        let branch = facts.branch(picture.machine, chain.epoch(), picture.at);
        branches.entry(branch).or_default().push((applied.index, picture));
    }
    for (branch, pictures) in &mut branches {
        decided(facts, *branch, pictures)?;
        pictures.sort_by_key(|(applied, picture)| (*applied, picture.at));
        // A configuration changes without the replicated state, and machines see that one after another.
        let mut before: Option<&BTreeSet<MemberId>> = None;
        let mut known: BTreeSet<(u64, &BTreeSet<MemberId>)> = BTreeSet::new();
        for (applied, picture) in pictures.iter() {
            let after = &picture.raft.voters;
            if !known.insert((*applied, after)) || before == Some(after) {
                continue;
            }
            if let Some(before) = before.replace(after) {
                changed(facts, picture, before)?;
            }
        }
    }
    Ok(())
}

fn changed(facts: &Facts<'_>, picture: &Picture, before: &BTreeSet<MemberId>) -> Result<(), Broken> {
    let after = &picture.raft.voters;
    let live = living(facts, after, picture.at);
    if is_majority(after, &live) {
        return Ok(());
    }
    let what = format!(
        "{} of {} voters live after a change from {} voters",
        live.len(),
        after.len(),
        before.len()
    );
    Err(Broken::new(NAME, picture.at, what))
}

fn is_known_dead(facts: &Facts<'_>, machine: u16, at: Stamp) -> bool {
    let of_machine = facts
        .record
        .power
        .iter()
        .filter(|power| power.machine == machine && power.at <= at);
    of_machine
        .max_by_key(|power| power.at)
        .is_some_and(|last| !last.up && last.at.at_ms + NOTICED_MS <= at.at_ms)
}

/// What is decided counts, too: Raft carries no change out that would leave it without a majority, but waits for one,
/// and meanwhile nothing is committed at all.
fn decided(facts: &Facts<'_>, branch: u64, pictures: &[(u64, &Picture)]) -> Result<(), Broken> {
    let mut first: BTreeMap<u64, &Picture> = BTreeMap::new();
    for (_, picture) in pictures {
        let Some(transition) = picture.state.in_flight() else {
            continue;
        };
        if transition.phase == Phase::Joint && transition.spec.changes_voters() {
            let known = first.entry(transition.id).or_insert(picture);
            if picture.at < known.at {
                *known = picture;
            }
        }
    }
    for (id, picture) in first {
        let (Some(transition), at) = (picture.state.in_flight(), picture.at) else {
            continue;
        };
        let target = transition.spec.target_voters(&picture.raft.voters);
        let live = living(facts, &target, at);
        // Had it been proposed long before it was committed, they may have been alive then.
        let is_fresh = facts.commits_flow(branch, at.at_ms.saturating_sub(NOTICED_MS), at.at_ms);
        if is_fresh && !is_majority(&target, &live) {
            let what = format!(
                "transition {id} is to change {} voters to {}, of which {} live",
                picture.raft.voters.len(),
                target.len(),
                live.len()
            );
            return Err(Broken::new(NAME, at, what));
        }
    }
    Ok(())
}

fn living(facts: &Facts<'_>, voters: &BTreeSet<MemberId>, at: Stamp) -> BTreeSet<MemberId> {
    let lives = |id: &&MemberId| {
        let machine = facts.machines.get(id);
        machine.is_none_or(|machine| !is_known_dead(facts, *machine, at))
    };
    voters.iter().filter(lives).copied().collect()
}

#[cfg(test)]
mod tests {
    use revoada_core::role::Role;

    use super::*;
    use crate::record::Power;
    use crate::testing::{World, assert_only};

    /// Four voters of three that are wanted, two of which just died.
    fn half_dead() -> World {
        let mut world = World::founded();
        world.formation(3, 0);
        for n in 1..4 {
            world.join(n);
            world.change(n, Role::Worker, Role::Voter);
        }
        let at = world.tick();
        let power = [1, 2].map(|machine| Power { at, machine, up: false });
        world.record.power.extend(power);
        world
    }

    #[test]
    fn a_majority_that_was_dead() {
        for (pause_ms, is_ours) in [(NOTICED_MS, true), (100, false)] {
            let mut world = half_dead();
            world.pass_ms(pause_ms);
            // Of four two are dead; without the third one of the living only one of three is left.
            world.change(3, Role::Voter, Role::Worker);
            let record = world.finish();
            if is_ours {
                assert_only(&record, NAME);
            } else {
                assert_eq!(crate::check_all(&record), []);
            }
        }
    }
    #[test]
    fn a_majority_that_will_be_missed() {
        for (pause_ms, is_ours) in [(NOTICED_MS, true), (100, false)] {
            let mut world = half_dead();
            for n in 0..=(pause_ms / 1_000) {
                world.commit(vec![("/other", Some(if n % 2 == 0 { "a" } else { "b" }))]);
                world.pass_ms(1_000);
            }
            world.begin(3, Role::Voter, Role::Worker);
            world.advance(Phase::Joint);
            let record = world.finish_as_is();
            assert_eq!(check(&Facts::new(&record)).is_err(), is_ours);
        }
    }
}
