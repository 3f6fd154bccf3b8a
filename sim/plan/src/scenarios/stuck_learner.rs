//! A newcomer that never catches up does not keep the next one out.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFault, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "stuck-learner",
    pains: &[6],
    pain: "k3s#2306, k3s#8496, talos#13710",
    what: "a newcomer with a hanging disk or a dead link is made a learner and never catches up; two more join at once \
           and are served, and the stuck one is dropped in time",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6).later(3).formation(5, 1);
    let stuck = Target::Machine(3);
    s.after(2_000, 3_000).then(Action::Join { machine: 3 });
    match s.rng.below(3) {
        0 => s.after(300, 1_500).then(Action::Disk {
            target: stuck,
            fault: DiskFault::Slow(30_000),
        }),
        1 => s.after(300, 2_500).then(Action::OneWay {
            from: Target::Leader,
            to: stuck,
        }),
        _ => s.after(300, 2_500).then(Action::Hold {
            a: stuck,
            b: Target::Leader,
        }),
    };
    s.after(500, 2_000).then(Action::Join { machine: 4 });
    s.then(Action::Join { machine: 5 });
    // Longer than any learner may take without progress.
    s.after(36_000, 40_000).then(Action::Heal).then(Action::DiskHeal);
    s.after(1_000, 2_000);
    s.done()
}
