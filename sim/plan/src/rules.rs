//! What a plan may ask for: everything in it exists, and a cluster that keeps its promises survives it.

use std::collections::BTreeSet;

use crate::plan::{Action, Plan, Target};

/// The most machines.
pub const MACHINES_MAX: usize = 16;
/// The latest end of the faults, milliseconds.
pub const CALM_MS_MAX: u64 = 90_000;
/// The most steps.
pub const STEPS_MAX: usize = 64;
/// The largest jump of a clock, milliseconds.
pub const CLOCK_MS_MAX: i64 = 15 * 60_000;

/// Checks a plan; says what is wrong with it.
///
/// Survivable means: crashed machines come back with everything they synced, so any number may crash. Machines that
/// leave or are expelled do not come back: two that can hold data must stay, whoever goes. An operator recovers only
/// when a majority of the machines is down for good, since a recovery beside a living majority makes two histories.
pub fn check(plan: &Plan) -> Result<(), String> {
    world(plan)?;
    let mut before_ms = 0;
    for step in &plan.steps {
        if step.at_ms < before_ms || step.at_ms >= plan.calm_ms {
            return Err(format!("out of order or after the faults' end: {step}"));
        }
        before_ms = step.at_ms;
        let exists = machines(&step.action)
            .iter()
            .all(|n| usize::from(*n) < plan.machines.len());
        if !exists || !values(&step.action) {
            return Err(format!("names what is not there: {step}"));
        }
    }
    departures(plan)?;
    recovery(plan)
}

fn world(plan: &Plan) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{}: {what}", plan.name));
    let Some(founder) = plan.machines.first() else {
        return fail("no machines");
    };
    if plan.machines.len() > MACHINES_MAX || plan.steps.len() > STEPS_MAX || plan.calm_ms > CALM_MS_MAX {
        return fail("too large");
    }
    if founder.witness || !founder.at_start {
        return fail("the founder is a witness, or not there at the start");
    }
    let skewed = |machine: &crate::Machine| machine.skew_ms.abs() > CLOCK_MS_MAX;
    if plan.machines.iter().any(skewed) {
        return fail("a clock is too far off");
    }
    if plan
        .formation
        .is_some_and(|(voters, standbys)| !shape(voters, standbys))
    {
        return fail("no such formation");
    }
    if plan.network.latency_min_ms > plan.network.latency_max_ms || plan.network.loss_permille > 500 {
        return fail("no such network");
    }
    if plan.workload.clients > 0 && plan.workload.keys == 0 || plan.workload.reads_percent > 100 {
        return fail("no such workload");
    }
    Ok(())
}

fn shape(voters: u16, standbys: u16) -> bool {
    voters % 2 == 1 && voters <= 7 && standbys <= 7
}

/// Whether the values of an action make sense.
fn values(action: &Action) -> bool {
    match action {
        Action::Formation { voters, standbys } => shape(*voters, *standbys),
        Action::Weather { network } => network.latency_min_ms <= network.latency_max_ms && network.loss_permille <= 500,
        Action::ClockJump { by_ms, .. } => by_ms.abs() <= CLOCK_MS_MAX,
        Action::Partition { groups } => {
            let all: Vec<_> = groups.iter().flatten().collect();
            all.iter().collect::<BTreeSet<_>>().len() == all.len()
        }
        Action::CrashMany { targets, .. } => !targets.is_empty(),
        _ => true,
    }
}

/// Every machine that an action names by its number.
pub(crate) fn machines(action: &Action) -> Vec<u16> {
    let number = |target: &Target| match target {
        Target::Machine(n) => Some(*n),
        _ => None,
    };
    match action {
        Action::Crash { target, .. }
        | Action::Restart { target, .. }
        | Action::Disk { target, .. }
        | Action::ClockJump { target, .. }
        | Action::Leave { target }
        | Action::Expel { target }
        | Action::Drain { target }
        | Action::Undrain { target }
        | Action::Snapshot { target } => number(target).into_iter().collect(),
        Action::CrashMany { targets, .. } => targets.iter().filter_map(number).collect(),
        Action::Start { target } | Action::Readdress { target } => target.iter().filter_map(number).collect(),
        Action::OneWay { from, to } => [from, to].into_iter().filter_map(number).collect(),
        Action::Hold { a, b } => [a, b].into_iter().filter_map(number).collect(),
        Action::Join { machine } | Action::Return { machine } | Action::Recover { machine } => vec![*machine],
        Action::Partition { groups } => groups.iter().flatten().copied().collect(),
        Action::IsolateLeader
        | Action::Heal
        | Action::Weather { .. }
        | Action::DiskHeal
        | Action::JoinAll
        | Action::Formation { .. }
        | Action::Transfer => Vec::new(),
    }
}

