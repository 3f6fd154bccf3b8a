//! A plan from a seed: a world, and a few themes of faults that are played against it again and again.
//!
//! Each seed draws two to four [themes](themes::Theme), so that its faults meet one another instead of each being
//! tried once. A theme gives *moves*, small groups of steps that belong together (a cut and its heal). Most moves
//! are placed beside a step that is there already: the worst moment for a fault is during another one.

mod themes;
mod world;

use themes::Theme;

use crate::plan::{Action, Plan, Step};
use crate::rng::Rng;

/// Fewest and most steps of a random plan.
pub const STEPS: (usize, usize) = (6, 20);
/// Earliest and latest end of the faults of a random plan, milliseconds.
pub const CALM_MS: (u64, u64) = (20_000, 45_000);
/// How long a cluster may take to be whole after a random plan, milliseconds.
pub const HEAL_MS: u64 = 60_000;

/// The random plan of a seed: the same for ever on every machine.
pub fn random(seed: u64) -> Plan {
    let mut rng = Rng::new(seed);
    let themes = Theme::some(&mut rng);
    let mut plan = world::world(seed, &mut rng, &themes);
    let wanted = rng.between(STEPS.0 as u64, STEPS.1 as u64) as usize;
    let mut budget = themes::Budget::of(&plan);
    // Every theme once, then by chance. Moves that do not fit are dropped, hence the bound.
    for n in 0..200 {
        if plan.steps.len() >= wanted && n >= themes.len() {
            break;
        }
        // Some themes come to an end: nobody is left who may leave.
        let theme = match n {
            0..40 => themes.get(n).or_else(|| rng.pick(&themes)).copied(),
            _ => None,
        };
        let theme = theme.unwrap_or(Theme::Partitions);
        let moves = theme.moves(&mut rng, &plan, &mut budget);
        if plan.steps.len() + moves.len() <= STEPS.1 {
            place(&mut rng, &mut plan, moves);
        }
    }
    plan.steps.sort_by_key(|step| step.at_ms);
    tighten(&mut rng, &mut plan);
    plan
}

/// Leaves out the idle time at the beginning and at the end: a run is paid for by the second.
fn tighten(rng: &mut Rng, plan: &mut Plan) {
    let (Some(first), Some(last)) = (plan.steps.first(), plan.steps.last()) else {
        return;
    };
    let early_ms = first.at_ms.saturating_sub(rng.between(500, 4_000));
    let last_ms = last.at_ms - early_ms;
    plan.steps.iter_mut().for_each(|step| step.at_ms -= early_ms);
    plan.calm_ms = (last_ms + rng.between(500, 3_000)).clamp(CALM_MS.0, plan.calm_ms);
}

/// Puts the steps of a move into the plan, at a time that suits; what would come after the end of all faults is
/// left out, since they end then anyway.
fn place(rng: &mut Rng, plan: &mut Plan, moves: Vec<(u64, Action)>) {
    let last_ms = plan.calm_ms - 100;
    let beside = if rng.chance(45) { rng.pick(&plan.steps) } else { None };
    let start_ms = match beside {
        Some(step) => (step.at_ms + rng.below(1_000)).saturating_sub(300).max(100),
        None => rng.between(300, plan.calm_ms * 8 / 10),
    };
    // Who leaves must have left before he comes again, whenever the other moves of the theme were placed.
    let steps = moves.into_iter().map(|(offset_ms, action)| Step {
        at_ms: start_ms + offset_ms,
        action,
    });
    plan.steps.extend(steps.filter(|step| step.at_ms < last_ms));
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{KINDS, Target, rules};

    #[test]
    fn every_seed_keeps_the_rules() {
        for seed in 0..10_000 {
            let plan = random(seed);
            assert_eq!(rules::check(&plan), Ok(()), "{plan}");
            assert!((STEPS.0..=STEPS.1).contains(&plan.steps.len()), "{plan}");
            assert!((CALM_MS.0..=CALM_MS.1).contains(&plan.calm_ms), "{plan}");
            assert!((3..=9).contains(&plan.machines.len()), "{plan}");
            let zones: BTreeSet<_> = plan.machines.iter().map(|machine| &machine.zone).collect();
            assert!(zones.len() <= 3, "{plan}");
            assert!(
                plan.machines.iter().filter(|machine| machine.witness).count() <= 1,
                "{plan}"
            );
            assert!(
                plan.steps
                    .iter()
                    .all(|step| !matches!(step.action, Action::Recover { .. }))
            );
            for (n, step) in plan.steps.iter().enumerate() {
                let Action::Return { machine } = step.action else {
                    continue;
                };
                let target = Target::Machine(machine);
                let went =
                    |step: &Step| step.action == Action::Expel { target } || step.action == Action::Leave { target };
                assert!(plan.steps[..n].iter().any(went), "{plan}");
            }
        }
    }

    #[test]
    fn a_seed_means_the_same_plan() {
        for seed in 0..500 {
            assert_eq!(random(seed), random(seed));
        }
        let plans: BTreeSet<_> = (0..500).map(|seed| random(seed).to_string()).collect();
        assert_eq!(plans.len(), 500);
    }

    #[test]
    fn a_thousand_seeds_have_faults_of_every_kind() {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut sizes: BTreeMap<usize, u64> = BTreeMap::new();
        for seed in 0..1_000 {
            let plan = random(seed);
            *sizes.entry(plan.machines.len()).or_default() += 1;
            for step in &plan.steps {
                *counts.entry(step.action.kind()).or_default() += 1;
            }
        }
        for kind in KINDS.iter().filter(|kind| **kind != "recover") {
            assert!(counts.get(kind).is_some_and(|count| *count >= 20), "{kind}: {counts:?}");
        }
        assert!((3..=9).all(|size| sizes.contains_key(&size)), "{sizes:?}");
    }
}
