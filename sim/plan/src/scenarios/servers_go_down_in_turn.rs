//! The machines with the API go down in turn, so that no address works all the time.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "servers-go-down-in-turn",
    pains: &[8],
    pain: "k3s#2964, k3s#11349, kubectl#908",
    what: "each of three voters is down for some seconds in turn, at last two within a second; clients of the two workers \
           go on all the time, through whichever replica there is",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5)
        .formation(3, 0)
        .workload(|workload| workload.clients = 6);
    let first = s.rng.below(3) as u16;
    for n in 0..3 {
        let machine = (first + n) % 3;
        let fate = s.fate();
        s.after(2_000, 3_000).crash(Target::Machine(machine), fate);
        // Short enough that it is not replaced, mostly.
        s.after(1_000, 4_500).start(machine);
    }
    s.after(3_000, 4_000).then(Action::Readdress {
        target: Some(Target::Leader),
    });
    s.after(3_000, 4_000).crash(Target::Leader, DiskFate::Kept);
    s.after(500, 1_000).crash(Target::Follower(0), DiskFate::Kept);
    s.after(2_000, 4_000).start_all();
    s.after(2_000, 3_000);
    s.done()
}
