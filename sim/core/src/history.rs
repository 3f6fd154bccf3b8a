//! One history: a cluster grows, suffers, is left in peace, and must then be whole.

use std::collections::BTreeMap;
use std::fmt;

use revoada_core::model::{Happening, Model, TICK_MS};

use crate::fault::{Bounds, Fault, any_formation, end_all, inflict};
use crate::invariants::{self, Broken, Watch};
use sim_plan::Rng;

/// How long peace may take to make the cluster whole, cool-downs not counted.
const HEAL_MS: u64 = 60_000;

/// How long zones may take to be spread, after that.
const SPREAD_MS: u64 = 150_000;

/// How long it may take until a member that has cooled down has a role again.
const RECALL_MS: u64 = 10_000;

/// How long nothing may happen any more, at the end.
const QUIET_MS: u64 = 60_000;

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Everything follows from it.
    pub seed: u64,
    /// Fewest machines.
    pub members_min: u64,
    /// Most machines.
    pub members_max: u64,
    /// Whether to keep a line of everything that happens.
    pub trace: bool,
}

impl Setup {
    /// The setup of a seed, with the number of members drawn too: mostly a handful, one in ten up to 30, and one in
    /// fifty 50 to 200, where a quadratic planner or a forgotten bound would show.
    pub fn drawn(seed: u64) -> Self {
        let (members_min, members_max) = match Rng::new(seed ^ 0x05e7_0b5e).below(50) {
            0 => (50, 200),
            1..=5 => (13, 30),
            _ => (3, 12),
        };
        Self {
            seed,
            members_min,
            members_max,
            trace: false,
        }
    }
}

/// What a history without a failure tells.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Faults by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Committed transitions.
    pub transitions: u64,
    /// Height of the chain.
    pub blocks: u64,
    /// Simulated time.
    pub simulated_ms: u64,
    /// A line of everything that happened, if asked for.
    pub trace: String,
}

/// A broken invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed that shows it.
    pub seed: u64,
    /// When, milliseconds since the start.
    pub at_ms: u64,
    /// Which and how.
    pub broken: Broken,
    /// What happened until then, if asked for.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_s = self.at_ms as f64 / 1000.0;
        write!(
            f,
            "seed {} at {at_s:.1} s: {}: {}",
            self.seed, self.broken.invariant, self.broken.what
        )
    }
}

struct History {
    model: Model,
    rng: Rng,
    watch: Watch,
    report: Report,
    tracing: bool,
    midway: bool,
}

/// Plays the history of a seed.
pub fn run(setup: &Setup) -> Result<Report, Box<Failure>> {
    let mut rng = Rng::new(setup.seed);
    let bounds = Bounds {
        members_max: setup.members_max as usize,
        zones: rng.between(1, 3),
    };
    let mut model = Model::found("m0", "z0");
    // Signatures are what takes longest: every so often is enough.
    model.sealing = setup.seed.is_multiple_of(16);
    model.load = rng.below(10);
    let watch = Watch::default();
    let mut history = History {
        model,
        rng,
        watch,
        report: Report::default(),
        tracing: setup.trace,
        midway: false,
    };
    let outcome = history.play(setup, bounds);
    let at_ms = history.model.now_ms;
    let mut report = history.report;
    report.simulated_ms = at_ms;
    match outcome {
        Ok(()) => Ok(report),
        Err(broken) => Err(Box::new(Failure {
            seed: setup.seed,
            at_ms,
            broken,
            trace: report.trace,
        })),
    }
}

impl History {
    fn play(&mut self, setup: &Setup, bounds: Bounds) -> Result<(), Broken> {
        let members = self.rng.between(setup.members_min, setup.members_max);
        if self.rng.chance(50) {
            let formation = any_formation(&mut self.rng);
            self.model
                .propose(revoada_core::command::MeshCommand::SetFormation { formation });
            self.tell(format_args!("formation {formation:?}"));
        }
        for n in 1..members {
            let zone = format!("z{}", self.rng.below(bounds.zones));
            let witness = self.rng.chance(8);
            self.model.join(&format!("m{n}"), &zone, witness);
            self.tell(format_args!(
                "join m{n} in {zone}{}",
                if witness { " as a witness" } else { "" }
            ));
            let pause_ms = if self.rng.chance(30) {
                self.rng.below(60) * TICK_MS
            } else {
                0
            };
            self.pass(pause_ms)?;
        }
        for _ in 0..self.rng.between(5, 40) {
            let pause_ms = match self.rng.below(10) {
                0..=3 => self.rng.between(1, 10) * TICK_MS,
                4..=8 => self.rng.between(10, 80) * TICK_MS,
                _ => self.rng.between(80, 300) * TICK_MS,
            };
            self.pass(pause_ms)?;
            let fault = Fault::any(&mut self.rng);
            if let Some(line) = inflict(fault, &mut self.model, &mut self.rng, bounds) {
                *self.report.faults.entry(fault).or_default() += 1;
                self.midway |= fault == Fault::KillLeaderMidway;
                self.watch.disturbed(&self.model, fault);
                self.tell(format_args!("* {line}"));
            }
        }
        self.midway = false;
        end_all(&mut self.model);
        self.watch.disturbed(&self.model, Fault::Heal);
        self.tell(format_args!("* peace"));
        self.pass(self.cooling_ms() + HEAL_MS)?;
        self.cool_down()?;
        invariants::liveness::shape_is_reached(&self.model)?;
        self.pass(SPREAD_MS)?;
        self.cool_down()?;
        invariants::liveness::shape_is_reached(&self.model)?;
        self.watch.settled();
        self.pass(QUIET_MS)?;
        invariants::liveness::is_quiet(&self.watch)?;
        invariants::chain::replicas_are_equal(&self.model)?;
        invariants::chain::verifies(&self.model)?;
        if let Some(state) = self.model.state() {
            self.report.blocks = state.blocks().len() as u64;
        }
        Ok(())
    }

