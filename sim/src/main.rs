//! `sim`: plays seeded histories of the pure core and checks their invariants.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use sim_core::fault::Fault;
use sim_core::{Failure, Report, Setup, run};

/// Plays seeded fault histories of planner, transition machine, mesh state and chain.
#[derive(Parser)]
#[command(after_help = "Examples:\n  sim --seeds 0..500\n  sim --seed 17 --trace\n  sim --seeds 0..20 --check-replay")]
struct Args {
    /// Seeds to play, as FIRST..END.
    #[arg(long, default_value = "0..500", value_parser = range)]
    seeds: Range<u64>,
    /// Play only this seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// How many machines, as FEWEST..MOST (both included).
    #[arg(long, default_value = "3..12", value_parser = range)]
    members: Range<u64>,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
    /// Play each seed twice and require identical traces, byte for byte.
    #[arg(long)]
    check_replay: bool,
    /// Threads to use.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let (low, high) = text.split_once("..").context("want FIRST..END")?;
    let range = low.parse()?..high.parse()?;
    ensure!(range.start <= range.end, "the range is empty");
    Ok(range)
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

fn play(args: &Args, seed: u64) -> anyhow::Result<Result<Report, Box<Failure>>> {
    let trace = args.trace || args.check_replay;
    let setup = Setup {
        seed,
        members_min: args.members.start,
        members_max: args.members.end,
        trace,
    };
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

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    ensure!(args.members.start >= 1, "a cluster has at least one member");
    let seeds = args.seed.map_or(args.seeds.clone(), |seed| seed..seed + 1);
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let work = || -> anyhow::Result<(Totals, Option<Box<Failure>>)> {
        let mut totals = Totals::default();
        let mut failure = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok((totals, failure));
            }
            match play(&args, seed)? {
                Ok(report) => {
                    if args.trace {
                        print!("{}", report.trace);
                    }
                    totals.add(&report);
                }
                Err(first) => {
                    // Others finish what they began, so that the lowest failing seed is told.
                    next.store(seeds.end, Ordering::Relaxed);
                    failure = Some(first);
                }
            }
        }
    };
    let jobs = args.jobs.clamp(1, 64);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    for result in results {
        let Ok(result) = result else { bail!("a thread panicked") };
        let (part, failure) = result?;
        totals.merge(part);
        failures.extend(failure);
    }
    failures.sort_by_key(|failure| failure.seed);
    if let Some(failure) = failures.first() {
        print!("{}", failure.trace);
        eprintln!("{failure}");
        let members = format!("{}..{}", args.members.start, args.members.end);
        eprintln!(
            "replay: cargo run -p sim -- --seed {} --members {members} --trace",
            failure.seed
        );
        return Ok(ExitCode::FAILURE);
    }
    let Totals {
        histories,
        transitions,
        blocks,
        simulated_ms,
        faults,
    } = totals;
    println!(
        "ok: {histories} histories, {transitions} transitions, {blocks} blocks, {} h simulated in {:.1} s",
        simulated_ms / 3_600_000,
        started.elapsed().as_secs_f64()
    );
    let faults: Vec<_> = faults.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
    println!("faults: {}", faults.join(", "));
    Ok(ExitCode::SUCCESS)
}
