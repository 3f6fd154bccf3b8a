//! Developer commands: `cargo xtask <command>`.

mod bench;
mod forge;
mod forge_protobuf;
mod golden;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of this workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate the tables of the catalog from Kubernetes reference data, or check that they are current.
    Forge(forge::Args),
    /// Generate the table of protobuf messages from Kubernetes' definitions, or check that it is current.
    ForgeProtobuf(forge_protobuf::Args),
    /// Check the rules of the tree that compiler and clippy don't know.
    Tidy(tidy::Args),
    /// Measure real processes and compare with what is promised.
    Bench(bench::Args),
    /// Replay recorded API requests against a member and count the answers that differ.
    Golden(golden::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Forge(args) => forge::run(args),
        Command::ForgeProtobuf(args) => forge_protobuf::run(args),
        Command::Tidy(args) => tidy::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Golden(args) => golden::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Root of the workspace, wherever the command is started.
fn workspace() -> PathBuf {
    // As cargo says now, not as it was when this was compiled: several checkouts may share one target directory.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = Path::new(&manifest);
    manifest.parent().unwrap_or(manifest).to_owned()
}
