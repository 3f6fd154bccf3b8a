//! All machines lose power at once.

use super::Scenario;
use super::script::Script;
use crate::plan::{DiskFate, Plan};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "power-cut-everywhere",
    pains: &[3],
    pain: "k3s#11992",
    what: "all machines lose power at once under load, with whatever was not synced lost or torn, three times; every \
           acknowledged write is there afterwards",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5).workload(|workload| workload.pause_ms = 10);
    for round in 0..3 {
        let disk = if round == 1 { DiskFate::Lost } else { DiskFate::Torn };
        s.after(3_000, 6_000).crash_all(0..5, disk);
        // Not everyone has power again at the same moment.
        let first = s.rng.below(5) as u16;
        for n in 0..3 {
            s.after(100, 1_000).start((first + n) % 5);
        }
        s.after(100, 4_000).start_all();
    }
    s.after(3_000, 4_000);
    s.done()
}
