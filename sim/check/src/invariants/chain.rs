//! The chain is the same everywhere at the end, verifies, is sealed, and is never rewritten on the way.
//!
//! Architecture, section 8: every replica makes the same block from the same entry; enough members seal it. Certificate
//! transparency's append-only property (RFC 6962, section 2): what a member has shown stays.

use std::collections::BTreeMap;

use revoada_core::Hash32;
use revoada_core::chain::{ChainState, seal_quorum};
use revoada_core::policy::Policy;
use revoada_core::state::MeshState;

use super::Broken;
use crate::facts::Facts;
use crate::record::{Final, Power};

/// Name of the invariant.
pub const NAME: &str = "the chain is identical everywhere, verifies and is sealed";

/// How long before the end a block must have been there for everybody to have to have it, milliseconds.
const SHOWN_MS: u64 = 8_000;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    append_only(facts)?;
    let broken = |what: String| Broken::new(NAME, facts.record.ended, what);
    let mut newest: Option<(&Final, &MeshState)> = None;
    let mut heads: BTreeMap<u64, (Hash32, u16)> = BTreeMap::new();
    for (last, state) in settled(facts) {
        let Some(chain) = state.chain() else { continue };
        let (head, machine) = *heads.entry(chain.height()).or_insert((chain.head(), last.machine));
        if head != chain.head() {
            let what = format!(
                "machines {machine} and {} have different blocks {}",
                last.machine,
                chain.height()
            );
            return Err(broken(what));
        }
        let key = |state: &MeshState| {
            (
                state.chain().map(ChainState::height),
                state.applied().map(|at| at.index),
            )
        };
        if newest.is_none_or(|(_, known)| key(state) > key(known)) {
            newest = Some((last, state));
        }
    }
    let Some((last, state)) = newest else { return Ok(()) };
    let due_ms = facts.record.ended.at_ms.saturating_sub(SHOWN_MS);
    let shown = facts.blocks_shown(facts.surviving);
    let due = shown
        .iter()
        .rev()
        .find(|(_, at)| at.at_ms <= due_ms)
        .map_or(0, |(index, _)| *index);
    if let Some((height, (_, machine))) = heads.first_key_value()
        && *height < due
    {
        let what = format!(
            "machine {machine} has {height} blocks, machine {} had {due} in time",
            last.machine
        );
        return Err(broken(what));
    }
    verifies(state).map_err(|what| broken(format!("machine {}: {what}", last.machine)))?;
    sealed(facts, state).map_err(broken)
}

/// Who takes part in the surviving epoch, and was to be up to date by the end.
fn settled<'a>(facts: &Facts<'a>) -> impl Iterator<Item = (&'a Final, &'a MeshState)> {
    let surviving = facts.surviving;
    let taking_part = move |last: &&Final| last.running && last.halted.is_none() && last.epoch == surviving;
    let finals = facts.record.finals.iter().filter(taking_part);
    finals.filter_map(|last| {
        let state = last.state.as_deref()?;
        let member = last.member?;
        state.standing(&member).is_admitted().then_some((last, state))
    })
}

/// What one machine shows only ever grows while it runs, but for what a recovery gives up. Started again it begins with
/// what it knows to be committed, which may be less.
fn append_only(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut shown: BTreeMap<(u16, u64, usize), (u64, &MeshState)> = BTreeMap::new();
    let power = &facts.record.power;
    for picture in &facts.record.pictures {
        let Some(chain) = picture.state.chain() else { continue };
        let branch = facts.branch(picture.machine, chain.epoch(), picture.at);
        let is_before = |event: &&Power| event.machine == picture.machine && event.at < picture.at;
        let run = (picture.machine, branch, power.iter().filter(is_before).count());
        let Some((height, before)) = shown.insert(run, (chain.height(), &picture.state)) else {
            continue;
        };
        let same = |at: u64| match (at.checked_sub(1), before.chain()) {
            (None, _) => true,
            (Some(n), Some(old)) => {
                let head = picture.state.blocks().get(n as usize).map(|block| block.hash());
                head == Some(old.head())
            }
            (Some(_), None) => true,
        };
        if chain.height() < height || !same(height) {
            let what = format!(
                "machine {} showed {height} blocks, and {} others afterwards",
                picture.machine,
                chain.height()
            );
            return Err(Broken::new(NAME, picture.at, what));
        }
    }
    Ok(())
}

fn verifies(state: &MeshState) -> Result<(), String> {
    let Some(chain) = state.chain() else { return Ok(()) };
    let mut replayed = ChainState::genesis(chain.genesis_block().clone()).map_err(|error| error.to_string())?;
    for block in state.blocks() {
        replayed
            .extend(block)
            .map_err(|error| format!("block {}: {error}", block.index))?;
        if let Some(seal) = state.seals().get(&block.index) {
            replayed
                .seal(seal)
                .map_err(|error| format!("the seal of block {}: {error}", block.index))?;
        }
    }
    if replayed.head() != chain.head() || replayed.admitted() != chain.admitted() {
        return Err("replaying its blocks leads elsewhere".to_owned());
    }
    Ok(())
}

fn sealed(facts: &Facts<'_>, state: &MeshState) -> Result<(), String> {
    let record = facts.record;
    let Some(chain) = state.chain().filter(|chain| chain.sealed_height() < chain.height()) else {
        return Ok(());
    };
    let running = settled(facts).count();
    // Without enough signers alive nothing can be sealed.
    if running < seal_quorum(chain.admitted().len()) {
        return Ok(());
    }
    let shown = facts.blocks_shown(facts.surviving);
    let made = shown.get(&(chain.sealed_height() + 1)).copied().unwrap_or_default();
    let since_ms = made.at_ms.max(record.calm.at_ms);
    let waited_ms = record.ended.at_ms.saturating_sub(since_ms);
    if waited_ms > Policy::default().sealed_ms {
        let (sealed, height) = (chain.sealed_height(), chain.height());
        return Err(format!(
            "sealed up to {sealed} of {height} after {waited_ms} ms of peace"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{World, assert_only, good};

    #[test]
    fn an_unsealed_chain() {
        let mut world = World::founded();
        world.sealing = false;
        world.join(1);
        world.join(2);
        for n in [1, 2] {
            world.change(n, revoada_core::Role::Worker, revoada_core::Role::Voter);
        }
        assert_only(&world.finish(), NAME);
    }

    #[test]
    fn a_member_that_stayed_behind() {
        let mut record = good();
        let last = record.pictures.iter().rev().find(|picture| {
            let behind = picture.state.chain().map(ChainState::height);
            behind < record.finals[2].state.as_ref().unwrap().chain().map(ChainState::height)
        });
        record.finals[2].state = Some(Arc::clone(&last.unwrap().state));
        assert_only(&record, NAME);
    }

    #[test]
    fn a_chain_that_is_rewritten() {
        let mut record = good();
        let mut older = record.pictures.iter().find(|p| p.machine == 1).unwrap().clone();
        older.at = record.next();
        record.pictures.push(older);
        assert_only(&record, NAME);
    }
}
