//! Smaller plans that may show the same failure.

use crate::plan::{Action, Network, Plan, Step};
use crate::rules;

/// Plans a little smaller than this one, the boldest first; each is worth a run, and is to be shrunk again if it
/// still fails. Empty for a plan that cannot become smaller.
pub fn shrink(plan: &Plan) -> Vec<Plan> {
    let mut smaller = Vec::new();
    steps(plan, &mut smaller);
    calm(plan, &mut smaller);
    workload(plan, &mut smaller);
    world(plan, &mut smaller);
    smaller.retain(|plan| rules::check(plan).is_ok());
    smaller
}

/// Without a half, a quarter ... of the steps, down to without one.
fn steps(plan: &Plan, smaller: &mut Vec<Plan>) {
    let count = plan.steps.len();
    let mut size = count;
    while size > 0 {
        for from in (0..count).step_by(size) {
            let without = from..(from + size).min(count);
            let rest = plan.steps.iter().enumerate().filter(|(n, _)| !without.contains(n));
            smaller.push(Plan {
                steps: rest.map(|(_, step)| step.clone()).collect(),
                ..plan.clone()
            });
        }
        size /= 2;
    }
}

/// An earlier end, when the last step leaves time.
fn calm(plan: &Plan, smaller: &mut Vec<Plan>) {
    let last_ms = plan.steps.last().map_or(0, |step| step.at_ms);
    let calm_ms = last_ms + 2_000;
    if calm_ms < plan.calm_ms {
        smaller.push(Plan {
            calm_ms,
            ..plan.clone()
        });
    }
}

fn workload(plan: &Plan, smaller: &mut Vec<Plan>) {
    let now = plan.workload;
    let mut with = |workload| {
        if workload != now {
            smaller.push(Plan {
                workload,
                ..plan.clone()
            });
        }
    };
    with(crate::Workload {
        watchers: 0,
        listers: 0,
        leases: 0,
        ..now
    });
    with(crate::Workload { watchers: 0, ..now });
    with(crate::Workload { listers: 0, ..now });
    with(crate::Workload { leases: 0, ..now });
    with(crate::Workload {
        clients: now.clients.div_ceil(2),
        ..now
    });
    with(crate::Workload {
        keys: now.keys.div_ceil(2),
        ..now
    });
}

fn world(plan: &Plan, smaller: &mut Vec<Plan>) {
    if plan.machines.iter().any(|machine| machine.skew_ms != 0) {
        let mut even = plan.clone();
        even.machines.iter_mut().for_each(|machine| machine.skew_ms = 0);
        smaller.push(even);
    }
    let network = Network {
        latency_min_ms: 1,
        latency_max_ms: 2,
        loss_permille: 0,
    };
    if plan.network != network {
        smaller.push(Plan {
            network,
            ..plan.clone()
        });
    }
    if plan.formation.is_some() {
        smaller.push(Plan {
            formation: None,
            ..plan.clone()
        });
    }
    // The last machine, if nothing names it.
    let last = plan.machines.len().saturating_sub(1) as u16;
    let members = plan.machines.iter().filter(|machine| !machine.witness).count();
    if members > 3 && !plan.steps.iter().any(|step| names(step, last)) {
        let mut fewer = plan.clone();
        fewer.machines.pop();
        for step in &mut fewer.steps {
            if let Action::Partition { groups } = &mut step.action {
                groups
                    .iter_mut()
                    .for_each(|group| group.retain(|machine| *machine != last));
                groups.retain(|group| !group.is_empty());
            }
        }
        smaller.push(fewer);
    }
}

/// Whether a step concerns a machine by its number. A partition does not: it goes on without the machine.
fn names(step: &Step, machine: u16) -> bool {
    !matches!(step.action, Action::Partition { .. }) && rules::machines(&step.action).contains(&machine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn every_candidate_is_smaller_and_keeps_the_rules() {
        for seed in 0..200 {
            let plan = random(seed);
            let candidates = shrink(&plan);
            assert!(candidates.len() >= plan.steps.len());
            for candidate in candidates {
                assert_ne!(candidate, plan);
                assert_eq!(rules::check(&candidate), Ok(()), "{candidate}");
            }
        }
    }

    #[test]
    fn shrinking_ends_at_the_step_that_matters() {
        let fails = |plan: &Plan| plan.steps.iter().any(|step| step.action == Action::JoinAll);
        let mut plan = (0..1000).map(random).find(fails).expect("some seed joins all");
        for _ in 0..1000 {
            let Some(next) = shrink(&plan).into_iter().find(fails) else {
                break;
            };
            plan = next;
        }
        assert_eq!(plan.steps.len(), 1);
        assert_eq!(plan.workload.clients, 1);
        assert!(!shrink(&plan).iter().any(fails));
    }
}
