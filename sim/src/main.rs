//! `sim`: plays seeded histories under faults and holds them against the invariants.

mod clock;
mod core_tier;
mod driver;
#[cfg(feature = "mutations")]
mod mutations;
mod one;
mod world;

use std::ops::Range;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use sim_plan::plan::Plan;

use crate::core_tier::CoreRun;
use crate::driver::Case;

/// Plays seeded histories under faults: whole members in a simulated world, or (with --core) the pure core alone.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  sim --seeds 0..300                     300 random worlds, the corpus of past failures first\n  sim --seed 17 --trace                  one of them, everything that happens\n  sim --scenario two-partitions          a named scenario\n  sim --scenarios                        all of them\n  sim --check-replay --seeds 0..2        each twice; traces must not differ by a byte\n  sim --soak 30m --first 100000          random worlds for half an hour\n  sim --mutations                        deliberate bugs, each of which must be found\n  sim --core --seeds 0..10000            the pure core"
)]
struct Args {
    /// Seeds to play, as FIRST..END.
    #[arg(long, default_value = "0..100", value_parser = range)]
    seeds: Range<u64>,
    /// Play only this seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Play this scenario instead of a random world.
    #[arg(long)]
    scenario: Option<String>,
    /// Play every scenario.
    #[arg(long, conflicts_with = "scenario")]
    scenarios: bool,
    /// List the scenarios.
    #[arg(long)]
    list: bool,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
    /// Print the plan.
    #[arg(long)]
    plan: bool,
    /// Print the members' own logs, by a filter such as `info` or `revoada=debug`.
    #[arg(long)]
    log: Option<String>,
    /// Play each seed twice and require identical traces, byte for byte.
    #[arg(long)]
    check_replay: bool,
    /// Play random worlds for this long (such as 90s, 30m, 2h).
    #[arg(long, value_parser = duration_s)]
    soak: Option<f64>,
    /// The first seed of a soak.
    #[arg(long, default_value_t = 1_000_000)]
    first: u64,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Runs at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Play the pure core instead of whole members.
    #[arg(long)]
    core: bool,
    /// How many machines the core has, as FEWEST..MOST (both included); by default drawn by seed, up to 200.
    #[arg(long, value_parser = range)]
    members: Option<Range<u64>>,
    /// See that every deliberate bug breaks an invariant that names it.
    #[arg(long)]
    mutations: bool,
    /// Play with this deliberate bug.
    #[arg(long, hide = true)]
    mutation: Option<String>,
    /// Print one line of JSON (for the driver).
    #[arg(long, hide = true)]
    summary: bool,
}

/// Seeds that once failed; they are played first.
const CORPUS: &str = include_str!("../corpus.txt");

fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let (low, high) = text.split_once("..").context("want FIRST..END")?;
    let range = low.parse()?..high.parse()?;
    ensure!(range.start <= range.end, "the range is empty");
    Ok(range)
}

fn duration_s(text: &str) -> anyhow::Result<f64> {
    let unit = text.chars().last().context("want a duration such as 30m")?;
    let factor = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        _ => anyhow::bail!("want a duration such as 90s, 30m or 2h"),
    };
    Ok(text[..text.len() - 1].parse::<f64>()? * factor)
}

fn plan_of(case: &Case) -> anyhow::Result<Plan> {
    match &case.scenario {
        None => Ok(sim_plan::random(case.seed)),
        Some(name) => {
            let scenario =
                sim_plan::scenario(name).with_context(|| format!("there is no scenario {name:?}; see `sim --list`"))?;
            Ok((scenario.plan)(case.seed))
        }
    }
}

/// Lines of `SEED` or `SEED SCENARIO`; what follows a `#` is why.
fn corpus() -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for line in CORPUS.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        let Some(seed) = words.next() else { continue };
        cases.push(Case {
            seed: seed.parse().with_context(|| format!("corpus.txt: {line:?}"))?,
            scenario: words.next().map(str::to_owned),
            mutation: None,
        });
    }
    Ok(cases)
}

