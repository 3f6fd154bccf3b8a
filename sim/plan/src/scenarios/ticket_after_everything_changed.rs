//! Machines join after everything that a ticket could depend on has changed.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ticket-after-everything-changed",
    pains: &[9],
    pain: "k3s#4640, k3s#3888",
    what: "the founder leaves, everyone changes address, leadership moves, the rest is restarted; new machines are \
           admitted all the same, one while the leader dies, and read what was written before",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6).later(2);
    s.after(2_000, 3_000).then(Action::Leave {
        target: Target::Machine(0),
    });
    s.after(5_000, 7_000).then(Action::Readdress { target: None });
    s.after(4_000, 6_000).then(Action::Transfer);
    s.after(500, 2_000).then(Action::Join { machine: 4 });
    s.after(3_000, 5_000).crash_all(1..4, DiskFate::Lost);
    s.after(500, 1_500).start_all();
    s.after(3_000, 5_000).then(Action::Join { machine: 5 });
    s.after(20, 800).crash(Target::Leader, DiskFate::Kept);
    s.after(2_000, 4_000).start_all();
    s.after(2_000, 3_000);
    s.done()
}
