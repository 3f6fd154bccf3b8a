//! Writing scenarios: a world with sensible values, and steps in the order they happen.

use crate::plan::{Action, DiskFate, Machine, Network, Plan, Step, Target, Workload};
use crate::rng::Rng;

/// A plan being written; time goes on with [`Script::after`].
pub(super) struct Script {
    /// For whatever the seed decides.
    pub(super) rng: Rng,
    now_ms: u64,
    plan: Plan,
}

impl Script {
    /// A cluster of so many machines in one room.
    pub(super) fn of(name: &str, seed: u64, machines: u16) -> Self {
        let mut rng = Rng::new(seed ^ 0x5ce4_a210);
        let machines = (0..machines).map(|_| Machine {
            zone: String::new(),
            witness: false,
            at_start: true,
            skew_ms: 0,
            sync_ms: rng.below(4) as u16,
        });
        let plan = Plan {
            seed,
            name: name.to_owned(),
            machines: machines.collect(),
            formation: None,
            network: Network {
                latency_min_ms: 1,
                latency_max_ms: rng.between(2, 8) as u16,
                loss_permille: 0,
            },
            workload: Workload {
                clients: rng.between(3, 5) as u16,
                keys: rng.between(2, 6) as u16,
                watchers: 2,
                listers: 1,
                leases: 1,
                pause_ms: rng.between(20, 100) as u16,
                reads_percent: 40,
            },
            steps: Vec::new(),
            calm_ms: 0,
            heal_ms: 60_000,
            certificate_life_s: 30,
            certificates_last: false,
        };
        Self { rng, now_ms: 0, plan }
    }

    /// The last `count` machines are not there at the start.
    pub(super) fn later(mut self, count: usize) -> Self {
        self.plan
            .machines
            .iter_mut()
            .rev()
            .take(count)
            .for_each(|machine| machine.at_start = false);
        self
    }

    /// The last machine is a witness.
    pub(super) fn witness(mut self) -> Self {
        self.plan
            .machines
            .iter_mut()
            .rev()
            .take(1)
            .for_each(|machine| machine.witness = true);
        self
    }

    /// Spreads the machines over so many zones.
    pub(super) fn zones(mut self, zones: usize) -> Self {
        for (n, machine) in self.plan.machines.iter_mut().enumerate() {
            machine.zone = format!("z{}", n % zones);
        }
        self
    }

    /// Sets the formation at the start.
    pub(super) fn formation(mut self, voters: u16, standbys: u16) -> Self {
        self.plan.formation = Some((voters, standbys));
        self
    }

    /// Changes what clients do.
    pub(super) fn workload(mut self, change: impl FnOnce(&mut Workload)) -> Self {
        change(&mut self.plan.workload);
        self
    }

    /// Certificates live so long, and no fault keeps them from being renewed.
    pub(super) fn certificates(mut self, life_s: u32) -> Self {
        self.plan.certificate_life_s = life_s;
        self.plan.certificates_last = true;
        self
    }

    /// The network when nothing is broken.
    pub(super) fn network(&self) -> Network {
        self.plan.network
    }

    /// Lets a time between the two pass.
    pub(super) fn after(&mut self, low_ms: u64, high_ms: u64) -> &mut Self {
        self.now_ms += self.rng.between(low_ms, high_ms);
        self
    }

    /// Something happens now.
    pub(super) fn then(&mut self, action: Action) -> &mut Self {
        self.plan.steps.push(Step {
            at_ms: self.now_ms,
            action,
        });
        self
    }

    /// A crash of one.
    pub(super) fn crash(&mut self, target: Target, disk: DiskFate) -> &mut Self {
        self.then(Action::Crash { target, disk })
    }

    /// A crash of machines by number.
    pub(super) fn crash_all(&mut self, machines: impl IntoIterator<Item = u16>, disk: DiskFate) -> &mut Self {
        let targets = machines.into_iter().map(Target::Machine).collect();
        self.then(Action::CrashMany { targets, disk })
    }

    /// All that are down start.
    pub(super) fn start_all(&mut self) -> &mut Self {
        self.then(Action::Start { target: None })
    }

    /// A machine starts.
    pub(super) fn start(&mut self, machine: u16) -> &mut Self {
        let target = Some(Target::Machine(machine));
        self.then(Action::Start { target })
    }

    /// Only machines of a group reach each other.
    pub(super) fn partition(&mut self, groups: &[&[u16]]) -> &mut Self {
        let groups = groups.iter().map(|group| group.to_vec()).collect();
        self.then(Action::Partition { groups })
    }

    /// Nothing is heard on the other side of what these machines say.
    pub(super) fn silence(&mut self, from: &[u16], to: &[u16]) -> &mut Self {
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to))) {
            self.then(Action::OneWay {
                from: Target::Machine(from),
                to: Target::Machine(to),
            });
        }
        self
    }

    /// One of the disk's fates.
    pub(super) fn fate(&mut self) -> DiskFate {
        let fates = [DiskFate::Kept, DiskFate::Lost, DiskFate::Torn];
        self.rng.pick(&fates).copied().unwrap_or(DiskFate::Lost)
    }

    /// The plan; all faults end a second after the last step.
    pub(super) fn done(self) -> Plan {
        let mut plan = self.plan;
        plan.calm_ms = self.now_ms + 1_000;
        plan
    }
}
