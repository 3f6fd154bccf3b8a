//! Two machines survive the loss of either with a witness.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-machines-and-a-witness",
    pains: &[4],
    pain: "harvester#3266, k3s#5299",
    what: "of two machines and a witness each fails in turn, then the two are cut from each other and both reach the \
           witness; one of the two goes on each time, the witness never leads for long and serves nothing",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 3).witness();
    let first = s.rng.below(2) as u16;
    for machine in [first, 1 - first, 2] {
        let fate = s.fate();
        s.after(2_500, 4_000).crash(Target::Machine(machine), fate);
        s.after(4_000, 6_000).start(machine);
    }
    // Both can reach the vote that decides.
    s.after(3_000, 4_000).then(Action::Hold {
        a: Target::Machine(0),
        b: Target::Machine(1),
    });
    s.after(4_000, 6_000).then(Action::Heal);
    s.after(2_000, 3_000).partition(&[&[first], &[1 - first, 2]]);
    s.after(4_000, 6_000).then(Action::Heal);
    s.after(1_000, 2_000);
    s.done()
}
