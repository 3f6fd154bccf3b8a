//! `cargo xtask bench`: measurements on real processes, each beside what is promised.

mod api;
mod failover;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::{Subcommand, ValueEnum};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Start, join, loss of the leader, idleness: times, lost or doubled writes, memory, size of the binary.
    Failover(FailoverArgs),
    /// Lists, watches, writes, memory of the API.
    Api(ApiArgs),
}

/// Arguments of `bench api`.
#[derive(clap::Args)]
pub struct ApiArgs {
    /// The binary to measure; without it a release build is made first.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Pods of the measurement of memory.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(10_000..=1_000_000))]
    pods: u32,
    /// Watchers of one resource.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    watchers: u32,
    /// Seconds for which each load goes on.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Measure only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<api::Part>,
    /// Form of the result.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Arguments of `bench failover`.
#[derive(clap::Args)]
pub struct FailoverArgs {
    /// The binary to measure; without it a release build is made first.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// How often the leader is killed.
    #[arg(long, default_value_t = 30)]
    trials: usize,
    /// Writes a second while it is.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rate: u64,
    /// Seconds for which an idle cluster is watched.
    #[arg(long, default_value_t = 60)]
    idle_s: u64,
    /// Form of the result.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Form of the result.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Measures and prints. Fails if a promise is not kept.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (report, output) = match args.what {
        What::Failover(args) => {
            let binary = release(args.binary.as_deref())?;
            (runtime.block_on(failover::measure(&binary, &args))?, args.output)
        }
        What::Api(args) => {
            let binary = release(args.binary.as_deref())?;
            (runtime.block_on(api::measure(&binary, &args))?, args.output)
        }
    };
    match output {
        Output::Table => print!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    let missed = report.missed();
    ensure!(missed == 0, "{missed} of {} promises are not kept", report.rows.len());
    Ok(())
}

fn release(binary: Option<&Path>) -> anyhow::Result<PathBuf> {
    match binary {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("{} is not there", path.display())),
        None => build("release"),
    }
}

/// Builds the binary in a profile (`dev` or `release`) and says where it is.
pub fn build(profile: &str) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = [
        "build",
        "-p",
        "engenho",
        "--bin",
        "engenho",
        "--profile",
        profile,
        "--message-format=json-render-diagnostics",
    ];
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(crate::workspace())
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("starting cargo")?;
    ensure!(output.status.success(), "the binary cannot be built");
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    messages
        .filter_map(Result::ok)
        .filter(|message| message["target"]["name"] == "engenho")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .last()
        .context("cargo does not say where the binary is")
}
