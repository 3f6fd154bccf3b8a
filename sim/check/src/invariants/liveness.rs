//! Left in peace, the cluster becomes whole.
//!
//! Raft (Ongaro and Ousterhout 2014), section 5.6: with stable timing a leader is elected and goes on. Architecture, section
//! 7: the formation is what the members allow; section 13: what each fault's end looks like.

use std::collections::BTreeMap;

use revoada_core::MemberId;
use revoada_core::role::Role;
use revoada_core::state::MeshState;
use revoada_core::view::{Observation, RaftView, View};

use super::Broken;
use crate::facts::Facts;
use crate::record::Final;

/// Name of the invariant.
pub const NAME: &str = "liveness: the cluster is whole after the faults";

/// How old an entry must be for every replica to have to have applied it, milliseconds.
const APPLIED_MS: u64 = 10_000;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let finals = &facts.record.finals;
    if finals.is_empty() {
        return Ok(());
    }
    whole(facts).map_err(|what| Broken::new(NAME, facts.record.ended, what))
}

fn whole(facts: &Facts<'_>) -> Result<(), String> {
    let finals = &facts.record.finals;
    let taking_part = |last: &&Final| last.running && last.halted.is_none() && last.epoch == facts.surviving;
    let newest = finals
        .iter()
        .filter(taking_part)
        .filter_map(|last| Some((last, last.state.as_deref()?, last.raft.as_ref()?)))
        .max_by_key(|(last, state, _)| {
            (
                last.applied,
                state.applied().map(|at| at.index),
                std::cmp::Reverse(last.machine),
            )
        });
    let Some((_, state, raft)) = newest else {
        return Err("nobody takes part any more".to_owned());
    };
    let mut members: BTreeMap<MemberId, &Final> = BTreeMap::new();
    for last in finals.iter().filter(|last| last.running) {
        members.extend(last.member.map(|member| (member, last)));
    }
    let leader = one_leader(facts)?;
    shape(state, raft, &members, leader)?;
    serving(state, &members)?;
    caught_up(facts, state, &members)
}

/// The member that leads, if anything was noted about that.
fn one_leader(facts: &Facts<'_>) -> Result<Option<MemberId>, String> {
    let record = facts.record;
    let mut last = BTreeMap::new();
    for note in &record.raft {
        let branch = facts.branch(note.machine, note.epoch, note.at);
        last.insert(note.machine, (note.leads && branch == facts.surviving, note.term));
    }
    // Who has no replica any more stopped leading without another word.
    let may = |last: &Final| last.running && last.halted.is_none() && last.applied.is_some();
    let runs = |machine: &u16| record.finals.iter().any(|last| last.machine == *machine && may(last));
    let leaders: Vec<u16> = last
        .iter()
        .filter(|(machine, (leads, _))| *leads && runs(machine))
        .map(|(machine, _)| *machine)
        .collect();
    match leaders.as_slice() {
        [leader] => Ok(record
            .finals
            .iter()
            .find(|f| f.machine == *leader)
            .and_then(|f| f.member)),
        [] if record.raft.is_empty() => Ok(None),
        [] => Err("nobody leads".to_owned()),
        several => Err(format!("machines {several:?} all lead")),
    }
}

