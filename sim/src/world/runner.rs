//! Carries out a plan: builds the world, lets it stand, does to it what the plan says, lets it heal, looks at it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use revoada_core::command::Command;
use revoada_core::{MemberId, Role};
use sim_check::record::{Final, LogImage, Record};
use sim_check::{Broken, check_all};
use sim_plan::plan::Plan;
use turmoil::{Builder, Sim};

use super::client::Clients;
use super::host::{Cell, Order, View, software};
use super::mesh::Neighbourhood;
use super::recorder::Recorder;

/// How much simulated time one step of all machines takes.
const TICK: Duration = Duration::from_millis(5);

/// How long the cluster may take to stand before anything is done to it.
const STAND_MS: u64 = 120_000;

/// How long clients go on after the faults have ended.
const AFTER_CALM_MS: u64 = 4_000;

/// Entries by which a replica's view may be behind the leader's.
const VIEW_LAG: u64 = 3;

/// How long the cluster must have been whole to count as healed.
const WHOLE_MS: u64 = 2_000;

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
pub(super) enum Later {
    /// Starts a machine once it has stopped.
    Start(u16),
    /// Whether the member that came back was refused, once nothing has hindered that since the time.
    JudgeReturn(u16, Option<MemberId>, u64),
}

pub(super) struct World<'a> {
    pub(super) sim: Sim<'a>,
    pub(super) plan: &'a Plan,
    pub(super) cells: Vec<Arc<Cell>>,
    pub(super) recorder: Recorder,
    pub(super) clients: Arc<Clients>,
    pub(super) later: Vec<(u64, Later)>,
    /// Machines that are to join as soon as there is a ticket.
    pub(super) joining: Vec<u16>,
    pub(super) ticket_asked_ms: Option<u64>,
    /// Links that were cut in one direction.
    pub(super) one_way: Vec<(u16, u16)>,
    pub(super) held: Vec<(u16, u16)>,
    pub(super) loss: Arc<std::sync::atomic::AtomicU64>,
}

/// Plays a plan. `root` is an empty directory for what members keep outside the simulated disk.
pub fn run(plan: &Plan, root: &Path) -> anyhow::Result<Outcome> {
    let recorder = Recorder::default();
    recorder.add(|record| {
        record.seed = plan.seed;
        record.certificates_last = plan.certificates_last;
    });
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
            let certificate_life = Duration::from_secs(u64::from(plan.certificate_life_s));
            Arc::new(Cell::new(number, machine.clone(), root, leases, certificate_life))
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
    pub(super) fn now_ms(&self) -> u64 {
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
                Later::JudgeReturn(machine, member, since) => self.judge_return(machine, member, since),
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
            cell.restless.store(true, Ordering::Relaxed);
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

    pub(super) fn view(&self, machine: u16) -> View {
        self.cells[usize::from(machine)].view.lock().clone()
    }

    pub(super) fn is_running(&self, machine: u16) -> bool {
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
            // Views are looked at now and then, and lease holders write to the end.
            && replicas.iter().all(|applied| applied.map(|index| index + VIEW_LAG) >= leader.applied)
    }

    pub(super) fn note(&self, at_ms: u64, kind: &'static str, what: String, machines: Vec<u16>) {
        self.recorder.fault(at_ms, kind, what, machines);
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
                self.cells
                    .iter()
                    .for_each(|cell| cell.restless.store(false, Ordering::Relaxed));
            }
            // Whoever halted for a fault that is over is started by its service manager.
            if now.is_multiple_of(1_000) {
                self.start_all();
            }
            let starting = self.later.iter().any(|(_, later)| matches!(later, Later::Start(_)));
            if self.is_whole() && self.joining.is_empty() && !starting {
                let since = *whole_since.get_or_insert(now);
                if self.later.is_empty() && now >= since + WHOLE_MS && now >= calm + AFTER_CALM_MS + WHOLE_MS {
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
    pub(super) fn log_images(&self, cell: &Cell) {
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
