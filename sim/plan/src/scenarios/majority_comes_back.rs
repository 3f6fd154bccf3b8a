//! A majority dies at once and comes back by itself: nothing needs an operator.

use super::Scenario;
use super::script::Script;
use crate::plan::Plan;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "majority-comes-back",
    pains: &[3],
    pain: "k3s#11992, microk8s#3204",
    what: "three of five voters crash at once and start again later; meanwhile nothing is written and no role changes, \
           afterwards every acknowledged write is there",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5);
    let first = s.rng.below(5) as u16;
    let lost = [0, 1, 2].map(|n| (first + n) % 5);
    let fate = s.fate();
    s.after(3_000, 6_000).crash_all(lost, fate);
    for machine in lost {
        s.after(5_000, 8_000).start(machine);
    }
    s.after(2_000, 3_000);
    s.done()
}
