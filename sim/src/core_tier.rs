//! Tier 1: many short histories of the pure core, on all cores.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{bail, ensure};
use sim_core::fault::Fault;
use sim_core::{Failure, Report, Setup, run};

use crate::clock::Stopwatch;

/// What to play.
#[derive(Debug, Clone)]
pub struct CoreRun {
    /// Seeds.
    pub seeds: Range<u64>,
    /// How many machines, fewest and most; drawn by seed if not given.
    pub members: Option<Range<u64>>,
    /// Print everything that happens.
    pub trace: bool,
    /// Play each seed twice and require identical traces, byte for byte.
    pub check_replay: bool,
    /// Threads.
    pub jobs: usize,
}

/// Sums over histories.
#[derive(Default)]
struct Totals {
    histories: u64,
    transitions: u64,
    blocks: u64,
    simulated_ms: u64,
    faults: BTreeMap<Fault, u64>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.histories += 1;
        self.transitions += report.transitions;
        self.blocks += report.blocks;
        self.simulated_ms += report.simulated_ms;
        for (fault, count) in &report.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }

    fn merge(&mut self, other: Totals) {
        self.histories += other.histories;
        self.transitions += other.transitions;
        self.blocks += other.blocks;
        self.simulated_ms += other.simulated_ms;
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

fn play(args: &CoreRun, seed: u64) -> anyhow::Result<Result<Report, Box<Failure>>> {
    let mut setup = Setup::drawn(seed);
    if let Some(members) = &args.members {
        (setup.members_min, setup.members_max) = (members.start, members.end);
    }
    setup.trace = args.trace || args.check_replay;
    let outcome = run(&setup);
    if args.check_replay {
        let text = |outcome: &Result<Report, Box<Failure>>| match outcome {
            Ok(report) => report.trace.clone(),
            Err(failure) => format!("{}{failure}", failure.trace),
        };
        if text(&outcome) != text(&run(&setup)) {
            bail!("seed {seed} gives different traces: something reads a clock or iterates in random order");
        }
    }
    Ok(outcome)
}

/// Plays all seeds; stops at the first broken invariant.
pub fn run_all(args: &CoreRun) -> anyhow::Result<ExitCode> {
    ensure!(
        args.members.as_ref().is_none_or(|members| members.start >= 1),
        "a cluster has at least one member"
    );
    let started = Stopwatch::start();
    let next = AtomicU64::new(args.seeds.start);
    let work = || -> anyhow::Result<(Totals, Option<Box<Failure>>)> {
        let mut totals = Totals::default();
        let mut failure = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= args.seeds.end {
                return Ok((totals, failure));
            }
            match play(args, seed)? {
                Ok(report) => {
                    if args.trace {
                        print!("{}", report.trace);
                    }
                    totals.add(&report);
                }
                Err(first) => {
                    // Others finish what they began, so that the lowest failing seed is told.
                    next.store(args.seeds.end, Ordering::Relaxed);
                    failure = Some(first);
                }
            }
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.jobs.clamp(1, 64)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut totals = Totals::default();
    let mut first: Option<Box<Failure>> = None;
    for result in results {
        let (part, failure) = match result {
            Ok(done) => done?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        totals.merge(part);
        first = match (first, failure) {
            (Some(a), Some(b)) => Some(if a.seed <= b.seed { a } else { b }),
            (a, b) => a.or(b),
        };
    }
    if let Some(failure) = first {
        if args.trace {
            print!("{}", failure.trace);
        }
        println!("{failure}");
        let members = args.members.as_ref().map_or_else(String::new, |members| {
            format!(" --members {}..{}", members.start, members.end)
        });
        println!(
            "replay: cargo run -p sim -- --core --seed {}{members} --trace",
            failure.seed
        );
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "ok: {} histories of the core, {} transitions, {} blocks, {} h simulated in {:.1} s",
        totals.histories,
        totals.transitions,
        totals.blocks,
        totals.simulated_ms / 3_600_000,
        started.elapsed_s()
    );
    let faults: Vec<String> = totals
        .faults
        .iter()
        .map(|(fault, count)| format!("{fault:?} {count}"))
        .collect();
    println!("faults: {}", faults.join(", "));
    Ok(ExitCode::SUCCESS)
}
