//! All members restart one after another, under load, with snapshots in between.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "upgrade-under-load",
    pains: &[12],
    pain: "k3s#11269, k3s#10619, k3s#7613",
    what: "all members restart one after another while many clients write and logs are purged; nobody loses its \
           membership, writes pause for seconds at most, and logs stay short",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5).formation(3, 1).workload(|workload| {
        workload.clients = 8;
        workload.watchers = 4;
        workload.pause_ms = 10;
    });
    let first = s.rng.below(5) as u16;
    s.after(1_000, 2_000);
    for n in 0..5 {
        let target = Target::Machine((first + n) % 5);
        if s.rng.chance(50) {
            s.then(Action::Snapshot { target: Target::Leader });
        }
        if s.rng.chance(40) {
            s.then(Action::Drain { target });
            s.after(1_000, 2_000);
        }
        let down_ms = s.rng.between(300, 2_000) as u32;
        s.after(100, 500).then(Action::Restart { target, down_ms });
        s.after(3_500, 5_000).then(Action::Undrain { target });
    }
    s.then(Action::Snapshot { target: Target::Leader });
    s.after(2_000, 3_000);
    s.done()
}
