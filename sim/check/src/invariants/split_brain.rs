//! Two sides never both change roles, and a recovery leaves one history.
//!
//! Architecture, sections 7, 8 and 13: in a partition the side with a majority goes on, the other changes no role; after
//! `recover` members of the old epoch are fenced for good. Two different blocks of one height and epoch would be
//! the proof of a split ([`revoada_core::chain::SplitBrainProof`]).

use std::collections::BTreeMap;

use revoada_core::Hash32;
use revoada_core::chain::Standing;

use super::Broken;
use crate::facts::Facts;
use crate::record::Stamp;

/// Name of the invariant.
pub const NAME: &str = "no split brain: one history of roles";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    one_chain(facts)?;
    let record = facts.record;
    let states = record.finals.iter().filter_map(|last| last.state.as_deref());
    let newest = states.max_by_key(|state| state.chain().map(|chain| (chain.epoch(), chain.height())));
    for last in &record.finals {
        // Who left before need not know.
        let left = |id| newest.is_some_and(|state| matches!(state.standing(id), Standing::Left | Standing::Unknown));
        if last.member.as_ref().is_some_and(left) {
            continue;
        }
        let (Some(_), true, None) = (last.member, last.running, &last.halted) else {
            continue;
        };
        if last.epoch != 0 && last.epoch < facts.surviving {
            let what = format!(
                "machine {} still takes part in epoch {}, while epoch {} goes on",
                last.machine, last.epoch, facts.surviving
            );
            return Err(Broken::new(NAME, record.ended, what));
        }
    }
    Ok(())
}

/// All pictures of one branch show the same blocks.
fn one_chain(facts: &Facts<'_>) -> Result<(), Broken> {
    let record = facts.record;
    let pictures = record.pictures.iter().map(|p| (p.at, p.machine, p.state.as_ref()));
    let finals = record
        .finals
        .iter()
        .filter_map(|last| Some((record.ended, last.machine, last.state.as_deref()?)));
    type Seen = (Hash32, u16, Stamp);
    let mut blocks: BTreeMap<(u64, u64), Seen> = BTreeMap::new();
    let mut heights: BTreeMap<u64, u64> = BTreeMap::new();
    for (at, machine, state) in pictures.chain(finals) {
        let Some(chain) = state.chain() else { continue };
        let branch = facts.branch(machine, chain.epoch(), at);
        let known = heights.entry(branch).or_default();
        // Blocks are linked by their hashes: the last known one and what is new say all.
        let from = (*known).min(chain.height());
        for block in state.blocks().iter().skip(from.saturating_sub(1) as usize) {
            let key = (branch, block.index);
            let hash = block.hash();
            let (first, whose, when) = *blocks.entry(key).or_insert((hash, machine, at));
            if first != hash {
                let what = format!(
                    "block {} of epoch {branch} is {} on machine {whose} at {when}, and {} on machine {machine}: {:?}",
                    block.index,
                    first.short(),
                    hash.short(),
                    block.event
                );
                return Err(Broken::new(NAME, at, what));
            }
        }
        *known = (*known).max(chain.height());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, assert_only, good};

    #[test]
    fn two_sides_that_both_change_roles() {
        use revoada_core::Role;
        let mut world = World::founded();
        for n in [1, 2] {
            world.join(n);
            world.change(n, Role::Worker, Role::Voter);
        }
        let mut other = world.clone();
        world.change(2, Role::Voter, Role::Worker);
        other.change(1, Role::Voter, Role::Worker);
        let mut record = world.finish_as_is();
        let mut picture = other.record.pictures.last().unwrap().clone();
        picture.machine = 2;
        picture.at = record.next();
        record.pictures.retain(|picture| picture.machine != 2);
        record.pictures.push(picture);
        assert_only(&record, NAME);
    }

    #[test]
    fn a_member_of_an_old_epoch_that_goes_on() {
        let mut record = good();
        // Everyone but machine 2 is an epoch further.
        for last in record.finals.iter_mut().filter(|last| last.machine != 2) {
            last.epoch += 1;
        }
        let broken = crate::check_all(&record);
        assert!(broken.iter().any(|broken| broken.invariant == NAME), "{broken:?}");
        record.finals[2].halted = Some("fenced".into());
        let broken = crate::check_all(&record);
        assert!(broken.iter().all(|broken| broken.invariant != NAME), "{broken:?}");
    }
}
