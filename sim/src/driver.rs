//! Many runs of whole members, each in a process of its own, as many at once as there are cores.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};

use crate::clock::Stopwatch;
use crate::one::Summary;

/// Real seconds that one run may take.
const RUN_S_MAX: f64 = 300.0;

/// What to play: seeds of random plans, or of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// Seed.
    pub seed: u64,
    /// Name of a scenario; random if none.
    pub scenario: Option<String>,
    /// A deliberate bug to switch on.
    pub mutation: Option<String>,
}

impl Case {
    /// The command that plays it.
    pub fn replay(&self) -> String {
        let mut command = format!("cargo run -p sim -- --seed {}", self.seed);
        if let Some(scenario) = &self.scenario {
            command += &format!(" --scenario {scenario}");
        }
        if let Some(mutation) = &self.mutation {
            command = command.replace("-p sim", "-p sim --features mutations");
            command += &format!(" --mutation {mutation}");
        }
        command + " --trace"
    }
}

/// Plays a case in a process of its own.
pub fn play(case: &Case) -> anyhow::Result<Summary> {
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let mut command = Command::new(program);
    command.args(["--seed", &case.seed.to_string(), "--summary"]);
    if let Some(scenario) = &case.scenario {
        command.args(["--scenario", scenario]);
    }
    if let Some(mutation) = &case.mutation {
        command.args(["--mutation", mutation]);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("a run could not be started")?;
    let pid = rustix::process::Pid::from_child(&child);
    let ended = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        // A run whose simulated time stands still never ends by itself.
        scope.spawn(|| {
            let started = Stopwatch::start();
            while !ended.load(Ordering::Acquire) {
                if started.elapsed_s() > RUN_S_MAX {
                    // It may have ended this very moment.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    return;
                }
                // Parking would compare with a clock that stands still here, and spin.
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
        });
        let output = child.wait_with_output();
        ended.store(true, Ordering::Release);
        output
    })
    .context("a run could not be waited for")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    match line.map(serde_json::from_str) {
        Some(Ok(summary)) => Ok(summary),
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last: Vec<&str> = errors.lines().rev().take(20).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            anyhow::bail!("{}: {}\n{}", case.replay(), output.status, last.join("\n"))
        }
    }
}

/// Sums over runs.
#[derive(Default)]
struct Totals {
    runs: u64,
    ops: u64,
    acknowledged: u64,
    applied: u64,
    simulated_ms: u64,
    healed_ms_max: u64,
    faults: BTreeMap<String, u64>,
    failures: Vec<(Case, String)>,
}

/// Plays cases until there is none left, or until time is up; gives whether all held.
pub fn play_all(
    cases: impl Iterator<Item = Case> + Send,
    jobs: usize,
    seconds_max: Option<f64>,
    keep_going: bool,
) -> anyhow::Result<ExitCode> {
    let started = Stopwatch::start();
    let cases = Mutex::new(cases);
    let totals = Mutex::new(Totals::default());
    let stop = AtomicBool::new(false);
    let work = || {
        while !stop.load(Ordering::Relaxed) && seconds_max.is_none_or(|most| started.elapsed_s() < most) {
            let next = cases.lock().expect("no run panics here").next();
            let Some(case) = next else { return };
            let result = play(&case);
            let mut totals = totals.lock().expect("no run panics here");
            totals.runs += 1;
            match result {
                Ok(summary) => {
                    totals.ops += summary.ops;
                    totals.acknowledged += summary.acknowledged;
                    totals.applied += summary.applied;
                    totals.simulated_ms += summary.simulated_ms;
                    totals.healed_ms_max = totals.healed_ms_max.max(summary.healed_ms.unwrap_or(0));
                    for (kind, count) in &summary.faults {
                        *totals.faults.entry(kind.clone()).or_default() += count;
                    }
                    if !summary.broken.is_empty() {
                        println!("{}", failure(&case, &summary));
                        totals.failures.push((case, summary.broken[0].0.clone()));
                        stop.fetch_or(!keep_going, Ordering::Relaxed);
                    }
                }
                Err(error) => {
                    println!("FAILED {error:#}");
                    totals.failures.push((case, "it did not run to its end".into()));
                    stop.fetch_or(!keep_going, Ordering::Relaxed);
                }
            }
            if totals.runs.is_multiple_of(50) {
                println!(
                    "{} runs in {:.0} s, {} failures",
                    totals.runs,
                    started.elapsed_s(),
                    totals.failures.len()
                );
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, 64) {
            scope.spawn(work);
        }
    });
    let totals = totals.into_inner().expect("no run panics here");
    ensure!(totals.runs > 0, "there is nothing to play");
    let faults: Vec<String> = totals
        .faults
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    println!(
        "{}: {} runs of whole members, {} calls ({} writes acknowledged), {} entries applied, {:.1} h simulated in {:.0} s, healed within {:.1} s",
        if totals.failures.is_empty() { "ok" } else { "FAILED" },
        totals.runs,
        totals.ops,
        totals.acknowledged,
        totals.applied,
        totals.simulated_ms as f64 / 3_600_000.0,
        started.elapsed_s(),
        totals.healed_ms_max as f64 / 1000.0,
    );
    println!("faults: {}", faults.join(", "));
    for (case, invariant) in &totals.failures {
        println!("{invariant}: {}", case.replay());
    }
    Ok(if totals.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A failure as it is shown.
pub fn failure(case: &Case, summary: &Summary) -> String {
    let mut text = String::new();
    for (invariant, what) in &summary.broken {
        text += &format!("BROKEN {invariant}: {what}\n");
    }
    text += &summary.timeline;
    text += &format!("\nreplay: {}", case.replay());
    text
}
