//! Single members lose power under load, with the end of their log torn.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, DiskFault, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "torn-logs",
    pains: &[],
    pain: "",
    what: "voters lose power in quick succession while their disks are slow, so that much is written and not synced; no \
           vote and no acknowledged entry is forgotten",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 3).workload(|workload| {
        workload.clients = 8;
        workload.pause_ms = 10;
    });
    for round in 0..6 {
        let target = match round % 3 {
            0 => Target::Leader,
            _ => Target::Follower(s.rng.below(2) as u16),
        };
        let fault = DiskFault::Slow(s.rng.between(20, 200) as u16);
        s.after(800, 2_000).then(Action::Disk { target, fault });
        s.after(200, 1_200).crash(target, DiskFate::Torn);
        // Two of three, while the first election is still going on.
        if s.rng.chance(40) {
            s.after(100, 900).crash(Target::Leader, DiskFate::Lost);
        }
        s.after(100, 2_000).then(Action::DiskHeal).start_all();
    }
    s.after(2_000, 3_000);
    s.done()
}
