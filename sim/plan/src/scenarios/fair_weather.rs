//! Nothing goes wrong.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Plan};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fair-weather",
    pains: &[],
    pain: "",
    what: "machines join and the leader hands over once; nothing fails, so nothing may be refused or lost either",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 4).later(1);
    s.after(1_000, 3_000).then(Action::Join { machine: 3 });
    s.after(4_000, 5_000).then(Action::Transfer);
    s.after(3_000, 4_000);
    s.done()
}
