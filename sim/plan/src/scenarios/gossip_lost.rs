//! Much of what is said is lost, and some hear nothing of the others.

use super::Scenario;
use super::script::Script;
use crate::plan::{Action, Network, Plan, Target};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "gossip-lost",
    pains: &[13],
    pain: "kairos-provider#909",
    what: "machines join while messages are lost and workers are cut off in one direction; what gossip did not tell is \
           learned later, nobody is stranded, and nobody is taken for dead by its word alone",
    plan,
};

fn plan(seed: u64) -> Plan {
    let mut s = Script::of(SCENARIO.name, seed, 7).later(2);
    let calm = s.network();
    let loss_permille = s.rng.between(60, 150) as u16;
    s.after(1_000, 2_000).then(Action::Weather {
        network: Network { loss_permille, ..calm },
    });
    s.after(300, 1_500).then(Action::Join { machine: 5 });
    s.after(1_000, 3_000).then(Action::OneWay {
        from: Target::Leader,
        to: Target::Worker(0),
    });
    s.after(300, 1_500).then(Action::Join { machine: 6 });
    s.after(3_000, 5_000).then(Action::OneWay {
        from: Target::Worker(1),
        to: Target::Leader,
    });
    s.then(Action::Transfer);
    s.after(4_000, 6_000).then(Action::Heal);
    s.after(2_000, 3_000).then(Action::Weather { network: calm });
    s.after(2_000, 3_000);
    s.done()
}
