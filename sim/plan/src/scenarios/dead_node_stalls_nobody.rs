//! One member is dead, or worse, silent without being dead; the others go on.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, DiskFault, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "dead-node-stalls-nobody",
    pains: &[2],
    pain: "microk8s#4596, microk8s#3492",
    what: "of three members one dies, later one takes messages without answering, later one's disk hangs for seconds; \
           clients of the others wait for a bounded time and go on",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 3).workload(|workload| workload.clients = 6);
    let one = s.rng.below(2) as u16;
    s.after(2_000, 4_000).crash(Target::Follower(one), DiskFate::Kept);
    s.after(8_000, 10_000).start_all();
    // Its answers are kept back: connections stay open and nothing comes.
    s.after(3_000, 4_000).then(Action::Hold {
        a: Target::Follower(one),
        b: Target::Leader,
    });
    s.then(Action::Hold {
        a: Target::Follower(one),
        b: Target::Follower(1 - one),
    });
    s.after(6_000, 8_000).then(Action::Heal);
    let target = if s.rng.chance(50) { Target::Leader } else { Target::Follower(one) };
    s.after(2_000, 3_000).then(Action::Disk {
        target,
        fault: DiskFault::Slow(4_000),
    });
    s.after(6_000, 8_000).then(Action::DiskHeal);
    s.after(1_000, 2_000);
    s.done()
}
