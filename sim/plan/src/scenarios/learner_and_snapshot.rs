//! Logs are purged while newcomers still need them.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, DiskFault, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "learner-and-snapshot",
    pains: &[6],
    pain: "talos#13710",
    what: "the leader takes snapshots and purges its log while a learner receives it, while a follower is away, and \
           right before a power cut; whoever is behind is brought up by a snapshot",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6)
        .later(2)
        .workload(|workload| workload.pause_ms = 15);
    let snapshot = |target| Action::Snapshot { target };
    s.after(2_000, 3_000).then(Action::Join { machine: 4 });
    for _ in 0..3 {
        s.after(100, 1_200).then(snapshot(Target::Leader));
    }
    let fault = DiskFault::Slow(s.rng.between(200, 1_000) as u16);
    s.after(2_000, 3_000).then(Action::Disk {
        target: Target::Machine(5),
        fault,
    });
    s.then(Action::Join { machine: 5 });
    s.after(500, 2_000).then(snapshot(Target::Leader));
    s.after(10, 300).crash(Target::InTransition, DiskFate::Torn);
    s.after(500, 2_000).then(Action::DiskHeal).start_all();
    let away = s.rng.below(4) as u16;
    s.after(3_000, 4_000).crash(Target::Machine(away), DiskFate::Lost);
    s.after(2_000, 3_000).then(snapshot(Target::Leader));
    s.after(0, 300).crash(Target::Leader, DiskFate::Torn);
    s.after(1_000, 3_000).start_all();
    s.after(2_000, 3_000);
    s.done()
}