fn shape(
    state: &MeshState,
    raft: &RaftView,
    running: &BTreeMap<MemberId, &Final>,
    leader: Option<MemberId>,
) -> Result<(), String> {
    if let Some(transition) = state.in_flight() {
        return Err(format!(
            "a transition is in flight: {:?}, {}",
            transition.spec, transition.phase
        ));
    }
    if raft.is_joint() {
        return Err("the joint configuration was never left".to_owned());
    }
    let view = View::new(state, leader.unwrap_or_default(), raft.clone(), 0, 0, |_| {
        Observation::default()
    });
    let differs = view.members.iter().find(|(id, member)| {
        member.role.votes() != raft.voters.contains(id) || member.role.is_replica() != raft.contains(id)
    });
    if let Some((id, member)) = differs {
        return Err(format!(
            "{} is recorded as a {}, which Raft does not say",
            id.short(),
            member.role
        ));
    }
    if let Some(stray) = raft.members().into_iter().find(|id| !view.members.contains_key(id)) {
        return Err(format!("{} is in Raft's configuration and not admitted", stray.short()));
    }
    let misplaced = view.members.iter().find(|(_, member)| !member.may_be(member.role));
    let target = view.formation.resolve(view.eligible());
    // Operators may hold everyone back: whoever votes has to go on.
    if target.votes() == 0 {
        return Ok(());
    }
    if let Some((id, member)) = misplaced {
        return Err(format!(
            "{} is a {} in spite of {:?}",
            id.short(),
            member.role,
            member.hold
        ));
    }
    if let Some(leader) = leader.filter(|id| view.members.get(id).is_none_or(|member| !member.may_be(Role::Voter))) {
        return Err(format!("{} leads and may not", leader.short()));
    }
    // With members that stay away the formation may be out of reach.
    if view.members.keys().any(|id| !running.contains_key(id)) {
        return Ok(());
    }
    let count = |role: Role| view.members.values().filter(|member| member.role == role).count();
    let got = (count(Role::Voter), count(Role::Witness), count(Role::Standby));
    let want = (target.voters, target.witnesses, target.standbys);
    if got != want {
        return Err(format!("voters, witnesses and standbys are {got:?}, want {want:?}"));
    }
    Ok(())
}

/// Every running member takes part and serves.
fn serving(state: &MeshState, running: &BTreeMap<MemberId, &Final>) -> Result<(), String> {
    for (id, member) in state.members() {
        let Some(last) = running.get(&id) else { continue };
        if let Some(reason) = &last.halted {
            return Err(format!(
                "machine {} is admitted and refuses to take part: {reason}",
                last.machine
            ));
        }
        if !last.api && !member.witness {
            return Err(format!("machine {} ({}) does not serve", last.machine, member.role));
        }
        if member.role.is_replica() && last.applied.is_none() {
            return Err(format!(
                "machine {} is a {} without a replica",
                last.machine, member.role
            ));
        }
    }
    Ok(())
}

/// Every replica applied what was committed in time.
fn caught_up(facts: &Facts<'_>, state: &MeshState, running: &BTreeMap<MemberId, &Final>) -> Result<(), String> {
    let due_ms = facts.record.ended.at_ms.saturating_sub(APPLIED_MS);
    let entries = facts.lineage().entries.values().rev();
    let Some(due) = entries.into_iter().find(|entry| entry.at.at_ms <= due_ms) else {
        return Ok(());
    };
    for (id, member) in state.members().filter(|(_, member)| member.role.is_replica()) {
        let Some(last) = running.get(&id) else { continue };
        if last.applied.is_some_and(|applied| applied < due.index) {
            return Err(format!(
                "machine {} ({}) applied up to {:?}; entry {} was committed at {}",
                last.machine, member.role, last.applied, due.index, due.at
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::testing::{World, assert_only, good};

    #[test]
    fn each_lack_is_seen() {
        let wrongs: [fn(&mut Record); 5] = [
            |record| record.finals[2].api = false,
            |record| record.raft.last_mut().unwrap().leads = false,
            |record| record.finals[1].applied = Some(1),
            |record| record.finals.iter_mut().for_each(|last| last.running = false),
            |record| {
                for last in &mut record.finals {
                    if let Some(raft) = &mut last.raft {
                        raft.outgoing = Some(raft.voters.clone());
                    }
                }
            },
        ];
        for wrong in wrongs {
            let mut record = good();
            wrong(&mut record);
            assert_only(&record, NAME);
        }
    }

    #[test]
    fn a_formation_that_is_not_reached() {
        let mut world = World::founded();
        for n in [1, 2] {
            world.join(n);
        }
        world.change(1, Role::Worker, Role::Standby);
        assert_only(&world.finish(), NAME);
    }
}