/// Whoever leaves or is expelled, two members that can hold data stay. An expelled key does not join again.
fn departures(plan: &Plan) -> Result<(), String> {
    let mut expelled = BTreeSet::new();
    let (mut named, mut unnamed) = (BTreeSet::new(), 0);
    for step in &plan.steps {
        match &step.action {
            Action::Expel { target } | Action::Leave { target } => {
                let Target::Machine(n) = target else {
                    unnamed += 1;
                    continue;
                };
                named.insert(*n);
                if matches!(step.action, Action::Expel { .. }) {
                    expelled.insert(*n);
                }
            }
            Action::Join { machine } if expelled.contains(machine) => {
                return Err(format!("joins though expelled: {step}"));
            }
            _ => {}
        }
    }
    let members = plan.machines.iter().enumerate();
    let stay = members
        .filter(|(n, machine)| machine.at_start && !machine.witness && !named.contains(&(*n as u16)))
        .count();
    let someone_goes = unnamed > 0 || !named.is_empty();
    if someone_goes && stay < unnamed + 2 {
        return Err(format!("only {stay} members are sure to stay, less {unnamed}"));
    }
    Ok(())
}

/// An operator recovers only when the machines that are down by number are a majority, on one that is up.
fn recovery(plan: &Plan) -> Result<(), String> {
    let at_start = plan.machines.iter().filter(|machine| machine.at_start).count();
    let mut down = BTreeSet::new();
    for step in &plan.steps {
        match &step.action {
            Action::Crash { .. } | Action::CrashMany { .. } => down.extend(machines(&step.action)),
            Action::Start { target: Some(_) } | Action::Return { .. } => {
                for machine in machines(&step.action) {
                    down.remove(&machine);
                }
            }
            Action::Start { target: None } => down.clear(),
            Action::Recover { machine } if down.len() * 2 <= at_start || down.contains(machine) => {
                return Err(format!("recovers though a majority may be alive: {step}"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{DiskFate, Step};

    fn with(actions: &[Action]) -> Plan {
        let mut plan = crate::random(3);
        plan.machines.truncate(3);
        for machine in &mut plan.machines {
            (machine.at_start, machine.witness) = (true, false);
        }
        plan.steps = (1000..)
            .zip(actions)
            .map(|(at_ms, action)| Step {
                at_ms,
                action: action.clone(),
            })
            .collect();
        plan
    }

    #[test]
    fn what_cannot_be_survived_is_refused() {
        let crash = |n| Action::Crash {
            target: Target::Machine(n),
            disk: DiskFate::Kept,
        };
        let leave = |target| Action::Leave { target };
        let bad: [&[Action]; 7] = [
            &[crash(3)],
            &[leave(Target::Machine(1)), leave(Target::Leader)],
            &[
                Action::Expel {
                    target: Target::Machine(2),
                },
                Action::Join { machine: 2 },
            ],
            &[Action::Formation { voters: 2, standbys: 0 }],
            &[Action::Recover { machine: 0 }],
            &[crash(1), Action::Recover { machine: 0 }],
            &[
                crash(1),
                crash(2),
                Action::Start { target: None },
                Action::Recover { machine: 0 },
            ],
        ];
        for actions in bad {
            assert!(check(&with(actions)).is_err(), "{actions:?}");
        }
        let good: [&[Action]; 3] = [
            &[crash(1), crash(2), crash(0)],
            &[
                crash(1),
                crash(2),
                Action::Recover { machine: 0 },
                Action::Return { machine: 1 },
            ],
            &[leave(Target::Machine(1)), Action::Join { machine: 1 }],
        ];
        for actions in good {
            assert_eq!(check(&with(actions)), Ok(()), "{actions:?}");
        }
    }
}
