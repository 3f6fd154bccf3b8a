//! Members leave while things break, and restarts do not undo it.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "member-that-left-stays-gone",
    pains: &[7],
    pain: "k0s#8103, k0s#8141",
    what: "a voter leaves while the leader dies, a leaving machine loses power and starts again, one that left returns \
           with its old data; who left stays gone until it joins again",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6).formation(3, 1);
    let first = s.rng.below(3) as u16;
    let (a, b) = (first, 3 + s.rng.below(3) as u16);
    let leave = |n| Action::Leave {
        target: Target::Machine(n),
    };
    s.after(2_000, 4_000).then(leave(a));
    s.after(50, 1_500).crash(Target::Leader, DiskFate::Kept);
    s.after(2_000, 4_000).start_all();
    s.after(4_000, 5_000).then(leave(b));
    s.after(10, 800).crash(Target::Machine(b), DiskFate::Torn);
    s.after(1_000, 3_000).start(b);
    s.after(3_000, 5_000).then(Action::Return { machine: a });
    s.after(3_000, 4_000).then(Action::Join { machine: a });
    s.after(4_000, 5_000);
    s.done()
}
