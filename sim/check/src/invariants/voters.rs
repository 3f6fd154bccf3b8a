//! Changing the voters never takes the live majority away.
//!
//! Ongaro's dissertation, 4.2 and 4.4: a configuration whose live servers are no majority can neither commit nor be
//! changed back. Deaths may do that to a cluster, its own planner never. A change counts as our own doing where
//! the dead had been dead for long enough to be noticed.

use std::collections::{BTreeMap, BTreeSet};

use revoada_core::MemberId;
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
    for pictures in branches.values_mut() {
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
    let live: BTreeSet<MemberId> = after
        .iter()
        .filter(|id| {
            let machine = facts.machines.get(id);
            machine.is_none_or(|machine| !is_known_dead(facts, *machine, picture.at))
        })
        .copied()
        .collect();
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

#[cfg(test)]
mod tests {
    use revoada_core::role::Role;

    use super::*;
    use crate::record::Power;
    use crate::testing::{World, assert_only};

    #[test]
    fn a_majority_that_was_dead() {
        for (pause_ms, is_ours) in [(NOTICED_MS, true), (100, false)] {
            let mut world = World::founded();
            world.formation(3, 0);
            for n in 1..4 {
                world.join(n);
                world.change(n, Role::Worker, Role::Voter);
            }
            let at = world.tick();
            world
                .record
                .power
                .extend([1, 2].map(|machine| Power { at, machine, up: false }));
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
}
