//! The voters fall into groups of which none is a majority.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nobody-has-a-majority",
    pains: &[3],
    pain: "k3s#10942",
    what: "five voters fall into groups of two, two and one, while the formation was just changed; no group may write or \
           change a role until they meet again",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 5).formation(5, 0);
    let turn = s.rng.below(5) as u16;
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|n| (n + turn) % 5);
    s.after(3_000, 5_000).partition(&[&[a, b], &[c, d], &[e]]);
    s.after(6_000, 9_000).then(Action::Heal);
    s.after(3_000, 4_000).then(Action::Formation { voters: 3, standbys: 1 });
    s.after(100, 2_500).partition(&[&[a, c], &[b, d], &[e]]);
    s.after(6_000, 9_000).partition(&[&[a, d], &[b, e], &[c]]);
    s.after(3_000, 5_000).then(Action::Heal);
    s.after(2_000, 3_000);
    s.done()
}
