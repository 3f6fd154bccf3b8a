//! One change of roles at a time, each through its phases in order, and each comes to an end.
//!
//! Architecture, section 7: a transition is a machine in the replicated state, one is in flight, each phase has a deadline
//! and a rollback. Ongaro's dissertation, chapter 4: a configuration may only change in steps whose majorities overlap;
//! our steps are joint ones of at most one voter in and one out.

use std::collections::BTreeMap;

use revoada_core::MemberId;
use revoada_core::transition::{Phase, Transition};

use super::Broken;
use crate::facts::Facts;
use crate::record::{Picture, Stamp};

/// Name of the invariant.
pub const NAME: &str = "one transition in flight, its phases in order and bounded";

/// The longest that a transition may be in flight in peace, milliseconds.
const FLIGHT_MS: u64 = 90_000;

/// The longest that one phase other than learning may take in peace, milliseconds: its deadline of ten seconds and as
/// much for each leader that begins to count it anew.
const PHASE_MS: u64 = 45_000;

/// The longest that a transition may wait for a member that is down while a leader leads and commits, milliseconds: up
/// to 4 s until it is held for dead, 5 s until it is given up, a deadline of 10 s if it was caught up, and the steps.
const DEAD_MS: u64 = 25_000;

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let mut branches: BTreeMap<u64, Vec<(u64, &Picture)>> = BTreeMap::new();
    let outsiders = facts.outsiders();
    for picture in &facts.record.pictures {
        // Whoever doesn't know that it was expelled goes on with the picture it had.
        if outsiders.contains(&picture.machine) && picture.at > facts.record.calm {
            continue;
        }
        let (Some(chain), Some(applied)) = (picture.state.chain(), picture.state.applied()) else {
            continue;
        };
        let branch = facts.branch(picture.machine, chain.epoch(), picture.at);
        branches.entry(branch).or_default().push((applied.index, picture));
    }
    for (branch, pictures) in &mut branches {
        pictures.sort_by_key(|(applied, picture)| (*applied, picture.at));
        in_order(pictures)?;
        small_steps(pictures)?;
        bounded(facts, *branch, pictures)?;
    }
    Ok(())
}

fn show(transition: &Transition) -> String {
    let spec = &transition.spec;
    format!(
        "transition {} ({} {} -> {})",
        transition.id,
        spec.member.short(),
        spec.from,
        spec.to
    )
}

fn in_order(pictures: &[(u64, &Picture)]) -> Result<(), Broken> {
    let mut last: Option<(u64, &Transition)> = None;
    let mut over = 0;
    for (applied, picture) in pictures {
        let now = picture.state.in_flight();
        if let Some(done) = picture.state.ended().map(|ended| ended.id).max() {
            over = over.max(done);
        }
        if let Some(now) = now {
            if now.id <= over {
                let what = format!("{} is in flight at entry {applied}, and was over before", show(now));
                return Err(Broken::new(NAME, picture.at, what));
            }
            if now.phase >= Phase::Committed {
                let what = format!("{} is in flight at entry {applied}, and {}", show(now), now.phase);
                return Err(Broken::new(NAME, picture.at, what));
            }
        }
        if let (Some((before, last)), Some(now)) = (last, now) {
            let wrong = if now.id < last.id {
                Some(format!("{} was in flight at entry {before}", show(last)))
            } else if now.id > last.id && over < last.id {
                Some(format!(
                    "{} was in flight at entry {before} and never ended",
                    show(last)
                ))
            } else if now.id == last.id && now.spec != last.spec {
                Some(format!("at entry {before} it was {}", show(last)))
            } else if now.id == last.id && now.phase < last.phase {
                Some(format!("it went back from {} to {}", last.phase, now.phase))
            } else if before == *applied && (now.id, now.phase) != (last.id, last.phase) {
                Some(format!("another replica has {} in {}", show(last), last.phase))
            } else {
                None
            };
            if let Some(wrong) = wrong {
                let what = format!("{} is in flight at entry {applied}; {wrong}", show(now));
                return Err(Broken::new(NAME, picture.at, what));
            }
        }
        match now {
            Some(now) => last = Some((*applied, now)),
            // Whatever was in flight is over.
            None => over = over.max(last.map_or(0, |(_, last)| last.id)),
        }
    }
    Ok(())
}

