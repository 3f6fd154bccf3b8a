//! Kinds of actions, for counting what was injected.

use crate::plan::{Action, DiskFate, DiskFault, Target};

/// Every kind that [`Action::kind`] can give.
pub const KINDS: [&str; 39] = [
    "clock-jump",
    "crash",
    "crash-in-transition",
    "crash-leader",
    "crash-lost-disk",
    "crash-many",
    "crash-many-lost-disks",
    "crash-many-torn-disks",
    "crash-torn-disk",
    "disk-eio",
    "disk-full",
    "disk-heal",
    "disk-slow",
    "drain",
    "expel",
    "formation",
    "heal",
    "hold",
    "isolate-leader",
    "join",
    "join-all",
    "leave",
    "one-way",
    "partition",
    "readdress",
    "readdress-all",
    "recover",
    "restart",
    "restart-leader",
    "return",
    "snapshot",
    "snapshot-leader",
    "start",
    "start-all",
    "transfer",
    "undrain",
    "weather-calm",
    "weather-loss",
    "weather-slow",
];

impl Action {
    /// Its kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Crash { target, disk } => match (target, disk) {
                (_, DiskFate::Lost) => "crash-lost-disk",
                (_, DiskFate::Torn) => "crash-torn-disk",
                (Target::Leader, DiskFate::Kept) => "crash-leader",
                (Target::InTransition, DiskFate::Kept) => "crash-in-transition",
                (_, DiskFate::Kept) => "crash",
            },
            Action::CrashMany { disk, .. } => match disk {
                DiskFate::Kept => "crash-many",
                DiskFate::Lost => "crash-many-lost-disks",
                DiskFate::Torn => "crash-many-torn-disks",
            },
            Action::Start { target: Some(_) } => "start",
            Action::Start { target: None } => "start-all",
            Action::Restart {
                target: Target::Leader, ..
            } => "restart-leader",
            Action::Restart { .. } => "restart",
            Action::Readdress { target: Some(_) } => "readdress",
            Action::Readdress { target: None } => "readdress-all",
            Action::Partition { .. } => "partition",
            Action::IsolateLeader => "isolate-leader",
            Action::OneWay { .. } => "one-way",
            Action::Hold { .. } => "hold",
            Action::Heal => "heal",
            Action::Weather { network } if network.loss_permille > 20 => "weather-loss",
            Action::Weather { network } if network.latency_max_ms > 100 => "weather-slow",
            Action::Weather { .. } => "weather-calm",
            Action::Disk { fault, .. } => match fault {
                DiskFault::Eio => "disk-eio",
                DiskFault::Full => "disk-full",
                DiskFault::Slow(_) => "disk-slow",
            },
            Action::DiskHeal => "disk-heal",
            Action::ClockJump { .. } => "clock-jump",
            Action::Join { .. } => "join",
            Action::JoinAll => "join-all",
            Action::Leave { .. } => "leave",
            Action::Expel { .. } => "expel",
            Action::Return { .. } => "return",
            Action::Formation { .. } => "formation",
            Action::Drain { .. } => "drain",
            Action::Undrain { .. } => "undrain",
            Action::Transfer => "transfer",
            Action::Snapshot { target: Target::Leader } => "snapshot-leader",
            Action::Snapshot { .. } => "snapshot",
            Action::Recover { .. } => "recover",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_without_duplicates() {
        assert!(KINDS.is_sorted());
        assert!(KINDS.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
