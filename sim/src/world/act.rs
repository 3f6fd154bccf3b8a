//! What a plan's actions do to the world, and to whom.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use revoada_core::{MemberId, Role};
use sim_check::record::Power;
use sim_plan::plan::{Action, DiskFate, Network, Target};

use super::host::{Order, note_refusal};
use super::runner::{Later, World};

/// How long a returning member has to be refused.
const RETURN_MS: u64 = 8_000;

impl World<'_> {
    // Whom and what.

    pub(super) fn leader(&self) -> Option<u16> {
        let views = self.cells.iter().map(|cell| (cell.number, cell.view.lock().clone()));
        views
            .filter(|(number, view)| view.leads.is_some() && self.is_running(*number))
            .max_by_key(|(_, view)| view.leads)
            .map(|(number, _)| number)
    }

    pub(super) fn with_role(&self, wanted: &[Role]) -> Vec<u16> {
        self.cells
            .iter()
            .filter(|cell| *cell.running.lock() && cell.view.lock().role.is_some_and(|role| wanted.contains(&role)))
            .map(|cell| cell.number)
            .collect()
    }

    pub(super) fn nth(all: &[u16], n: u16) -> Option<u16> {
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
    }

    pub(super) fn resolve(&self, target: Target) -> Option<u16> {
        match target {
            Target::Machine(number) => (usize::from(number) < self.cells.len()).then_some(number),
            Target::Leader => self.leader(),
            Target::Follower(n) => {
                let leader = self.leader();
                let mut voters = self.with_role(&[Role::Voter, Role::Witness]);
                voters.retain(|number| Some(*number) != leader);
                Self::nth(&voters, n)
            }
            Target::Standby(n) => Self::nth(&self.with_role(&[Role::Standby]), n),
            Target::Worker(n) => Self::nth(&self.with_role(&[Role::Worker]), n),
            Target::InTransition => {
                let leader = self.leader()?;
                let member = self.view(leader).in_transition?;
                self.machine_of(member)
            }
        }
    }

    pub(super) fn machine_of(&self, member: MemberId) -> Option<u16> {
        self.cells
            .iter()
            .find(|cell| cell.view.lock().member == Some(member))
            .map(|cell| cell.number)
    }

    /// Asks the leader, or any running member.
    pub(super) fn order_someone(&self, order: Order) -> Option<u16> {
        let someone = self.leader().or_else(|| {
            self.cells
                .iter()
                .find(|cell| *cell.running.lock() && cell.view.lock().role.is_some())
                .map(|cell| cell.number)
        })?;
        self.cells[usize::from(someone)].order(order);
        Some(someone)
    }

    // What happens.

    pub(super) fn act(&mut self, action: &Action) {
        let now = self.now_ms();
        let before = self.effect(action, now);
        let (what, machines) = match before {
            Some(machines) => (action.to_string(), machines),
            None => (format!("{action} (nobody there)"), Vec::new()),
        };
        let kind = if machines.is_empty() && what.ends_with("(nobody there)") {
            "nobody there"
        } else {
            action.kind()
        };
        self.note(now, kind, what, machines);
    }

    /// Does it, and gives the machines that it concerned.
    pub(super) fn effect(&mut self, action: &Action, now: u64) -> Option<Vec<u16>> {
        match action {
            Action::Crash { target, disk } => {
                let machine = self.resolve(*target).filter(|machine| self.is_running(*machine))?;
                self.crash(machine, *disk);
                Some(vec![machine])
            }
            Action::CrashMany { targets, disk } => {
                // All are found out before the first dies.
                let mut machines: Vec<u16> = targets.iter().filter_map(|target| self.resolve(*target)).collect();
                machines.sort_unstable();
                machines.dedup();
                machines.retain(|machine| self.is_running(*machine));
                for machine in &machines {
                    self.crash(*machine, *disk);
                }
                Some(machines)
            }
            Action::Start { target: Some(target) } => {
                let machine = self.resolve(*target)?;
                self.start(machine);
                Some(vec![machine])
            }
            Action::Start { target: None } => Some(self.start_all()),
            Action::Restart { target, down_ms } => {
                let machine = self.resolve(*target).filter(|machine| self.is_running(*machine))?;
                self.cells[usize::from(machine)].order(Order::Stop);
                self.later.push((now + u64::from(*down_ms), Later::Start(machine)));
                Some(vec![machine])
            }
            Action::Readdress { target } => {
                let machines: Vec<u16> = match target {
                    Some(target) => vec![self.resolve(*target).filter(|machine| self.is_running(*machine))?],
                    None => (0..self.cells.len() as u16)
                        .filter(|machine| self.is_running(*machine))
                        .collect(),
                };
                for machine in &machines {
                    let cell = &self.cells[usize::from(*machine)];
                    cell.port.fetch_add(1, Ordering::Relaxed);
                    cell.order(Order::Stop);
                    self.later.push((now + 1_000, Later::Start(*machine)));
                }
                Some(machines)
            }
            Action::Partition { groups } => {
                let all = self.cells.len() as u16;
                let group = |machine: u16| groups.iter().position(|group| group.contains(&machine));
                for a in 0..all {
                    for b in a + 1..all {
                        if group(a).is_none() || group(a) != group(b) {
                            self.hold(a, b);
                        }
                    }
                }
                Some((0..all).collect())
            }
            Action::IsolateLeader => {
                let leader = self.leader()?;
                for other in (0..self.cells.len() as u16).filter(|other| *other != leader) {
                    self.hold(leader, other);
                }
                Some(vec![leader])
            }
            Action::OneWay { from, to } => {
                let (from, to) = (self.resolve(*from)?, self.resolve(*to)?);
                if from == to || self.held.contains(&(from.min(to), from.max(to))) {
                    return None;
                }
                self.sim.partition_oneway(self.name(from), self.name(to));
                self.one_way.push((from, to));
                Some(vec![from, to])
            }
            Action::Hold { a, b } => {
                let (a, b) = (self.resolve(*a)?, self.resolve(*b)?);
                if a == b {
                    return None;
                }
                self.hold(a, b);
                Some(vec![a, b])
            }
            Action::Heal => {
                self.heal();
                Some(Vec::new())
            }
            Action::Weather { network } => {
                self.weather(*network);
                Some(Vec::new())
            }
            Action::Disk { target, fault } => {
                let machine = self.resolve(*target)?;
                self.cells[usize::from(machine)].disk.fail(*fault);
                Some(vec![machine])
            }
            Action::DiskHeal => {
                self.cells.iter().for_each(|cell| cell.disk.mend());
                Some(Vec::new())
            }
            Action::ClockJump { target, by_ms } => {
                let machine = self.resolve(*target)?;
                self.cells[usize::from(machine)]
                    .skew_ms
                    .fetch_add(*by_ms, Ordering::Relaxed);
                Some(vec![machine])
            }
            Action::Join { machine } => {
                self.join(*machine)?;
                Some(vec![*machine])
            }
            Action::JoinAll => {
                let machines: Vec<u16> = (0..self.cells.len() as u16)
                    .filter(|machine| self.join(*machine).is_some())
                    .collect();
                (!machines.is_empty()).then_some(machines)
            }
            Action::Leave { target } => {
                let machine = self.resolve(*target).filter(|machine| self.is_running(*machine))?;
                let cell = &self.cells[usize::from(machine)];
                *cell.gone.lock() = true;
                cell.order(Order::Leave);
                Some(vec![machine])
            }
            Action::Expel { target } => {
                let machine = self.resolve(*target)?;
                let member = self.view(machine).member?;
                *self.cells[usize::from(machine)].gone.lock() = true;
                let someone = self.someone_but(machine)?;
                self.cells[usize::from(machine)].expelled.store(true, Ordering::Relaxed);
                self.cells[usize::from(someone)].order(Order::Expel(member));
                Some(vec![machine])
            }
            Action::Return { machine } => {
                let member = self.view(*machine).member;
                if self.is_running(*machine) {
                    return None;
                }
                self.bounce(*machine);
                self.later.push((now, Later::JudgeReturn(*machine, member, now)));
                Some(vec![*machine])
            }
            Action::Formation { voters, standbys } => self
                .order_someone(Order::Formation(*voters, *standbys))
                .map(|asked| vec![asked]),
            Action::Drain { target } => self.hold_role(*target, true),
            Action::Undrain { target } => self.hold_role(*target, false),
            Action::Transfer => {
                let leader = self.leader()?;
                self.cells[usize::from(leader)].order(Order::Transfer);
                Some(vec![leader])
            }
            Action::Snapshot { target } => {
                let machine = self.resolve(*target).filter(|machine| self.is_running(*machine))?;
                self.cells[usize::from(machine)].order(Order::Snapshot);
                Some(vec![machine])
            }
            Action::Recover { machine } => {
                self.cells[usize::from(*machine)].order(Order::Recover);
                Some(vec![*machine])
            }
        }
    }

    pub(super) fn someone_but(&self, not: u16) -> Option<u16> {
        let leader = self.leader().filter(|leader| *leader != not);
        leader.or_else(|| {
            self.cells
                .iter()
                .find(|cell| cell.number != not && *cell.running.lock() && cell.view.lock().role.is_some())
                .map(|cell| cell.number)
        })
    }

    pub(super) fn hold_role(&mut self, target: Target, drained: bool) -> Option<Vec<u16>> {
        let machine = self.resolve(target)?;
        let member = self.view(machine).member?;
        self.order_someone(Order::Hold(member, drained))?;
        Some(vec![machine])
    }

    pub(super) fn name(&self, machine: u16) -> String {
        self.cells[usize::from(machine)].name()
    }

    pub(super) fn hold(&mut self, a: u16, b: u16) {
        let pair = (a.min(b), a.max(b));
        if self.held.contains(&pair)
            || self
                .one_way
                .iter()
                .any(|(from, to)| (*from.min(to), *from.max(to)) == pair)
        {
            return;
        }
        self.sim.hold(self.name(a), self.name(b));
        self.held.push(pair);
    }

    pub(super) fn heal(&mut self) {
        for (a, b) in std::mem::take(&mut self.held) {
            self.sim.release(self.name(a), self.name(b));
        }
        for (from, to) in std::mem::take(&mut self.one_way) {
            self.sim.repair_oneway(self.name(from), self.name(to));
            // What was lost is lost: streams over this link have holes and must not live on.
            for machine in [from, to] {
                let other = if machine == from { to } else { from };
                self.cells[usize::from(machine)].cut.lock().push(other);
            }
        }
    }

    pub(super) fn weather(&mut self, network: Network) {
        self.sim
            .set_max_message_latency(Duration::from_millis(u64::from(network.latency_max_ms)));
        self.loss.store(u64::from(network.loss_permille), Ordering::Relaxed);
    }

    pub(super) fn crash(&mut self, machine: u16, fate: DiskFate) {
        let cell = Arc::clone(&self.cells[usize::from(machine)]);
        let seed = self.plan.seed.wrapping_mul(31).wrapping_add(self.now_ms());
        cell.disk.crash(fate, seed);
        self.sim.crash(cell.name());
        *cell.running.lock() = false;
        self.power(machine, false);
        cell.orders.lock().clear();
        let mut view = cell.view.lock();
        view.leads = None;
        view.applied = None;
        view.api = false;
        drop(view);
        self.log_images(&cell);
    }

    pub(super) fn bounce(&mut self, machine: u16) {
        let cell = &self.cells[usize::from(machine)];
        *cell.running.lock() = true;
        let name = cell.name();
        // Whatever the last process left behind is gone before the next one begins.
        self.sim.crash(name.as_str());
        self.sim.bounce(name.as_str());
        self.power(machine, true);
    }

    pub(super) fn power(&self, machine: u16, up: bool) {
        let at = self.recorder.stamp_at(self.now_ms());
        self.recorder.add(|record| record.power.push(Power { at, machine, up }));
    }

    /// Starts a machine that is down, unless it went for good.
    pub(super) fn start(&mut self, machine: u16) -> bool {
        let cell = &self.cells[usize::from(machine)];
        let down = !*cell.running.lock() && !*cell.gone.lock();
        if down {
            cell.view.lock().ended = false;
            self.bounce(machine);
        }
        down
    }

    pub(super) fn start_when_stopped(&mut self, machine: u16) {
        if *self.cells[usize::from(machine)].gone.lock() {
            return;
        }
        if self.is_running(machine) {
            self.later.push((self.now_ms() + 200, Later::Start(machine)));
        } else {
            self.start(machine);
        }
    }

    pub(super) fn start_all(&mut self) -> Vec<u16> {
        for cell in &self.cells {
            let view = cell.view.lock().clone();
            // Its departure was committed meanwhile: nobody starts it again.
            if view.ended && view.member.is_some_and(|member| !self.is_admitted(member)) {
                *cell.gone.lock() = true;
            }
        }
        (0..self.cells.len() as u16)
            .filter(|machine| self.start(*machine))
            .collect()
    }

    pub(super) fn join(&mut self, machine: u16) -> Option<()> {
        let cell = self.cells.get(usize::from(machine))?;
        let view = cell.view.lock().clone();
        let fresh = view.member.is_none();
        let gone = *cell.gone.lock() && !*cell.running.lock();
        let expelled = cell.expelled.load(Ordering::Relaxed);
        if (!fresh && !gone) || expelled || self.joining.contains(&machine) {
            return None;
        }
        if gone && view.member.is_some_and(|member| self.is_admitted(member)) {
            // Its departure was never committed: it is a member still, and others may count on its disk.
            *cell.gone.lock() = false;
            return self.start(machine).then_some(());
        }
        if gone {
            cell.renew();
            self.bounce(machine);
        }
        self.joining.push(machine);
        Some(())
    }

    /// Gets a ticket from somebody and hands it to all who want to join.
    pub(super) fn tickets(&mut self) {
        let now = self.now_ms();
        let ticket = self.cells.iter().find_map(|cell| cell.ticket.lock().take());
        if let Some(ticket) = ticket {
            for machine in std::mem::take(&mut self.joining) {
                self.cells[usize::from(machine)].order(Order::Join(Box::new(ticket.clone())));
            }
            self.ticket_asked_ms = None;
        } else if self.ticket_asked_ms.is_none_or(|at| now > at + 3_000) && self.order_someone(Order::Ticket).is_some()
        {
            self.ticket_asked_ms = Some(now);
        }
    }

    /// Whether a machine that was told to go is still a member: its departure was never committed.
    pub(super) fn is_admitted(&self, member: MemberId) -> bool {
        let newest = self
            .cells
            .iter()
            .map(|cell| cell.view.lock().clone())
            .filter(|view| view.member.is_some() && view.member != Some(member))
            .max_by_key(|view| (view.epoch, view.chain.0));
        newest.is_some_and(|view| view.roles.iter().any(|(id, _)| *id == member))
    }

    /// Judges a return once everything was in order for a while since `since`: behind a cut link, and while nobody
    /// leads, there may be nobody who can refuse it.
    pub(super) fn judge_return(&mut self, machine: u16, member: Option<MemberId>, since: u64) {
        let (now, view) = (self.now_ms(), self.view(machine));
        let hindered = !self.held.is_empty() || !self.one_way.is_empty() || self.leader().is_none();
        let since = if hindered { now } else { since };
        if view.halted.is_none() && now < since + RETURN_MS {
            let again = Later::JudgeReturn(machine, member, since);
            self.later.push((now + RETURN_MS / 8, again));
            return;
        }
        if view.member != member {
            // It came back as another member meanwhile.
            return;
        }
        if !self.is_running(machine) && view.halted.is_none() && !view.ended {
            // It went down once more: there is nobody to refuse.
            return;
        }
        if member.is_some_and(|member| self.is_admitted(member)) {
            // It never went: nobody has to refuse it.
            *self.cells[usize::from(machine)].gone.lock() = false;
            return;
        }
        let turned_away = member.is_some_and(|member| {
            ["expelled", "fenced", "left", "unknown"]
                .iter()
                .any(|why| self.recorder.turned_away_count(member, why) > 0)
        });
        let refused = view.ended || view.halted.is_some() || turned_away;
        let told = view.halted.unwrap_or_else(|| "turned away".into());
        note_refusal(&self.recorder, self.now_ms(), machine, refused, told);
    }
}
