//! A member that comes and goes does not drag the roles along.

use super::Scenario;
use super::script::Script;
use crate::plan::{DiskFate, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "flapping-voter",
    pains: &[],
    pain: "",
    what: "one machine of four crashes and starts again and again, now too short to count as dead, now longer; its role \
           is not handed to and fro each time",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 4);
    let machine = s.rng.between(1, 3) as u16;
    for round in 0..5 {
        s.after(500, 2_500).crash(Target::Machine(machine), DiskFate::Kept);
        match round % 2 {
            0 => s.after(300, 1_500),
            _ => s.after(5_000, 7_000),
        };
        s.start(machine);
    }
    s.after(1_000, 2_000);
    s.done()
}
