//! The machines, the network and the clients of a random plan.

use super::themes::Theme;
use super::{CALM_MS, HEAL_MS};
use crate::plan::{Machine, Network, Plan, Workload};
use crate::rng::Rng;

/// Numbers of machines, the likelier ones more often: most of what goes wrong needs only a few.
const SIZES: [u64; 16] = [3, 3, 3, 4, 4, 4, 5, 5, 5, 5, 6, 6, 7, 7, 8, 9];

/// Formations that are set on top of the default one.
const FORMATIONS: [(u16, u16); 7] = [(1, 1), (1, 2), (3, 0), (3, 1), (3, 2), (5, 0), (5, 1)];

/// A world without faults.
pub(super) fn world(seed: u64, rng: &mut Rng, themes: &[Theme]) -> Plan {
    let count = rng.pick(&SIZES).copied().unwrap_or(5);
    let zones = if rng.chance(35) { 0 } else { rng.between(1, 3) };
    let skewed = rng.chance(25);
    let slow_disks = rng.chance(15);
    let mut machines: Vec<Machine> = (0..count)
        .map(|n| Machine {
            zone: match (zones, n < zones) {
                (0, _) => String::new(),
                // Each zone has one machine at least.
                (_, true) => format!("z{n}"),
                _ => format!("z{}", rng.below(zones)),
            },
            witness: false,
            at_start: true,
            skew_ms: if skewed { rng.below(480_000) as i64 - 240_000 } else { 0 },
            sync_ms: if slow_disks {
                rng.between(5, 40)
            } else {
                rng.between(0, 4)
            } as u16,
        })
        .collect();
    if themes.contains(&Theme::Joins) && count > 3 {
        let late = rng.between(1, (count - 2).min(4)) as usize;
        let first = machines.len() - late;
        machines[first..]
            .iter_mut()
            .for_each(|machine| machine.at_start = false);
    }
    // A witness is for clusters that are too small or even.
    if rng.chance(if count == 3 { 30 } else { 8 }) {
        let n = rng.between(1, count - 1) as usize;
        machines[n].witness = true;
    }
    let network = network(rng);
    Plan {
        seed,
        name: "random".to_owned(),
        machines,
        formation: if rng.chance(40) {
            rng.pick(&FORMATIONS).copied()
        } else {
            None
        },
        network,
        workload: workload(rng),
        steps: Vec::new(),
        calm_ms: rng.between(CALM_MS.0 / 1_000, CALM_MS.1 / 1_000) * 1_000,
        heal_ms: HEAL_MS,
        // Long enough to outlive most runs, or short enough to end several times in each.
        certificate_life_s: 12 + 12 * (seed % 4) as u32,
        certificates_last: false,
    }
}

fn network(rng: &mut Rng) -> Network {
    let (latency_min_ms, latency_max_ms) = match rng.below(10) {
        // One machine room, one city, one continent.
        0..=5 => (1, rng.between(1, 3)),
        6..=8 => (1, rng.between(3, 15)),
        _ => (5, rng.between(20, 50)),
    };
    Network {
        latency_min_ms,
        latency_max_ms: latency_max_ms as u16,
        loss_permille: if rng.chance(20) { rng.between(1, 10) as u16 } else { 0 },
    }
}

fn workload(rng: &mut Rng) -> Workload {
    Workload {
        clients: rng.between(2, 6) as u16,
        keys: rng.between(1, 8) as u16,
        watchers: rng.between(1, 3) as u16,
        listers: rng.below(3) as u16,
        leases: rng.below(3) as u16,
        pause_ms: rng.between(20, 200) as u16,
        reads_percent: rng.between(20, 60) as u8,
    }
}
