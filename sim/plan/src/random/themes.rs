//! Themes of faults: what a seed is about.

use crate::plan::{Action, DiskFate, DiskFault, Network, Plan, Target};
use crate::rng::Rng;

/// A kind of trouble that a seed is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// Groups that don't reach each other.
    Partitions,
    /// Links that work in one direction.
    OneWay,
    /// Messages that come much later.
    Holds,
    /// Loss and latency.
    Weather,
    /// Single crashes.
    Crashes,
    /// Several at once.
    PowerCuts,
    /// Wall clocks that jump.
    Clocks,
    /// Disks that are slow, full or broken.
    Disks,
    /// Addresses that change.
    Addresses,
    /// Machines that join, all at once too.
    Joins,
    /// Machines that leave, and come again.
    Leaves,
    /// Machines that are expelled, and want in again.
    Expulsions,
    /// Formations that change.
    Formations,
    /// Leaders that hand over, and members that are drained.
    Leadership,
    /// Snapshots and purges at the worst moments.
    Snapshots,
    /// Restarts in good order, as in an upgrade.
    Restarts,
}

const WEIGHTS: [(Theme, u64); 16] = [
    (Theme::Partitions, 12),
    (Theme::OneWay, 7),
    (Theme::Holds, 6),
    (Theme::Weather, 6),
    (Theme::Crashes, 14),
    (Theme::PowerCuts, 7),
    (Theme::Clocks, 4),
    (Theme::Disks, 8),
    (Theme::Addresses, 6),
    (Theme::Joins, 10),
    (Theme::Leaves, 6),
    (Theme::Expulsions, 6),
    (Theme::Formations, 8),
    (Theme::Leadership, 8),
    (Theme::Snapshots, 9),
    (Theme::Restarts, 6),
];

/// What the moves of a plan share: how much more may happen to it.
#[derive(Debug)]
pub(super) struct Budget {
    /// Members that can hold data and may still go.
    departures: usize,
    /// Machines that were told to go, by number.
    gone: Vec<u16>,
    /// Machines that may stay down until the end.
    down: usize,
}

impl Budget {
    /// Of a world without faults.
    pub(super) fn of(plan: &Plan) -> Self {
        let data = plan.machines.iter().filter(|m| m.at_start && !m.witness).count();
        Self {
            departures: data.saturating_sub(2),
            gone: Vec::new(),
            down: plan.machines.iter().filter(|m| m.at_start).count().saturating_sub(1) / 2,
        }
    }
}

/// A move under construction.
struct Moves<'a> {
    rng: &'a mut Rng,
    machines: u64,
    at_ms: u64,
    steps: Vec<(u64, Action)>,
}

impl Moves<'_> {
    fn push(&mut self, action: Action) {
        self.steps.push((self.at_ms, action));
    }

    /// Lets a random time pass.
    fn wait(&mut self, low_ms: u64, high_ms: u64) {
        self.at_ms += self.rng.between(low_ms, high_ms);
    }

    fn machine(&mut self) -> u16 {
        self.rng.below(self.machines) as u16
    }

    /// Anyone, the leader more often than others.
    fn target(&mut self) -> Target {
        match self.rng.below(20) {
            0..=6 => Target::Leader,
            7..=11 => Target::Follower(self.rng.below(4) as u16),
            12..=13 => Target::Standby(self.rng.below(2) as u16),
            14 => Target::Worker(self.rng.below(4) as u16),
            15..=16 => Target::InTransition,
            _ => Target::Machine(self.machine()),
        }
    }

    fn fate(&mut self) -> DiskFate {
        match self.rng.below(4) {
            0 | 1 => DiskFate::Kept,
            2 => DiskFate::Lost,
            _ => DiskFate::Torn,
        }
    }

    fn crash(&mut self, target: Target) {
        let disk = self.fate();
        self.push(Action::Crash { target, disk });
    }

    /// Whoever is down comes back: soon, or late.
    fn start_all(&mut self) {
        match self.rng.chance(60) {
            true => self.wait(100, 2_500),
            false => self.wait(2_500, 12_000),
        }
        self.push(Action::Start { target: None });
    }

    fn heal(&mut self) {
        match self.rng.chance(60) {
            true => self.wait(300, 4_000),
            false => self.wait(4_000, 12_000),
        }
        self.push(Action::Heal);
    }
}

