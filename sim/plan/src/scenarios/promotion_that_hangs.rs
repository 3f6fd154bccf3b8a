//! Promotions that cannot come to an end.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, DiskFault, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "promotion-that-hangs",
    pains: &[1],
    pain: "harvester#1763, harvester#2191, harvester#8968",
    what: "a voter dies, and whoever is promoted in its place hangs: its disk stalls, then it is cut off; the transition \
           is given up and another spare takes the seat",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6).formation(3, 0);
    s.after(2_000, 4_000).crash(Target::Follower(0), DiskFate::Kept);
    s.after(4_600, 6_500).then(Action::Disk {
        target: Target::InTransition,
        fault: DiskFault::Slow(20_000),
    });
    s.after(50, 1_500).then(Action::Hold {
        a: Target::Leader,
        b: Target::InTransition,
    });
    s.after(12_000, 15_000).crash(Target::InTransition, DiskFate::Kept);
    s.after(8_000, 10_000).then(Action::Heal).then(Action::DiskHeal);
    s.after(1_000, 2_000);
    s.done()
}
