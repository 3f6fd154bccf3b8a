//! Certificates come to their end while members fail and the keepers of the authority's key change.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "certificates-end",
    pains: &[10],
    pain: "k3s#10865, k3s#8762",
    what: "certificates live 24 s; the leader is down when the first are due, the founder hands its seat and the authority's \
           key to others, replicas die when the next are due; every endpoint shows a valid certificate all the time, \
           without a restart",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6).formation(3, 1).certificates(24);
    s.after(9_000, 12_000).crash(Target::Leader, DiskFate::Kept);
    s.after(2_000, 5_000).start_all();
    // The founder made the authority; from now on others keep its key.
    s.after(3_000, 5_000).then(Action::Drain {
        target: Target::Machine(0),
    });
    let fate = s.fate();
    s.after(7_000, 9_000).crash(Target::Follower(0), fate);
    s.after(2_000, 4_000).start_all();
    s.after(1_000, 2_000).then(Action::Hold {
        a: Target::Worker(0),
        b: Target::Leader,
    });
    s.after(2_000, 4_000).then(Action::Heal);
    s.after(1_000, 2_000).then(Action::Transfer);
    s.after(4_000, 6_000).crash(Target::Leader, DiskFate::Lost);
    s.after(2_000, 4_000).start_all();
    s.after(6_000, 8_000);
    s.done()
}