impl Theme {
    /// Two to four themes, each once.
    pub(super) fn some(rng: &mut Rng) -> Vec<Theme> {
        let wanted = rng.between(2, 4) as usize;
        let mut themes = Vec::new();
        while themes.len() < wanted {
            let mut at = rng.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
            for (theme, weight) in WEIGHTS {
                if at < weight {
                    if !themes.contains(&theme) {
                        themes.push(theme);
                    }
                    break;
                }
                at -= weight;
            }
        }
        themes
    }

    /// One move of the theme: steps with their offset in milliseconds.
    pub(super) fn moves(self, rng: &mut Rng, plan: &Plan, budget: &mut Budget) -> Vec<(u64, Action)> {
        let mut to = Moves {
            rng,
            machines: plan.machines.len() as u64,
            at_ms: 0,
            steps: Vec::new(),
        };
        match self {
            Theme::Partitions => partition(&mut to, plan),
            Theme::OneWay => one_way(&mut to),
            Theme::Holds => hold(&mut to),
            Theme::Weather => weather(&mut to, plan),
            Theme::Crashes => crash(&mut to, budget),
            Theme::PowerCuts => power_cut(&mut to),
            Theme::Clocks => clock(&mut to),
            Theme::Disks => disk(&mut to),
            Theme::Addresses => readdress(&mut to),
            Theme::Joins => join(&mut to, plan),
            Theme::Leaves => leave(&mut to, plan, budget),
            Theme::Expulsions => expel(&mut to, plan, budget),
            Theme::Formations => formation(&mut to),
            Theme::Leadership => leadership(&mut to),
            Theme::Snapshots => snapshot(&mut to),
            Theme::Restarts => restart(&mut to),
        }
        to.steps
    }
}

fn partition(to: &mut Moves<'_>, plan: &Plan) {
    let groups = match to.rng.below(10) {
        0..=2 => 0,
        // By zone, as when a line between rooms is cut.
        3..=4 => 1,
        // Several ways.
        5 => to.rng.between(3, to.machines),
        _ => 2,
    };
    let zone = &plan.machines[usize::from(to.machine())].zone;
    let mut parts = vec![Vec::new(); groups.max(2) as usize];
    for (n, machine) in (0..).zip(&plan.machines) {
        let part = match groups {
            1 => usize::from(machine.zone == *zone),
            _ => to.rng.below(parts.len() as u64) as usize,
        };
        parts[part].push(n);
    }
    parts.retain(|part| !part.is_empty());
    if groups == 0 || parts.len() < 2 {
        to.push(Action::IsolateLeader);
    } else {
        to.push(Action::Partition { groups: parts });
    }
    // Another cut before the first is healed.
    if to.rng.chance(25) {
        to.wait(500, 3_000);
        to.push(Action::IsolateLeader);
    }
    to.heal();
}

fn one_way(to: &mut Moves<'_>) {
    let other = Target::Follower(to.rng.below(4) as u16);
    match to.rng.below(4) {
        // It is heard and hears nothing: it goes on sending heartbeats that nobody may answer.
        0 => {
            for n in 0..to.rng.between(1, 3) as u16 {
                to.push(Action::OneWay {
                    from: Target::Follower(n),
                    to: Target::Leader,
                });
            }
        }
        1 => to.push(Action::OneWay {
            from: Target::Leader,
            to: other,
        }),
        2 => to.push(Action::OneWay {
            from: other,
            to: Target::Leader,
        }),
        _ => {
            let from = to.machine();
            let target = (u64::from(from) + to.rng.between(1, to.machines - 1)) % to.machines;
            to.push(Action::OneWay {
                from: Target::Machine(from),
                to: Target::Machine(target as u16),
            });
        }
    }
    if to.rng.chance(30) {
        to.wait(200, 2_000);
        to.push(Action::Transfer);
    }
    to.heal();
}

