//! Carries out a plan: builds the world, lets it stand, does to it what the plan says, lets it heal, looks at it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use revoada_core::command::Command;
use revoada_core::{MemberId, Role};
use sim_check::record::{Final, LogImage, Power, Record};
use sim_check::{Broken, check_all};
use sim_plan::plan::{Action, DiskFate, Network, Plan, Target};
use turmoil::{Builder, Sim};

use super::client::Clients;
use super::host::{Cell, Order, View, note_refusal, software};
use super::mesh::Neighbourhood;
use super::recorder::Recorder;

/// How much simulated time one step of all machines takes.
const TICK: Duration = Duration::from_millis(5);

/// How long the cluster may take to stand before anything is done to it.
const STAND_MS: u64 = 120_000;

/// How long clients go on after the faults have ended.
const AFTER_CALM_MS: u64 = 4_000;

/// How long the cluster must have been whole to count as healed.
const WHOLE_MS: u64 = 2_000;

/// How long a returning member has to be refused.
const RETURN_MS: u64 = 8_000;

/// How long reports may take.
const REPORT_MS: u64 = 12_000;

/// What came of a run.
pub struct Outcome {
    pub record: Record,
    pub trace: String,
    pub broken: Vec<Broken>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Simulated milliseconds from the end of all faults until the cluster was whole; `None` if it never was.
    pub healed_ms: Option<u64>,
    /// All simulated time.
    pub simulated_ms: u64,
}

/// Something to be done later.
enum Later {
    Start(u16),
    JudgeReturn(u16, Option<MemberId>),
}

struct World<'a> {
    sim: Sim<'a>,
    plan: &'a Plan,
    cells: Vec<Arc<Cell>>,
    recorder: Recorder,
    clients: Arc<Clients>,
    later: Vec<(u64, Later)>,
    /// Machines that are to join as soon as there is a ticket.
    joining: Vec<u16>,
    ticket_asked_ms: Option<u64>,
    /// Links that were cut in one direction.
    one_way: Vec<(u16, u16)>,
    held: Vec<(u16, u16)>,
    loss: Arc<std::sync::atomic::AtomicU64>,
}

/// Plays a plan. `root` is an empty directory for what members keep outside the simulated disk.
pub fn run(plan: &Plan, root: &Path) -> anyhow::Result<Outcome> {
    let recorder = Recorder::default();
    recorder.add(|record| record.seed = plan.seed);
    let mut builder = Builder::new();
    builder
        .rng_seed(plan.seed)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(u64::from(plan.network.latency_min_ms)))
        .max_message_latency(Duration::from_millis(u64::from(plan.network.latency_max_ms)))
        .simulation_duration(Duration::from_secs(24 * 3600))
        .tcp_capacity(1 << 16)
        .udp_capacity(1 << 12);
    let mut sim = builder.build();
    let neighbourhood = Neighbourhood::default();
    let loss: Arc<std::sync::atomic::AtomicU64> = Arc::default();
    let cells: Vec<Arc<Cell>> = plan
        .machines
        .iter()
        .zip(0_u16..)
        .map(|(machine, number)| {
            let leases = number < plan.workload.leases;
            Arc::new(Cell::new(number, machine.clone(), root, leases))
        })
        .collect();
    for cell in &cells {
        let (cell, recorder, neighbourhood) = (Arc::clone(cell), recorder.clone(), Arc::clone(&neighbourhood));
        let loss = Arc::clone(&loss);
        sim.host(cell.name(), move || {
            software(
                Arc::clone(&cell),
                recorder.clone(),
                Arc::clone(&neighbourhood),
                Arc::clone(&loss),
            )
        });
    }
    let clients = Arc::new(Clients {
        recorder: recorder.clone(),
        cells: cells.clone(),
        workload: plan.workload,
        seed: plan.seed,
        quiet: AtomicBool::new(false),
        over: AtomicBool::new(false),
    });
    let mut world = World {
        sim,
        plan,
        cells,
        recorder,
        clients,
        later: Vec::new(),
        joining: Vec::new(),
        ticket_asked_ms: None,
        one_way: Vec::new(),
        held: Vec::new(),
        loss,
    };
    world.play()?;
    world.finish()
}