/// What there is instead of the mutations in a build without them.
#[cfg(not(feature = "mutations"))]
mod mutations {
    use std::process::ExitCode;

    const HOW: &str = "this build has no mutations: cargo run -p sim --features mutations -- --mutations";

    pub fn switch_on(_: &str) -> anyhow::Result<()> {
        anyhow::bail!(HOW)
    }

    pub fn find_all(_: usize, _: Option<&str>) -> anyhow::Result<ExitCode> {
        anyhow::bail!(HOW)
    }
}

/// One run in this process.
fn one(args: &Args, case: &Case) -> anyhow::Result<ExitCode> {
    if let Some(filter) = &args.log {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
    }
    if let Some(mutation) = &case.mutation {
        mutations::switch_on(mutation)?;
    }
    let plan = plan_of(case)?;
    if args.plan {
        println!("{plan}");
    }
    let (summary, trace) = one::play(plan)?;
    if args.summary {
        println!("{}", serde_json::to_string(&summary)?);
        return Ok(ExitCode::SUCCESS);
    }
    if args.trace {
        print!("{trace}");
    }
    println!(
        "seed {} {}: {} calls ({} writes acknowledged), {} entries applied, {:.1} s simulated in {:.1} s, healed after {} ms, trace {}",
        summary.seed,
        summary.scenario,
        summary.ops,
        summary.acknowledged,
        summary.applied,
        summary.simulated_ms as f64 / 1000.0,
        summary.real_s,
        summary.healed_ms.map_or("-".into(), |ms| ms.to_string()),
        &summary.trace_hash[..16]
    );
    if summary.broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", driver::failure(case, &summary));
    Ok(ExitCode::FAILURE)
}

fn check_replay(cases: impl Iterator<Item = Case>) -> anyhow::Result<ExitCode> {
    for case in cases {
        let (first, second) = std::thread::scope(|scope| {
            let other = scope.spawn(|| driver::play(&case));
            (driver::play(&case), other.join())
        });
        let (first, second) = (first?, second.map_err(|_| anyhow::anyhow!("a run panicked"))??);
        ensure!(
            first.trace_hash == second.trace_hash,
            "two runs differ: {}",
            case.replay()
        );
        println!("same twice: {} (trace {})", case.replay(), &first.trace_hash[..16]);
    }
    Ok(ExitCode::SUCCESS)
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        for scenario in sim_plan::scenarios() {
            println!("{:32} {} [{}]", scenario.name, scenario.what, scenario.pain);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let seeds = args.seed.map_or(args.seeds.clone(), |seed| seed..seed + 1);
    if args.core {
        return core_tier::run_all(&CoreRun {
            seeds,
            members: args.members.clone(),
            trace: args.trace,
            check_replay: args.check_replay,
            jobs: args.jobs,
        });
    }
    let random = |seeds: Range<u64>| {
        seeds.map(|seed| Case {
            seed,
            scenario: None,
            mutation: None,
        })
    };
    if args.mutations {
        return mutations::find_all(args.jobs, args.mutation.as_deref());
    }
    if args.seed.is_some() || args.scenario.is_some() {
        let case = Case {
            seed: args.seed.unwrap_or(0),
            scenario: args.scenario.clone(),
            mutation: args.mutation.clone(),
        };
        if args.check_replay {
            return check_replay(std::iter::once(case));
        }
        return one(&args, &case);
    }
    if args.check_replay {
        return check_replay(random(seeds));
    }
    if args.scenarios {
        let cases = sim_plan::scenarios().iter().flat_map(|scenario| {
            (0..3).map(|seed| Case {
                seed,
                scenario: Some(scenario.name.to_owned()),
                mutation: None,
            })
        });
        return driver::play_all(cases, args.jobs, None, args.keep_going);
    }
    if let Some(seconds) = args.soak {
        return driver::play_all(random(args.first..u64::MAX), args.jobs, Some(seconds), args.keep_going);
    }
    let cases = corpus()?.into_iter().chain(random(seeds));
    driver::play_all(cases, args.jobs, None, args.keep_going)
}
