//! The mutation check: every deliberate bug of [`sim_mutation::MUTATIONS`] must break an invariant that names it, on a
//! run that breaks none of these without it.

use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, ensure};
use sim_mutation::{MUTATIONS, Mutation};

use crate::clock::Stopwatch;
use crate::driver::{self, Case};

/// Runs of random worlds after a mutation's own cases.
const RUNS_MAX: u64 = 60;

/// Stands in `caught_by` for a run that did not come to its end.
const RUN: &str = "run";

/// What came of one mutation.
struct Found {
    /// The invariant, and the run that broke it.
    caught: Option<(String, Case)>,
    runs: u64,
    /// Invariants that broke and don't name it, and how often.
    others: Vec<(String, u64)>,
    seconds: f64,
}

/// Switches a mutation on in this process.
pub fn switch_on(name: &str) -> anyhow::Result<()> {
    ensure!(sim_mutation::set(name), "there is no mutation {name:?}");
    Ok(())
}

/// Looks for every mutation, or the named one.
pub fn find_all(jobs: usize, only: Option<&str>) -> anyhow::Result<ExitCode> {
    for mutation in MUTATIONS {
        for short in mutation.caught_by.iter().filter(|short| **short != RUN) {
            let named = sim_check::NAMES.iter().filter(|name| name.starts_with(short)).count();
            ensure!(named == 1, "{}: {named} invariants begin with {short:?}", mutation.name);
        }
    }
    let started = Stopwatch::start();
    let wanted: Vec<&Mutation> = MUTATIONS
        .iter()
        .filter(|mutation| only.is_none_or(|only| only == mutation.name))
        .collect();
    ensure!(!wanted.is_empty(), "there is no such mutation");
    let queue = Mutex::new(wanted.iter().copied());
    let results = Mutex::new(Vec::new());
    let work = || -> anyhow::Result<()> {
        loop {
            let next = queue.lock().expect("nothing panics here").next();
            let Some(mutation) = next else { return Ok(()) };
            let found = find(mutation)?;
            println!("{}", told(mutation, &found));
            results
                .lock()
                .expect("nothing panics here")
                .push(found.caught.is_some());
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.clamp(1, 64)).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let results = results.into_inner().expect("nothing panics here");
    let caught = results.iter().filter(|caught| **caught).count();
    println!(
        "{}: {caught} of {} mutations caught in {:.0} s",
        if caught == wanted.len() { "ok" } else { "FAILED" },
        wanted.len(),
        started.elapsed_s()
    );
    Ok(if caught == wanted.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A mutation's own cases, then random worlds.
fn cases(mutation: &Mutation) -> impl Iterator<Item = Case> {
    let own = mutation.cases.iter().map(|(scenario, seed)| Case {
        seed: *seed,
        scenario: (!scenario.is_empty()).then(|| (*scenario).to_owned()),
        mutation: Some(mutation.name.to_owned()),
    });
    let random = (0..RUNS_MAX).map(|seed| Case {
        seed,
        scenario: None,
        mutation: Some(mutation.name.to_owned()),
    });
    own.chain(random)
}

fn find(mutation: &Mutation) -> anyhow::Result<Found> {
    let started = Stopwatch::start();
    let mut found = Found {
        caught: None,
        runs: 0,
        others: Vec::new(),
        seconds: 0.0,
    };
    for case in cases(mutation) {
        found.runs += 1;
        let broken = broken(&case);
        let names = |name: &String| mutation.caught_by.iter().any(|short| name.starts_with(short));
        if let Some(invariant) = broken.iter().find(|name| names(name)) {
            let sound = Case {
                mutation: None,
                ..case.clone()
            };
            let without = driver::play(&sound).context("a run without any mutation")?;
            if !without.broken.iter().any(|(name, _)| name == invariant) {
                found.caught = Some((invariant.clone(), case));
                break;
            }
        }
        for name in broken {
            match found.others.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => found.others.push((name, 1)),
            }
        }
    }
    found.seconds = started.elapsed_s();
    Ok(found)
}

/// The invariants that a run breaks.
fn broken(case: &Case) -> Vec<String> {
    match driver::play(case) {
        Ok(summary) => summary.broken.into_iter().map(|(name, _)| name).collect(),
        Err(error) => {
            let text = format!("{error:#}");
            let why = text
                .lines()
                .find(|line| line.contains("panicked at"))
                .unwrap_or_default();
            vec![format!("{RUN}: it did not come to its end {why}")]
        }
    }
}

fn told(mutation: &Mutation, found: &Found) -> String {
    let head = match &found.caught {
        Some((invariant, case)) => format!(
            "{:20} {invariant}; {} {} in {:.0} s\n    {}",
            mutation.name,
            found.runs,
            if found.runs == 1 { "run" } else { "runs" },
            found.seconds,
            case.replay()
        ),
        None => format!(
            "{:20} NOT CAUGHT in {} runs, {:.0} s: {}",
            mutation.name, found.runs, found.seconds, mutation.what
        ),
    };
    let others = found
        .others
        .iter()
        .map(|(name, count)| format!("\n    before: {name} ({count})"));
    others.fold(head, |text, other| text + &other)
}
