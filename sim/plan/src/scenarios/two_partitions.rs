//! The machines fall into two halves.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-partitions",
    pains: &[],
    pain: "",
    what: "four machines with three voters fall into halves, twice, while the formation changes and each side has dead \
           members to replace; at most one half may write and change roles, and the other knows that it may not",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 4).zones(2);
    let turn = s.rng.below(4) as u16;
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| (n + turn) % 4);
    s.after(3_000, 5_000).partition(&[&[a, b], &[c, d]]);
    s.after(8_000, 10_000).then(Action::Heal);
    // In the middle of a change of voters.
    let voters = if s.rng.chance(50) { 1 } else { 3 };
    s.after(4_000, 5_000).then(Action::Formation { voters, standbys: 1 });
    s.after(50, 2_500).partition(&[&[a, c], &[b, d]]);
    s.after(500, 2_000).then(Action::Formation { voters: 3, standbys: 0 });
    let fate = s.fate();
    s.after(2_000, 3_000).crash(Target::Machine(d), fate);
    s.after(6_000, 8_000).then(Action::Heal).start_all();
    s.after(1_000, 2_000);
    s.done()
}
