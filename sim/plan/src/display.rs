//! Plans as text: a few lines about the world, then one line a step.

use std::fmt;

use crate::plan::{Action, DiskFate, DiskFault, Machine, Network, Plan, Step, Target, Workload};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seed {}: {} machines", self.name, self.seed, self.machines.len())?;
        for (n, machine) in self.machines.iter().enumerate() {
            writeln!(f, "  m{n} {machine}")?;
        }
        match self.formation {
            Some((voters, standbys)) => writeln!(f, "  formation {voters}+{standbys}")?,
            None => writeln!(f, "  default formation")?,
        }
        writeln!(f, "  network {}", self.network)?;
        writeln!(f, "  workload {}", self.workload)?;
        writeln!(f, "  certificates live {} s", self.certificate_life_s)?;
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        writeln!(
            f,
            "{:>9.3} all faults end; whole within {:.1} s",
            seconds(self.calm_ms),
            seconds(self.heal_ms)
        )
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = if self.zone.is_empty() { "-" } else { &self.zone };
        write!(f, "zone {zone} sync {} ms", self.sync_ms)?;
        if self.skew_ms != 0 {
            write!(f, " clock {:+} ms", self.skew_ms)?;
        }
        if self.witness {
            f.write_str(" witness")?;
        }
        if !self.at_start {
            f.write_str(" later")?;
        }
        Ok(())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Network {
            latency_min_ms,
            latency_max_ms,
            loss_permille,
        } = self;
        write!(
            f,
            "{latency_min_ms}..{latency_max_ms} ms, loses {loss_permille} in a thousand"
        )
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} clients on {} keys ({}% reads, pause {} ms), {} watchers, {} listers, {} leases",
            self.clients, self.keys, self.reads_percent, self.pause_ms, self.watchers, self.listers, self.leases
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} {}", seconds(self.at_ms), self.action)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Machine(n) => write!(f, "m{n}"),
            Target::Leader => f.write_str("leader"),
            Target::Follower(n) => write!(f, "follower:{n}"),
            Target::Standby(n) => write!(f, "standby:{n}"),
            Target::Worker(n) => write!(f, "worker:{n}"),
            Target::InTransition => f.write_str("in-transition"),
        }
    }
}

impl fmt::Display for DiskFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskFate::Kept => "kept",
            DiskFate::Lost => "lost",
            DiskFate::Torn => "torn",
        })
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskFault::Eio => f.write_str("EIO"),
            DiskFault::Full => f.write_str("ENOSPC"),
            DiskFault::Slow(by_ms) => write!(f, "slow by {by_ms} ms"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Crash { target, disk } => write!(f, "crash {target} disk {disk}"),
            Action::CrashMany { targets, disk } => {
                f.write_str("crash")?;
                targets.iter().try_for_each(|target| write!(f, " {target}"))?;
                write!(f, " disk {disk}")
            }
            Action::Start { target: Some(target) } => write!(f, "start {target}"),
            Action::Start { target: None } => f.write_str("start all"),
            Action::Restart { target, down_ms } => write!(f, "restart {target} for {down_ms} ms"),
            Action::Readdress { target: Some(target) } => write!(f, "readdress {target}"),
            Action::Readdress { target: None } => f.write_str("readdress all"),
            Action::Partition { groups } => {
                f.write_str("partition")?;
                for (n, group) in groups.iter().enumerate() {
                    f.write_str(if n == 0 { " " } else { " | " })?;
                    for (n, machine) in group.iter().enumerate() {
                        write!(f, "{}m{machine}", if n == 0 { "" } else { " " })?;
                    }
                }
                Ok(())
            }
            Action::IsolateLeader => f.write_str("isolate leader"),
            Action::OneWay { from, to } => write!(f, "cut {from} -> {to}"),
            Action::Hold { a, b } => write!(f, "hold {a} <-> {b}"),
            Action::Heal => f.write_str("heal"),
            Action::Weather { network } => write!(f, "weather {network}"),
            Action::Disk { target, fault } => write!(f, "disk {target} {fault}"),
            Action::DiskHeal => f.write_str("disks mended"),
            Action::ClockJump { target, by_ms } => write!(f, "clock {target} {by_ms:+} ms"),
            Action::Join { machine } => write!(f, "join m{machine}"),
            Action::JoinAll => f.write_str("join all"),
            Action::Leave { target } => write!(f, "leave {target}"),
            Action::Expel { target } => write!(f, "expel {target}"),
            Action::Return { machine } => write!(f, "return m{machine}"),
            Action::Formation { voters, standbys } => write!(f, "formation {voters}+{standbys}"),
            Action::Drain { target } => write!(f, "drain {target}"),
            Action::Undrain { target } => write!(f, "undrain {target}"),
            Action::Transfer => f.write_str("transfer"),
            Action::Snapshot { target } => write!(f, "snapshot {target}"),
            Action::Recover { machine } => write!(f, "recover m{machine}"),
        }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_step() {
        let step = Step {
            at_ms: 12_340,
            action: Action::CrashMany {
                targets: vec![Target::Leader, Target::Follower(1), Target::Machine(3)],
                disk: DiskFate::Torn,
            },
        };
        assert_eq!(step.to_string(), "   12.340 crash leader follower:1 m3 disk torn");
        let groups = vec![vec![0, 1], vec![2]];
        assert_eq!(Action::Partition { groups }.to_string(), "partition m0 m1 | m2");
        for seed in 0..200 {
            let plan = crate::random(seed);
            let text = plan.to_string();
            let lines = text.lines().count();
            assert_eq!(lines, 6 + plan.machines.len() + plan.steps.len(), "{text}");
        }
    }
}
