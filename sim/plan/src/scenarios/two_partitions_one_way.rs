//! One half hears the other, and is not heard.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-partitions-one-way",
    pains: &[],
    pain: "",
    what: "what one half of six machines says does not reach the other half, then the other way round, then a majority is \
           deaf; at most one leader at a time can commit, and roles change on its side only",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 6).formation(5, 1);
    let turn = s.rng.below(6) as u16;
    let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|n| (n + turn) % 6);
    s.after(3_000, 5_000).silence(&[a, b, c], &[d, e, f]);
    s.after(6_000, 8_000).then(Action::Heal);
    s.after(3_000, 4_000).silence(&[d, e, f], &[a, b, c]);
    s.after(2_000, 3_000).then(Action::Formation { voters: 3, standbys: 1 });
    s.after(4_000, 5_000).then(Action::Heal);
    s.after(3_000, 4_000).silence(&[a, b], &[c, d, e, f]);
    s.after(6_000, 8_000).then(Action::Heal);
    s.after(1_000, 2_000);
    s.done()
}