    /// Lets time pass in small steps while something is going on, in larger ones the longer nothing was: idle rounds
    /// are most of a history, and all they do is find that nothing is to be done.
    fn pass(&mut self, duration_ms: u64) -> Result<(), Broken> {
        let end_ms = self.model.now_ms + duration_ms;
        let mut calm = 0;
        while self.model.now_ms < end_ms {
            let step_ms = match calm {
                0..5 => TICK_MS,
                5..25 => 5 * TICK_MS,
                _ => 10 * TICK_MS,
            };
            self.model.pass(step_ms.min(end_ms - self.model.now_ms));
            let happenings = std::mem::take(&mut self.model.happenings);
            calm = if happenings.is_empty() { calm + 1 } else { 0 };
            let stepped = happenings
                .iter()
                .any(|(_, what)| matches!(what, Happening::Stepped(..) | Happening::Decided(_)));
            for (_, what) in &happenings {
                if self.tracing {
                    let line = self.model.describe(what);
                    self.tell(format_args!("{line}"));
                }
            }
            self.report.transitions += self.watch.observe(&self.model, &happenings)?;
            // The worst moment: the leader did something and nobody else knows what it meant to do next.
            if self.midway
                && stepped
                && self.rng.chance(40)
                && let Some(leader) = self.model.raft.leader
            {
                self.midway = false;
                self.model.set_up(&leader, false);
                self.watch.disturbed(&self.model, Fault::KillLeaderMidway);
                self.tell(format_args!("* the leader dies midway"));
            }
        }
        Ok(())
    }

    /// A voter that gave its seat to another zone cools down before it may be a standby: waits for that.
    fn cool_down(&mut self) -> Result<(), Broken> {
        match self.cooling_ms() {
            0 => Ok(()),
            cooling_ms => self.pass(cooling_ms + RECALL_MS),
        }
    }

    /// The longest cool-down there is.
    fn cooling_ms(&self) -> u64 {
        let Some(state) = self.model.state() else { return 0 };
        let until = state
            .members()
            .map(|(id, _)| state.cooling_until_ms(&id))
            .max()
            .unwrap_or(0);
        until.saturating_sub(self.model.unix_ms())
    }

    fn tell(&mut self, line: fmt::Arguments<'_>) {
        use fmt::Write;
        if self.tracing {
            let _ = writeln!(self.report.trace, "{:>8.1} {line}", self.model.now_ms as f64 / 1000.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(seed: u64) -> Setup {
        Setup {
            seed,
            members_min: 3,
            members_max: 9,
            trace: true,
        }
    }

    #[test]
    fn a_seed_replays_byte_for_byte() {
        for seed in [0, 5] {
            let traces = [(); 2].map(|()| {
                run(&setup(seed))
                    .map(|report| report.trace)
                    .unwrap_or_else(|f| f.to_string())
            });
            assert!(traces[0].len() > 100);
            assert_eq!(traces[0], traces[1]);
        }
    }

    #[test]
    fn histories_keep_the_invariants() {
        for seed in 0..200 {
            if let Err(failure) = run(&Setup::drawn(seed)) {
                panic!("{failure}\nreplay: cargo run -p sim -- --seed {seed} --trace");
            }
        }
    }

    #[test]
    fn most_clusters_are_small_and_some_are_large() {
        let sizes: Vec<_> = (0..10_000).map(|seed| Setup::drawn(seed).members_max).collect();
        let count = |members_max| sizes.iter().filter(|size| **size == members_max).count();
        assert!((150..250).contains(&count(200)), "{}", count(200));
        assert!((8_000..9_500).contains(&count(12)), "{}", count(12));
    }
}
