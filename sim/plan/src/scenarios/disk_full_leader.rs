//! The leader's disk is full, or broken.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, DiskFault, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "disk-full-leader",
    pains: &[],
    pain: "",
    what: "the leader's disk fills up, the next leader's breaks, one loses power while it is full; each steps down \
           before it damages anything and comes back when there is room",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5);
    let disk = |s: &mut Script, fault| {
        s.then(Action::Disk {
            target: Target::Leader,
            fault,
        });
    };
    s.after(2_000, 5_000);
    disk(&mut s, DiskFault::Full);
    s.after(5_000, 7_000).then(Action::DiskHeal);
    s.after(3_000, 5_000);
    disk(&mut s, DiskFault::Eio);
    s.after(3_000, 6_000);
    disk(&mut s, DiskFault::Full);
    let fate = if s.rng.chance(50) { DiskFate::Lost } else { DiskFate::Torn };
    s.after(10, 1_000).crash(Target::Leader, fate);
    s.after(3_000, 5_000).then(Action::DiskHeal).start_all();
    s.after(2_000, 3_000);
    s.done()
}