fn hold(to: &mut Moves<'_>) {
    let b = match to.rng.below(3) {
        0 => Target::InTransition,
        1 => Target::Standby(0),
        _ => Target::Follower(to.rng.below(4) as u16),
    };
    let a = if to.rng.chance(70) {
        Target::Leader
    } else {
        Target::Follower(to.rng.below(4) as u16)
    };
    let a = if a == b { Target::Leader } else { a };
    to.push(Action::Hold { a, b });
    // Old messages reach a new leader.
    if to.rng.chance(40) {
        to.wait(100, 1_500);
        match to.rng.chance(50) {
            true => to.push(Action::Transfer),
            false => to.push(Action::Restart {
                target: Target::Leader,
                down_ms: 500,
            }),
        }
    }
    to.heal();
}

fn weather(to: &mut Moves<'_>, plan: &Plan) {
    let network = match to.rng.below(3) {
        0 => Network {
            loss_permille: to.rng.between(25, 150) as u16,
            ..plan.network
        },
        1 => Network {
            latency_min_ms: to.rng.between(20, 100) as u16,
            latency_max_ms: to.rng.between(110, 600) as u16,
            ..plan.network
        },
        _ => Network {
            latency_min_ms: 1,
            latency_max_ms: to.rng.between(110, 400) as u16,
            loss_permille: to.rng.between(25, 80) as u16,
        },
    };
    to.push(Action::Weather { network });
    to.wait(1_000, 8_000);
    to.push(Action::Weather { network: plan.network });
}

fn crash(to: &mut Moves<'_>, budget: &mut Budget) {
    let target = to.target();
    to.crash(target);
    // The next leader too, as soon as it leads.
    if to.rng.chance(25) {
        to.wait(700, 2_500);
        to.crash(Target::Leader);
    }
    if let Target::Machine(n) = target
        && to.rng.chance(60)
    {
        to.wait(100, 8_000);
        let target = Some(Target::Machine(n));
        to.push(Action::Start { target });
    } else if budget.down > to.steps.len() && to.rng.chance(25) {
        // For long: until all faults end, if nothing else starts it.
        budget.down -= to.steps.len();
    } else {
        to.start_all();
    }
}

fn power_cut(to: &mut Moves<'_>) {
    let targets: Vec<_> = match to.rng.below(4) {
        0 => (0..to.machines as u16).map(Target::Machine).collect(),
        1 => vec![Target::Leader, Target::Follower(0)],
        2 => vec![Target::Leader, Target::InTransition, Target::Standby(0)],
        _ => {
            let mut some: Vec<_> = (0..to.machines as u16).map(Target::Machine).collect();
            some.retain(|_| to.rng.chance(50));
            some.push(Target::Leader);
            some
        }
    };
    let disk = match to.rng.below(5) {
        0 => DiskFate::Kept,
        1 | 2 => DiskFate::Lost,
        _ => DiskFate::Torn,
    };
    to.push(Action::CrashMany { targets, disk });
    to.wait(100, 4_000);
    to.push(Action::Start { target: None });
}

fn clock(to: &mut Moves<'_>) {
    let minutes = to.rng.between(1, 10) as i64;
    let by_ms = if to.rng.chance(50) {
        minutes * 60_000
    } else {
        -minutes * 60_000
    };
    let target = to.target();
    to.push(Action::ClockJump { target, by_ms });
    match to.rng.below(3) {
        0 => {
            to.wait(200, 3_000);
            to.push(Action::ClockJump { target, by_ms: -by_ms });
        }
        1 => {
            to.wait(100, 1_500);
            to.push(Action::Transfer);
        }
        _ => {}
    }
}

fn disk(to: &mut Moves<'_>) {
    let target = to.target();
    let fault = match to.rng.below(4) {
        0 => DiskFault::Eio,
        1 => DiskFault::Full,
        _ => DiskFault::Slow(to.rng.between(20, 1_500) as u16),
    };
    to.push(Action::Disk { target, fault });
    // What could not be written, and then the power goes.
    if to.rng.chance(35) {
        to.wait(50, 2_500);
        let disk = if to.rng.chance(50) {
            DiskFate::Lost
        } else {
            DiskFate::Torn
        };
        to.push(Action::Crash { target, disk });
    }
    to.wait(500, 6_000);
    to.push(Action::DiskHeal);
    if to.steps.len() > 2 {
        to.push(Action::Start { target: None });
    }
}

