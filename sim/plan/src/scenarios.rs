//! Named scenarios: what users of other distributions suffered from, and the ways to split a brain.
//!
//! Each of the thirteen pains that the design set out to remove has a scenario with its own name, or stands in
//! [`NOT_YET`] with the reason. A scenario is a script whose exact times, latencies and choices follow from the seed.

mod script;

use crate::plan::Plan;

/// A plan with a name and a reason.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, as on the command line.
    pub name: &'static str,
    /// Which of the thirteen pains it is about.
    pub pains: &'static [u8],
    /// Where users told of it: issues of other projects.
    pub pain: &'static str,
    /// What happens, and what must hold.
    pub what: &'static str,
    /// Its plan for a seed.
    pub plan: fn(u64) -> Plan,
}

/// How many pains there are.
pub const PAINS: u8 = 13;

/// Pains without a scenario, and why.
pub const NOT_YET: &[(u8, &str)] = &[(
    11,
    "images without a registry: there is no distribution of images to simulate yet",
)];

macro_rules! scenarios {
    ($($module:ident)*) => {
        $(mod $module;)*

        /// All scenarios, by name.
        pub fn scenarios() -> &'static [Scenario] {
            const ALL: &[Scenario] = &[$($module::SCENARIO),*];
            ALL
        }
    };
}

scenarios! {
    all_addresses_change
    certificates_end
    clock_jumps
    dead_node_stalls_nobody
    dead_server_is_replaced
    disk_full_leader
    expelled_returns
    fair_weather
    flapping_voter
    gossip_lost
    leader_dies_in_each_phase
    learner_and_snapshot
    majority_comes_back
    member_that_left_stays_gone
    minority_leader_keeps_writing
    newcomer_dies_while_it_learns
    nobody_has_a_majority
    power_cut_everywhere
    promotion_that_hangs
    recover_after_lost_majority
    servers_go_down_in_turn
    smaller_formation_with_dead_voters
    standbys_do_not_vote
    stuck_learner
    ticket_after_everything_changed
    torn_logs
    two_machines_and_a_witness
    two_partitions
    two_partitions_one_way
    upgrade_under_load
}

/// The scenario of a name.
pub fn scenario(name: &str) -> Option<&'static Scenario> {
    scenarios().iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rules;

    #[test]
    fn every_pain_has_a_scenario_or_a_reason() {
        let covered: BTreeSet<u8> = scenarios().iter().flat_map(|s| s.pains).copied().collect();
        let reasons: BTreeSet<u8> = NOT_YET.iter().map(|(pain, _)| *pain).collect();
        assert!(covered.is_disjoint(&reasons));
        let all: BTreeSet<u8> = covered.union(&reasons).copied().collect();
        assert_eq!(all, (1..=PAINS).collect());
    }

    #[test]
    fn names_are_unique_sorted_and_told() {
        let names: Vec<_> = scenarios().iter().map(|s| s.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        for s in scenarios() {
            assert!(
                s.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{}",
                s.name
            );
            assert!(
                !s.what.is_empty() && s.pains.is_empty() == s.pain.is_empty(),
                "{}",
                s.name
            );
            assert!(scenario(s.name).is_some());
        }
        assert!(scenario("no-such").is_none());
    }

    #[test]
    fn every_plan_keeps_the_rules_and_follows_from_its_seed() {
        for s in scenarios() {
            let plans: BTreeSet<_> = (0..100)
                .map(|seed| {
                    let plan = (s.plan)(seed);
                    assert_eq!((plan.name.as_str(), plan.seed), (s.name, seed));
                    assert_eq!(rules::check(&plan), Ok(()), "{plan}");
                    assert_eq!(plan, (s.plan)(seed));
                    assert!(plan.calm_ms <= 60_000, "{plan}");
                    format!("{:?}", Plan { seed: 0, ..plan })
                })
                .collect();
            assert!(plans.len() > 90, "{}: {} different plans", s.name, plans.len());
        }
    }
}