fn small_steps(pictures: &[(u64, &Picture)]) -> Result<(), Broken> {
    for (applied, picture) in pictures {
        let Some(outgoing) = picture.raft.outgoing.as_ref().filter(|_| picture.replica) else {
            continue;
        };
        let incoming = &picture.raft.voters;
        let (joins, leaves) = (
            incoming.difference(outgoing).count(),
            outgoing.difference(incoming).count(),
        );
        if joins > 1 || leaves > 1 {
            let what = format!("{joins} voters come and {leaves} go in one change, at entry {applied}");
            return Err(Broken::new(NAME, picture.at, what));
        }
    }
    Ok(())
}

/// Once the faults are over no transition hangs; on a dead member none ever does while others commit.
fn bounded(facts: &Facts<'_>, branch: u64, pictures: &[(u64, &Picture)]) -> Result<(), Broken> {
    let (calm, ended) = (facts.record.calm, facts.record.ended);
    let mut phases: BTreeMap<(u64, Phase), Stamp> = BTreeMap::new();
    let mut entries: BTreeMap<u64, u64> = BTreeMap::new();
    let mut members: BTreeMap<u64, MemberId> = BTreeMap::new();
    for (applied, picture) in pictures {
        if let Some(now) = picture.state.in_flight() {
            entries.entry(now.id).or_insert(*applied);
            members.insert(now.id, now.spec.member);
            let first = phases.entry((now.id, now.phase)).or_insert(picture.at);
            *first = (*first).min(picture.at);
        }
    }
    let mut over: BTreeMap<u64, Stamp> = BTreeMap::new();
    for (applied, picture) in pictures {
        let now = picture.state.in_flight().map(|now| now.id);
        for (id, begun) in &entries {
            if applied > begun && now != Some(*id) {
                let end = over.entry(*id).or_insert(picture.at);
                *end = (*end).min(picture.at);
            }
        }
    }
    let mut begun: BTreeMap<u64, Stamp> = BTreeMap::new();
    for ((id, _), first) in &phases {
        let begin = begun.entry(*id).or_insert(*first);
        *begin = (*begin).min(*first);
    }
    for (id, member) in &members {
        let end = over.get(id).copied().unwrap_or(ended);
        let machine = facts.machines.get(member);
        for (down, up) in machine.map(|machine| facts.downs(*machine)).unwrap_or_default() {
            let (since, until) = (down.max(begun[id]), up.min(end));
            let waited_ms = until.at_ms.saturating_sub(since.at_ms);
            let one_leader = !facts.record.leading.iter().any(|l| l.at >= since && l.at <= until);
            if waited_ms > DEAD_MS && one_leader && facts.commits_flow(branch, since.at_ms, until.at_ms) {
                let what = format!(
                    "transition {id} waited {waited_ms} ms for {}, which was down",
                    member.short()
                );
                return Err(Broken::new(NAME, since, what));
            }
        }
    }
    for ((id, phase), first) in &phases {
        let next = phases
            .range((*id, *phase)..)
            .find(|((other, later), _)| other == id && later > phase)
            .map(|(_, at)| *at);
        let end = over.get(id).copied().unwrap_or(ended);
        let in_phase_ms = next.unwrap_or(end).at_ms.saturating_sub(first.at_ms.max(calm.at_ms));
        let in_flight_ms = end.at_ms.saturating_sub(begun[id].at_ms.max(calm.at_ms));
        let (is, ms) = if in_flight_ms > FLIGHT_MS {
            ("in flight".to_owned(), in_flight_ms)
        } else if *phase != Phase::Learning && in_phase_ms > PHASE_MS {
            (format!("in phase {phase}"), in_phase_ms)
        } else {
            continue;
        };
        let what = format!("transition {id} was {is} for {ms} ms of peace");
        return Err(Broken::new(NAME, *first, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use revoada_core::command::MeshCommand;
    use revoada_core::role::Role;

    use super::*;
    use crate::record::Power;
    use crate::testing::{World, assert_only, id};

    #[test]
    fn phases_that_go_back() {
        let mut world = World::founded();
        world.join(1);
        world.begin(1, Role::Worker, Role::Standby);
        world.advance(Phase::Learning);
        let learning = world.state();
        world.advance(Phase::CaughtUp);
        let n = world.record.pictures.len() - 1;
        let mut record = world.finish_as_is();
        // The picture of a later entry shows an earlier phase.
        let mut older = learning;
        older.apply(
            record.pictures[n].state.applied().unwrap(),
            0,
            id(0),
            &MeshCommand::RevokeTickets,
        );
        let index = older.applied().unwrap();
        let at = revoada_core::consensus::LogPosition {
            index: index.index + 1,
            ..index
        };
        older.apply(at, 0, id(0), &MeshCommand::RevokeTickets);
        let mut picture = record.pictures[n].clone();
        picture.at.order += 1;
        picture.state = older.into();
        record.pictures.push(picture);
        assert_only(&record, NAME);
    }

    #[test]
    fn two_in_flight() {
        let mut world = World::founded();
        world.join(1);
        world.join(2);
        let before = world.state();
        world.begin(1, Role::Worker, Role::Standby);
        let mut record = world.finish_as_is();
        // A replica that, at the same entry, has another one in flight.
        let mut other = before;
        let spec = revoada_core::transition::TransitionSpec {
            member: id(2),
            from: Role::Worker,
            to: Role::Standby,
            replaces: None,
            reason: String::new(),
        };
        let picture = record.pictures.last().unwrap();
        let applied = picture.state.applied().unwrap();
        other.apply(applied, 0, id(0), &MeshCommand::BeginTransition { spec });
        let mut picture = picture.clone();
        picture.machine = 2;
        picture.state = other.into();
        picture.at = record.next();
        record.pictures.push(picture);
        assert_only(&record, NAME);
    }

    #[test]
    fn two_voters_at_once() {
        let mut world = World::founded();
        world.join(1);
        world.join(2);
        let mut record = world.finish_as_is();
        let picture = record.pictures.last_mut().unwrap();
        picture.raft.outgoing = Some([id(0)].into());
        picture.raft.voters = [id(0), id(1), id(2)].into();
        picture.replica = true;
        assert_only(&record, NAME);
    }

    #[test]
    fn one_that_hangs() {
        let mut world = World::founded();
        world.join(1);
        world.begin(1, Role::Worker, Role::Standby);
        world.pass_ms(PHASE_MS + 1);
        assert_only(&world.finish_as_is(), NAME);
    }
    #[test]
    fn one_that_waits_for_the_dead() {
        for waits in [true, false] {
            let mut world = World::founded();
            world.join(1);
            world.begin(1, Role::Worker, Role::Standby);
            let at = world.tick();
            world.record.power.push(Power {
                at,
                machine: 1,
                up: false,
            });
            for n in 0..=(DEAD_MS / 1_000) {
                world.commit(vec![("/other", Some(if n % 2 == 0 { "a" } else { "b" }))]);
                world.pass_ms(1_000);
                if n == 10 && !waits {
                    world.mesh(MeshCommand::AbortTransition {
                        id: 1,
                        reason: String::new(),
                    });
                }
            }
            let record = world.finish_as_is();
            assert_eq!(check(&Facts::new(&record)).is_err(), waits);
        }
    }

    #[test]
    fn one_in_the_place_of_another() {
        let mut world = World::founded();
        world.join(1);
        world.join(2);
        world.begin(1, Role::Worker, Role::Standby);
        let first = world.state().in_flight().unwrap().id;
        let id = first;
        world.mesh(MeshCommand::AbortTransition {
            id,
            reason: String::new(),
        });
        world.begin(2, Role::Worker, Role::Standby);
        let mut record = world.finish_as_is();
        assert_eq!(in_order_of(&record), Ok(()));
        // Nobody ever saw the first one end.
        record.pictures.retain(|picture| picture.state.in_flight().is_some());
        assert!(in_order_of(&record).is_err());
    }

    fn in_order_of(record: &crate::record::Record) -> Result<(), Broken> {
        let pictures = record.pictures.iter();
        let pictures: Vec<_> = pictures
            .map(|picture| (picture.state.applied().map_or(0, |at| at.index), picture))
            .collect();
        in_order(&pictures)
    }
}
