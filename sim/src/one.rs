//! One run of whole members in this process, whose randomness and clocks become the simulation's for good.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use rand::SeedableRng;
use serde::{Deserialize, Serialize};
use sim_check::timeline;
use sim_plan::plan::Plan;

use crate::clock::Stopwatch;
use crate::world;

/// Stack of the simulation's thread: debug builds of nested futures are large.
const STACK_BYTES: usize = 256 << 20;

/// What is told of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    pub seed: u64,
    pub scenario: String,
    /// Broken invariants: name and what contradicts it.
    pub broken: Vec<(String, String)>,
    pub faults: BTreeMap<String, u64>,
    pub healed_ms: Option<u64>,
    pub simulated_ms: u64,
    pub real_s: f64,
    pub ops: u64,
    pub acknowledged: u64,
    pub applied: u64,
    pub trace_hash: String,
    /// Roles and faults around the first violation, for people.
    pub timeline: String,
}

/// Plays a plan and gives its summary and trace. Once per process.
pub fn play(plan: Plan) -> anyhow::Result<(Summary, String)> {
    let started = Stopwatch::start();
    let memory = std::path::Path::new("/dev/shm");
    let root = if memory.is_dir() {
        tempfile::Builder::new().prefix("sim-").tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .context("a directory for the members' secrets cannot be made")?;
    let dir = root.path().to_path_buf();
    let seed = plan.seed;
    let scenario = plan.name.clone();
    // A thread of its own: what the C library's random source seeded on this one does not count.
    let thread = std::thread::Builder::new()
        .name("simulation".into())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            mad_turmoil::rand::set_rng(rand::rngs::StdRng::seed_from_u64(plan.seed));
            let _clocks = mad_turmoil::time::SimClocksGuard::init();
            world::run(&plan, &dir)
        })?;
    let outcome = thread
        .join()
        .map_err(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            anyhow!("a panic: {text}")
        })?
        .with_context(|| format!("seed {seed} of {scenario}"))?;
    let timeline = outcome
        .broken
        .first()
        .map(|broken| timeline(&outcome.record, broken.at.unwrap_or(outcome.record.ended)))
        .unwrap_or_default();
    let summary = Summary {
        seed,
        scenario,
        broken: outcome
            .broken
            .iter()
            .map(|broken| (broken.invariant.to_owned(), broken.what.clone()))
            .collect(),
        faults: outcome
            .faults
            .iter()
            .map(|(kind, count)| ((*kind).to_owned(), *count))
            .collect(),
        healed_ms: outcome.healed_ms,
        simulated_ms: outcome.simulated_ms,
        real_s: started.elapsed_s(),
        ops: outcome.record.ops.len() as u64,
        acknowledged: outcome
            .record
            .ops
            .iter()
            .filter(|op| matches!(op.outcome, sim_check::record::Outcome::Written { .. }))
            .count() as u64,
        applied: outcome.record.applied.len() as u64,
        trace_hash: blake3::hash(outcome.trace.as_bytes()).to_hex().to_string(),
        timeline,
    };
    Ok((summary, outcome.trace))
}
