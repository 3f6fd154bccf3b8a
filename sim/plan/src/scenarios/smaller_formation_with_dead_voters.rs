//! Fewer voters are wanted while some are dead.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "smaller-formation-with-dead-voters",
    pains: &[1],
    pain: "k3s#5581, harvester#5421",
    what: "two of five voters die for good without anybody to take their seats, and an operator asks for three voters; the \
           dead go, never one of those that are left",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5).formation(5, 0);
    let first = s.rng.below(5) as u16;
    let fate = s.fate();
    let dead = if s.rng.chance(50) {
        [Target::Follower(first), Target::Follower(first + 1)]
    } else {
        [Target::Leader, Target::Follower(first)]
    };
    for target in dead {
        s.after(1_000, 3_000).crash(target, fate);
    }
    // Long enough for everybody to know.
    s.after(18_000, 22_000).then(Action::Formation { voters: 3, standbys: 0 });
    s.after(8_000, 12_000);
    s.done()
}
