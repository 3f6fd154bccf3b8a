//! The majority is gone, an operator recovers, and then the old majority comes back.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, DiskFate, Plan};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "recover-after-lost-majority",
    pains: &[3],
    pain: "k3s#10942, k3s#11992, microk8s#3204",
    what: "a majority of the voters is down for good, an operator recovers on a survivor, a new machine joins, then the \
           old majority returns, reaching each other first; it is fenced, and there is exactly one history",
    plan,
};

fn plan(seed: u64) -> Plan {
    let voters: u16 = if seed.is_multiple_of(3) { 3 } else { 5 };
    let mut s = Script::of(SCENARIO.name, seed, voters + 1).later(1);
    let turn = s.rng.below(u64::from(voters)) as u16;
    let all: Vec<u16> = (0..voters).map(|n| (n + turn) % voters).collect();
    let (lost, left) = all.split_at(usize::from(voters / 2 + 1));
    let lost = lost.to_vec();
    let survivor = left[0];
    s.after(4_000, 6_000).crash_all(lost.iter().copied(), DiskFate::Kept);
    // Soon, an old leader still leads what it has left.
    s.after(3_000, 6_000).then(Action::Recover { machine: survivor });
    s.after(4_000, 6_000).then(Action::Join { machine: voters });
    // Before they hear of the recovery they may meet only each other, and are a majority of what they know.
    let others: Vec<u16> = (0..=voters).filter(|n| !lost.contains(n)).collect();
    if s.rng.chance(50) {
        s.after(2_000, 3_000).partition(&[&lost, &others]);
    }
    for machine in lost {
        s.after(100, 2_000).then(Action::Return { machine });
    }
    s.after(4_000, 6_000).then(Action::Heal);
    s.after(5_000, 6_000);
    s.done()
}
