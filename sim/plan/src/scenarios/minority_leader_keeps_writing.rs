//! A leader that lost its majority does not know it yet, and clients go on writing to it.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "minority-leader-keeps-writing",
    pains: &[],
    pain: "",
    what: "the leader is cut off from everyone, then heard by everyone without hearing anyone, then heard by nobody; \
           what it accepts meanwhile is never acknowledged, its reads are not stale, its fenced writes die with its term",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5).workload(|workload| {
        workload.clients = 8;
        workload.keys = 2;
        workload.pause_ms = 20;
    });
    let followers = [0, 1, 2, 3].map(Target::Follower);
    s.after(2_000, 4_000).then(Action::IsolateLeader);
    s.after(3_000, 6_000).then(Action::Heal);
    s.after(3_000, 4_000);
    for from in followers {
        let to = Target::Leader;
        s.then(Action::OneWay { from, to });
    }
    s.after(3_000, 6_000).then(Action::Heal);
    s.after(3_000, 4_000);
    for to in followers {
        let from = Target::Leader;
        s.then(Action::OneWay { from, to });
    }
    s.after(3_000, 6_000).then(Action::Heal);
    s.after(1_000, 2_000).then(Action::IsolateLeader);
    s.after(600, 1_500).then(Action::Heal);
    s.after(1_000, 2_000);
    s.done()
}
