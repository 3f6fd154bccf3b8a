//! Wall clocks jump while leaders change and machines join.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "clock-jumps",
    pains: &[],
    pain: "",
    what: "clocks jump by minutes in both directions on leader and followers while leadership moves and a machine \
           joins; leases, elections and revisions do not notice",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6)
        .later(1)
        .workload(|workload| workload.leases = 3);
    let jump = |s: &mut Script, target| {
        let minutes = s.rng.between(1, 12) as i64 * if s.rng.chance(50) { 1 } else { -1 };
        s.then(Action::ClockJump {
            target,
            by_ms: minutes * 60_000,
        });
    };
    for round in 0..4 {
        s.after(1_000, 3_000);
        jump(&mut s, Target::Leader);
        s.after(200, 1_500);
        jump(&mut s, Target::Follower(round));
        s.after(100, 1_000).then(Action::Transfer);
        if round == 1 {
            s.then(Action::Join { machine: 5 });
        }
    }
    s.after(1_000, 3_000).then(Action::Restart {
        target: Target::Leader,
        down_ms: 1_000,
    });
    s.after(3_000, 5_000);
    s.done()
}