fn readdress(to: &mut Moves<'_>) {
    match to.rng.below(5) {
        0 => to.push(Action::Readdress { target: None }),
        1 => {
            // One after another, before the news of the first has spread.
            for _ in 0..2 {
                let target = Some(Target::Machine(to.machine()));
                to.push(Action::Readdress { target });
                to.wait(300, 2_500);
            }
        }
        _ => {
            let target = Some(to.target());
            to.push(Action::Readdress { target });
        }
    }
    // While somebody is down who only knows the old addresses.
    if to.rng.chance(30) {
        let target = Target::Machine(to.machine());
        let disk = to.fate();
        to.steps.insert(0, (0, Action::Crash { target, disk }));
        to.wait(1_000, 5_000);
        let target = Some(target);
        to.push(Action::Start { target });
    }
}

fn join(to: &mut Moves<'_>, plan: &Plan) {
    let later: Vec<u16> = (0..to.machines as u16)
        .filter(|n| !plan.machines[usize::from(*n)].at_start)
        .collect();
    let joins = |step: &crate::Step| matches!(step.action, Action::Join { .. } | Action::JoinAll);
    match to.rng.pick(&later).copied() {
        Some(machine) if to.rng.chance(60) => to.push(Action::Join { machine }),
        Some(_) => to.push(Action::JoinAll),
        // Everyone is a member: nobody can join, and whoever tries is told so.
        None if plan.steps.iter().any(joins) => {}
        None => to.push(Action::JoinAll),
    }
    // Whatever is worst while a newcomer learns.
    match to.rng.below(7) {
        0 => {
            to.wait(100, 3_000);
            to.push(Action::Snapshot { target: Target::Leader });
        }
        1 => {
            to.wait(200, 4_000);
            let disk = to.fate();
            to.push(Action::Crash {
                target: Target::InTransition,
                disk,
            });
            to.start_all();
        }
        2 => {
            to.wait(200, 4_000);
            to.crash(Target::Leader);
            to.start_all();
        }
        3 => {
            to.wait(200, 4_000);
            to.push(Action::OneWay {
                from: Target::Leader,
                to: Target::InTransition,
            });
            to.heal();
        }
        4 => {
            to.wait(200, 3_000);
            to.push(Action::Hold {
                a: Target::Leader,
                b: Target::InTransition,
            });
            to.heal();
        }
        _ => {}
    }
}

/// A machine that may leave for good: a member from the start, not the founder's number alone, not gone yet.
fn goer(to: &mut Moves<'_>, plan: &Plan, budget: &mut Budget) -> Option<u16> {
    let may: Vec<u16> = (0..to.machines as u16)
        .filter(|n| plan.machines[usize::from(*n)].at_start && !budget.gone.contains(n))
        .collect();
    let n = to.rng.pick(&may).copied()?;
    if !plan.machines[usize::from(n)].witness {
        budget.departures = budget.departures.checked_sub(1)?;
    }
    budget.gone.push(n);
    Some(n)
}

fn leave(to: &mut Moves<'_>, plan: &Plan, budget: &mut Budget) {
    let machine = if to.rng.chance(25) && budget.departures > 0 {
        // Whoever leads, or is being promoted; he is not known by number, so he counts as one more.
        budget.departures -= 1;
        let target = if to.rng.chance(60) {
            Target::Leader
        } else {
            Target::InTransition
        };
        to.push(Action::Leave { target });
        return;
    } else {
        goer(to, plan, budget)
    };
    let Some(machine) = machine else { return };
    let target = Target::Machine(machine);
    to.push(Action::Leave { target });
    match to.rng.below(5) {
        // Its leave may be cut short, and must not be undone by a restart.
        0 => {
            to.wait(100, 1_500);
            to.crash(target);
            to.wait(500, 3_000);
            to.push(Action::Start { target: Some(target) });
        }
        1 => {
            to.wait(100, 1_500);
            to.crash(Target::Leader);
            to.start_all();
        }
        2 => {
            to.wait(2_000, 6_000);
            to.push(Action::Return { machine });
        }
        3 => {
            to.wait(1_000, 8_000);
            to.push(Action::Join { machine });
        }
        _ => {}
    }
}

