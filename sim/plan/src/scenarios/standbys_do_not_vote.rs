//! A voter and all standbys on one side, the other voters on the other.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "standbys-do-not-vote",
    pains: &[],
    pain: "",
    what: "of three voters and two standbys, one voter restarts and is cut off with both standbys, twice: they are three of five and no \
           majority, so they elect nobody, while the other two voters go on",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5)
        .formation(3, 2)
        .workload(|workload| workload.clients = 6);
    for _ in 0..2 {
        let cut = s.rng.below(2) as u16;
        // Who votes is read back from the log.
        s.after(1_000, 2_000).then(Action::Restart {
            target: Target::Follower(cut),
            down_ms: 300,
        });
        let here = [Target::Leader, Target::Follower(1 - cut)];
        let there = [Target::Follower(cut), Target::Standby(0), Target::Standby(1)];
        s.after(2_000, 4_000);
        for (a, b) in here.into_iter().flat_map(|a| there.into_iter().map(move |b| (a, b))) {
            s.then(Action::Hold { a, b });
        }
        s.after(6_000, 8_000).then(Action::Heal);
    }
    s.after(2_000, 3_000);
    s.done()
}
