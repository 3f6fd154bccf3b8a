//! Expelled machines come back with their old keys and data.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "expelled-returns",
    pains: &[7],
    pain: "k0s#8103, k0s#8141",
    what: "a dead voter and a living one are expelled and return with their old keys, one behind a partition that hid \
           its expulsion; everyone refuses them, and they are served nothing",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6).formation(3, 1);
    let (dead, alive) = (s.rng.between(1, 2) as u16, s.rng.between(3, 5) as u16);
    s.after(1_000, 3_000).crash(Target::Machine(dead), DiskFate::Kept);
    s.after(8_000, 9_000).then(Action::Expel {
        target: Target::Machine(dead),
    });
    s.after(3_000, 5_000).then(Action::Return { machine: dead });
    // The other one is cut off and does not learn that it was expelled.
    let rest: Vec<u16> = (0..6).filter(|n| *n != alive).collect();
    s.after(2_000, 3_000).partition(&[&rest, &[alive]]);
    s.after(6_000, 8_000).then(Action::Expel {
        target: Target::Machine(alive),
    });
    s.after(3_000, 4_000).then(Action::Heal);
    s.after(1_000, 3_000).then(Action::Return { machine: alive });
    s.after(4_000, 5_000);
    s.done()
}