fn expel(to: &mut Moves<'_>, plan: &Plan, budget: &mut Budget) {
    let Some(machine) = goer(to, plan, budget) else { return };
    let target = Target::Machine(machine);
    // Usually because it is gone already.
    if to.rng.chance(60) {
        to.crash(target);
        to.wait(3_000, 9_000);
    }
    to.push(Action::Expel { target });
    to.wait(1_000, 8_000);
    to.push(Action::Return { machine });
}

fn formation(to: &mut Moves<'_>) {
    let mut shape = || {
        let voters = to.rng.pick(&[1, 3, 3, 5, 5]).copied().unwrap_or(3);
        (voters, to.rng.below(3) as u16)
    };
    let (first, second) = (shape(), shape());
    to.push(Action::Formation {
        voters: first.0,
        standbys: first.1,
    });
    // Changed again before the first is reached, or the leader dies on the way there.
    match to.rng.below(3) {
        0 => {
            to.wait(200, 6_000);
            to.push(Action::Formation {
                voters: second.0,
                standbys: second.1,
            });
        }
        1 => {
            to.wait(200, 4_000);
            to.crash(Target::Leader);
            to.start_all();
        }
        _ => {}
    }
}

fn leadership(to: &mut Moves<'_>) {
    match to.rng.below(3) {
        0 => {
            for _ in 0..to.rng.between(1, 3) {
                to.push(Action::Transfer);
                to.wait(50, 2_500);
            }
        }
        _ => {
            let target = match to.rng.below(3) {
                0 => Target::Leader,
                1 => Target::Follower(to.rng.below(4) as u16),
                _ => Target::Machine(to.machine()),
            };
            to.push(Action::Drain { target });
            if to.rng.chance(30) {
                to.wait(100, 2_000);
                to.push(Action::Transfer);
            }
            if let Target::Machine(_) = target {
                to.wait(1_000, 8_000);
                to.push(Action::Undrain { target });
            }
        }
    }
}

fn snapshot(to: &mut Moves<'_>) {
    match to.rng.below(4) {
        // What it thinks it has purged must be covered by what survives.
        0 => {
            let target = to.target();
            to.push(Action::Snapshot { target });
            to.wait(0, 400);
            let disk = if to.rng.chance(50) {
                DiskFate::Lost
            } else {
                DiskFate::Torn
            };
            to.push(Action::Crash { target, disk });
            to.start_all();
        }
        // Whoever was away can only be brought up by the snapshot.
        1 => {
            let machine = to.machine();
            let rest = (0..to.machines as u16).filter(|n| *n != machine).collect();
            to.push(Action::Partition {
                groups: vec![rest, vec![machine]],
            });
            to.wait(1_000, 5_000);
            to.push(Action::Snapshot { target: Target::Leader });
            to.wait(100, 2_000);
            to.push(Action::Heal);
            if to.rng.chance(40) {
                to.wait(50, 800);
                to.crash(Target::Machine(machine));
                to.start_all();
            }
        }
        // In the middle of a change of leader.
        2 => {
            to.push(Action::Snapshot { target: Target::Leader });
            to.push(Action::Transfer);
            to.wait(0, 600);
            to.push(Action::Snapshot { target: Target::Leader });
        }
        _ => {
            let target = to.target();
            to.push(Action::Snapshot { target });
        }
    }
}

fn restart(to: &mut Moves<'_>) {
    match to.rng.below(3) {
        // All in turn, as in an upgrade, without much patience.
        0 => {
            let first = to.machine();
            for n in 0..to.machines.min(4) as u16 {
                let target = Target::Machine((first + n) % to.machines as u16);
                let down_ms = to.rng.between(200, 2_000) as u32;
                to.push(Action::Restart { target, down_ms });
                to.wait(800, 4_000);
            }
        }
        _ => {
            let target = to.target();
            let down_ms = to.rng.between(100, 6_000) as u32;
            to.push(Action::Restart { target, down_ms });
        }
    }
}
