//! A machine dies while it is being made a learner, and stays dead.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "newcomer-dies-while-it-learns",
    pains: &[6],
    pain: "k3s#2306, talos#13710",
    what: "a worker that the leader's messages do not reach is made a standby and dies before it has caught up, for good; it is given up in time, \
           and the formation changes afterwards as if it had never been",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 4).formation(3, 0);
    s.after(1_000, 2_000).then(Action::Hold {
        a: Target::Leader,
        b: Target::Worker(0),
    });
    s.after(50, 1_500).then(Action::Formation { voters: 3, standbys: 1 });
    s.after(600, 1_500).crash(Target::InTransition, DiskFate::Kept);
    // Longer than any learner may take that is not even alive.
    s.after(40_000, 45_000).then(Action::Heal).start_all();
    s.after(1_000, 2_000);
    s.done()
}