impl World<'_> {
    fn now_ms(&self) -> u64 {
        self.sim.elapsed().as_millis() as u64
    }

    fn step(&mut self) -> anyhow::Result<()> {
        self.sim
            .step()
            .map_err(|error| anyhow::anyhow!("a machine's software failed: {error}"))?;
        let now = self.now_ms();
        let mut due = Vec::new();
        self.later.retain_mut(|(at, later)| {
            let is_due = *at <= now;
            if is_due {
                due.push(std::mem::replace(later, Later::Start(0)));
            }
            !is_due
        });
        for later in due {
            match later {
                Later::Start(machine) => self.start_when_stopped(machine),
                Later::JudgeReturn(machine, member) => self.judge_return(machine, member),
            }
        }
        if !self.joining.is_empty() {
            self.tickets();
        }
        Ok(())
    }

    fn until(&mut self, at_ms: u64) -> anyhow::Result<()> {
        while self.now_ms() < at_ms {
            self.step()?;
        }
        Ok(())
    }

    fn play(&mut self) -> anyhow::Result<()> {
        self.stand()?;
        let clients = Arc::clone(&self.clients);
        self.sim.host("clients", move || Arc::clone(&clients).run());
        let begun = self.now_ms();
        // Nobody joins with a wrong clock; later it may go wrong.
        for cell in &self.cells {
            cell.skew_ms.store(cell.plan.skew_ms, Ordering::Relaxed);
        }
        self.note(begun, "stands", "the cluster stands".into(), Vec::new());
        for step in &self.plan.steps {
            self.until(begun + step.at_ms)?;
            self.act(&step.action);
        }
        self.until(begun + self.plan.calm_ms)?;
        self.calm();
        Ok(())
    }

    /// Founds, joins, shapes.
    fn stand(&mut self) -> anyhow::Result<()> {
        let deadline = STAND_MS;
        while !self.view(0).api || self.view(0).leads.is_none() {
            self.step()?;
            anyhow::ensure!(self.now_ms() < deadline, "the founder never led: {:?}", self.view(0));
        }
        let first: Vec<u16> = self
            .cells
            .iter()
            .filter(|cell| cell.number != 0 && cell.plan.at_start)
            .map(|cell| cell.number)
            .collect();
        self.joining.extend(first.clone());
        let joined = |world: &Self| first.iter().all(|machine| world.view(*machine).role.is_some());
        while !joined(self) || !self.is_whole() {
            self.step()?;
            anyhow::ensure!(self.now_ms() < deadline, "the cluster never stood: {}", self.describe());
        }
        if let Some((voters, standbys)) = self.plan.formation {
            self.order_someone(Order::Formation(voters, standbys));
            self.until(self.now_ms() + 1_500)?;
            while !self.is_whole() {
                self.step()?;
                anyhow::ensure!(
                    self.now_ms() < deadline,
                    "the formation was never reached: {}",
                    self.describe()
                );
            }
        }
        Ok(())
    }

    fn view(&self, machine: u16) -> View {
        self.cells[usize::from(machine)].view.lock().clone()
    }

    fn is_running(&self, machine: u16) -> bool {
        *self.cells[usize::from(machine)].running.lock()
    }

    fn describe(&self) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        for cell in &self.cells {
            let view = cell.view.lock();
            // Writing to a string does not fail.
            let _ = write!(
                out,
                "\n  m{} {} {:?} epoch {} leads {:?} applied {:?} whole {} api {} chain {:?} in transition {:?} {}",
                cell.number,
                if *cell.running.lock() { "runs" } else { "down" },
                view.role,
                view.epoch,
                view.leads,
                view.applied,
                view.whole,
                view.api,
                view.chain,
                view.in_transition.map(|id| id.short()),
                view.halted.clone().unwrap_or_default(),
            );
        }
        out
    }

    /// Whether every running member agrees that everything wanted is there.
    fn is_whole(&self) -> bool {
        let members: Vec<View> = self
            .cells
            .iter()
            .filter(|cell| *cell.running.lock())
            .map(|cell| cell.view.lock().clone())
            .filter(|view| view.member.is_some() && !view.ended)
            .collect();
        let Some(leader) = members
            .iter()
            .filter(|view| view.leads.is_some())
            .max_by_key(|view| view.leads)
        else {
            return false;
        };
        let alive: Vec<MemberId> = members.iter().filter_map(|view| view.member).collect();
        let admitted = leader.roles.iter().map(|(id, _)| *id);
        let replicas: Vec<Option<u64>> = members
            .iter()
            .filter(|view| view.role.is_some_and(Role::is_replica))
            .map(|view| view.applied)
            .collect();
        leader.whole
            && leader.chain.0 == leader.chain.1
            && members.iter().all(|view| {
                view.chain.0 == leader.chain.0
                    && view.epoch == leader.epoch
                    && (view.api || view.role == Some(Role::Witness))
            })
            && admitted.into_iter().all(|id| alive.contains(&id))
            && replicas.iter().all(|applied| *applied == leader.applied)
    }

    fn note(&self, at_ms: u64, kind: &'static str, what: String, machines: Vec<u16>) {
        self.recorder.fault(at_ms, kind, what, machines);
    }

    // Whom and what.

    fn leader(&self) -> Option<u16> {
        let views = self.cells.iter().map(|cell| (cell.number, cell.view.lock().clone()));
        views
            .filter(|(number, view)| view.leads.is_some() && self.is_running(*number))
            .max_by_key(|(_, view)| view.leads)
            .map(|(number, _)| number)
    }

    fn with_role(&self, wanted: &[Role]) -> Vec<u16> {
        self.cells
            .iter()
            .filter(|cell| *cell.running.lock() && cell.view.lock().role.is_some_and(|role| wanted.contains(&role)))
            .map(|cell| cell.number)
            .collect()
    }

    fn nth(all: &[u16], n: u16) -> Option<u16> {
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
    }

    fn resolve(&self, target: Target) -> Option<u16> {
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

    fn machine_of(&self, member: MemberId) -> Option<u16> {
        self.cells
            .iter()
            .find(|cell| cell.view.lock().member == Some(member))
            .map(|cell| cell.number)
    }

    /// Asks the leader, or any running member.
    fn order_someone(&self, order: Order) -> Option<u16> {
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

    fn act(&mut self, action: &Action) {
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
    fn effect(&mut self, action: &Action, now: u64) -> Option<Vec<u16>> {
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
                self.later.push((now + RETURN_MS, Later::JudgeReturn(*machine, member)));
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

    fn someone_but(&self, not: u16) -> Option<u16> {
        let leader = self.leader().filter(|leader| *leader != not);
        leader.or_else(|| {
            self.cells
                .iter()
                .find(|cell| cell.number != not && *cell.running.lock() && cell.view.lock().role.is_some())
                .map(|cell| cell.number)
        })
    }

    fn hold_role(&mut self, target: Target, drained: bool) -> Option<Vec<u16>> {
        let machine = self.resolve(target)?;
        let member = self.view(machine).member?;
        self.order_someone(Order::Hold(member, drained))?;
        Some(vec![machine])
    }

    fn name(&self, machine: u16) -> String {
        self.cells[usize::from(machine)].name()
    }

    fn hold(&mut self, a: u16, b: u16) {
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

    fn heal(&mut self) {
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

    fn weather(&mut self, network: Network) {
        self.sim
            .set_max_message_latency(Duration::from_millis(u64::from(network.latency_max_ms)));
        self.loss.store(u64::from(network.loss_permille), Ordering::Relaxed);
    }

    fn crash(&mut self, machine: u16, fate: DiskFate) {
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

    fn bounce(&mut self, machine: u16) {
        let cell = &self.cells[usize::from(machine)];
        *cell.running.lock() = true;
        let name = cell.name();
        // Whatever the last process left behind is gone before the next one begins.
        self.sim.crash(name.as_str());
        self.sim.bounce(name.as_str());
        self.power(machine, true);
    }

    fn power(&self, machine: u16, up: bool) {
        let at = self.recorder.stamp_at(self.now_ms());
        self.recorder.add(|record| record.power.push(Power { at, machine, up }));
    }

    /// Starts a machine that is down, unless it went for good.
    fn start(&mut self, machine: u16) -> bool {
        let cell = &self.cells[usize::from(machine)];
        let down = !*cell.running.lock() && !*cell.gone.lock();
        if down {
            cell.view.lock().ended = false;
            self.bounce(machine);
        }
        down
    }

    fn start_when_stopped(&mut self, machine: u16) {
        if *self.cells[usize::from(machine)].gone.lock() {
            return;
        }
        if self.is_running(machine) {
            self.later.push((self.now_ms() + 200, Later::Start(machine)));
        } else {
            self.start(machine);
        }
    }

    fn start_all(&mut self) -> Vec<u16> {
        (0..self.cells.len() as u16)
            .filter(|machine| self.start(*machine))
            .collect()
    }

    fn join(&mut self, machine: u16) -> Option<()> {
        let cell = self.cells.get(usize::from(machine))?;
        let view = cell.view.lock().clone();
        let fresh = view.member.is_none();
        let gone = *cell.gone.lock() && !*cell.running.lock();
        let expelled = cell.expelled.load(Ordering::Relaxed);
        if (!fresh && !gone) || expelled || self.joining.contains(&machine) {
            return None;
        }
        if gone {
            cell.renew();
            self.bounce(machine);
        }
        self.joining.push(machine);
        Some(())
    }

    /// Gets a ticket from somebody and hands it to all who want to join.
    fn tickets(&mut self) {
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
    fn is_admitted(&self, member: MemberId) -> bool {
        let newest = self
            .cells
            .iter()
            .map(|cell| cell.view.lock().clone())
            .filter(|view| view.member.is_some() && view.member != Some(member))
            .max_by_key(|view| (view.epoch, view.chain.0));
        newest.is_some_and(|view| view.roles.iter().any(|(id, _)| *id == member))
    }

    fn judge_return(&mut self, machine: u16, member: Option<MemberId>) {
        let view = self.view(machine);
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

    fn calm(&mut self) {
        let now = self.now_ms();
        self.heal();
        self.weather(self.plan.network);
        for cell in &self.cells {
            cell.disk.mend();
            cell.skew_ms.store(0, Ordering::Relaxed);
        }
        for cell in &self.cells {
            let member = cell.view.lock().member;
            if member.is_some_and(|member| self.is_admitted(member)) {
                *cell.gone.lock() = false;
            }
        }
        // A member that stopped because its disk failed starts again, as a service manager would have it.
        let started = self.start_all();
        self.note(now, "calm", "all faults end".into(), started);
        let calm = self.recorder.stamp_at(now);
        self.recorder.add(|record| record.calm = calm);
    }

    fn finish(mut self) -> anyhow::Result<Outcome> {
        let calm = self.now_ms();
        let mut whole_since = None;
        let mut healed = None;
        while self.now_ms() < calm + self.plan.heal_ms {
            let now = self.now_ms();
            if now >= calm + AFTER_CALM_MS {
                self.clients.quiet.store(true, Ordering::Relaxed);
            }
            // Whoever halted for a fault that is over is started by its service manager.
            if now.is_multiple_of(1_000) {
                self.start_all();
            }
            if self.is_whole() && self.joining.is_empty() && self.later.is_empty() {
                let since = *whole_since.get_or_insert(now);
                if now >= since + WHOLE_MS && now >= calm + AFTER_CALM_MS + WHOLE_MS {
                    healed = Some(since.saturating_sub(calm));
                    break;
                }
            } else {
                whole_since = None;
            }
            self.step()?;
        }
        if healed.is_none() {
            let at = self.recorder.stamp_at(self.now_ms());
            self.recorder.trace(at, format_args!("NOT WHOLE {}", self.describe()));
        }
        self.until(self.now_ms() + 1_000)?;
        self.clients.over.store(true, Ordering::Relaxed);
        let running: Vec<u16> = (0..self.cells.len() as u16)
            .filter(|machine| self.is_running(*machine) && self.view(*machine).member.is_some())
            .collect();
        for machine in &running {
            self.cells[usize::from(*machine)].order(Order::Report);
        }
        let deadline = self.now_ms() + REPORT_MS;
        let reported = |world: &Self| {
            running
                .iter()
                .all(|machine| world.cells[usize::from(*machine)].report.lock().is_some())
        };
        while !reported(&self) && self.now_ms() < deadline {
            self.step()?;
        }
        self.until(self.now_ms() + 1_000)?;
        self.collect(healed)
    }

    fn collect(self, healed_ms: Option<u64>) -> anyhow::Result<Outcome> {
        let simulated_ms = self.now_ms();
        for cell in &self.cells {
            let view = cell.view.lock().clone();
            let report = cell.report.lock().take();
            let last = report.unwrap_or_else(|| Final {
                machine: cell.number,
                member: view.member,
                running: *cell.running.lock() && view.member.is_some(),
                halted: view.halted.clone(),
                applied: None,
                store: None,
                epoch: view.epoch,
                state: None,
                raft: None,
                api: false,
            });
            self.recorder.add(|record| record.finals.push(last));
            self.log_images(cell);
        }
        let ended = self.recorder.stamp_at(simulated_ms);
        self.recorder.add(|record| record.ended = ended);
        let Self { sim, recorder, .. } = self;
        // Its tasks hold handles on the recorder; nothing they still do is part of the run.
        std::mem::forget(sim);
        let (record, trace) = recorder.finish();
        let mut faults = BTreeMap::new();
        for fault in &record.faults {
            *faults.entry(fault.kind).or_default() += 1;
        }
        let broken = check_all(&record);
        Ok(Outcome {
            record,
            trace,
            broken,
            faults,
            healed_ms,
            simulated_ms,
        })
    }

    /// Reads the durable logs of a machine, as far as they would be there after a power cut now, and finds out which
    /// of its entries carry a fence.
    fn log_images(&self, cell: &Cell) {
        let disk = cell.disk.current().after_power_cut(0);
        let mut dirs: Vec<(u64, PathBuf)> = Vec::new();
        for file in disk.files() {
            let dir = file.ancestors().find_map(|dir| {
                let epoch = dir.file_name()?.to_str()?.strip_prefix("epoch-")?.parse().ok()?;
                Some((epoch, dir.to_path_buf()))
            });
            if let Some(dir) = dir
                && !dirs.contains(&dir)
            {
                dirs.push(dir);
            }
        }
        for (epoch, dir) in dirs {
            let at = self.recorder.stamp_at(self.now_ms());
            match revoada::inspect::read_log(disk.arc(), &dir).context("reading a durable log") {
                Ok(content) => {
                    let mut entries = BTreeMap::new();
                    let mut fences = Vec::new();
                    for entry in content.entries {
                        entries.insert(entry.index, (entry.term, *blake3::hash(&entry.raw).as_bytes()));
                        if let Some(Ok(Command::App { fence: Some(fence), .. })) =
                            entry.command.as_deref().map(Command::decode)
                        {
                            fences.push((entry.index, entry.term, fence));
                        }
                    }
                    self.recorder.add(|record| {
                        for (index, term, fence) in fences {
                            for applied in record.applied.iter_mut().filter(|applied| {
                                applied.epoch == epoch && applied.index == index && applied.term == term
                            }) {
                                applied.fence = Some(fence);
                            }
                        }
                        record.logs.push(LogImage {
                            at,
                            machine: cell.number,
                            epoch,
                            purged: content.purged,
                            entries,
                        });
                    });
                }
                Err(error) => self
                    .recorder
                    .trace(at, format_args!("m{} log of epoch {epoch}: {error:#}", cell.number)),
            }
        }
    }
}
