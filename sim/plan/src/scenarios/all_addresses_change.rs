//! Every machine gets another address, all at once.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "all-addresses-change",
    pains: &[5],
    pain: "k3s#11778, k3s#5991, rke2#3176",
    what: "all machines restart at new addresses at once, then the leader alone, then one that was down meanwhile; \
           they find each other by key and nobody is evicted",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5).zones(2);
    s.after(2_000, 5_000).then(Action::Readdress { target: None });
    s.after(6_000, 9_000).then(Action::Readdress {
        target: Some(Target::Leader),
    });
    // Whoever was away knows nobody's address, and nobody knows his.
    let away = s.rng.below(5) as u16;
    let fate = s.fate();
    s.after(4_000, 6_000).crash(Target::Machine(away), fate);
    s.after(500, 1_500).then(Action::Readdress { target: None });
    s.after(6_000, 9_000).start(away);
    s.after(3_000, 4_000);
    s.done()
}
