//! The leader dies while a role change is under way, a little later each time.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "leader-dies-in-each-phase",
    pains: &[1],
    pain: "harvester#1763, harvester#2191, harvester#8968",
    what: "formation changes and a join begin role changes; each time the leader dies, or the member in transition, or \
           both, at another offset: the next leader goes on where the last one stopped",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 7).later(1).formation(3, 1);
    let triggers = [
        Action::Formation { voters: 5, standbys: 0 },
        Action::Join { machine: 6 },
        Action::Formation { voters: 3, standbys: 2 },
        Action::Drain { target: Target::Leader },
    ];
    // A promotion takes a second or two: the offsets of all seeds together cover all of it.
    for (round, trigger) in (0..).zip(triggers) {
        s.after(3_000, 4_000).then(trigger);
        s.after(20 + round * 150, 500 + round * 700);
        let fate = s.fate();
        match s.rng.below(4) {
            0 => s.crash(Target::InTransition, fate),
            1 => s.crash(Target::Leader, fate).crash(Target::InTransition, fate),
            _ => s.crash(Target::Leader, fate),
        };
        s.after(1_500, 4_000).start_all();
    }
    s.after(2_000, 3_000);
    s.done()
}
