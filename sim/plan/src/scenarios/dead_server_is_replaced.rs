//! Voters die for good one after another, and each time a spare takes the seat.

use super::Scenario;
use super::script::Script;
use crate::plan::{Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "dead-server-is-replaced",
    pains: &[1],
    pain: "k3s#5581, harvester#5421",
    what: "of seven machines with three voters and a standby, three voters die for good one after another, the leader \
           among them; each is replaced before the next dies, and the cluster never loses its quorum",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 7).zones(2).formation(3, 1);
    let mut victims = [Target::Leader, Target::Follower(0), Target::Follower(1)];
    let first = s.rng.below(3) as usize;
    victims.swap(0, first);
    for victim in victims {
        let fate = s.fate();
        s.after(10_000, 12_000).crash(victim, fate);
    }
    s.after(10_000, 12_000);
    s.done()
}
