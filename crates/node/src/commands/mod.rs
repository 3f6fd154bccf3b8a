//! What each command does.

mod chain;
mod dev;
mod doctor;
mod formation;
mod kubeconfig;
mod logging;
mod member;
mod recover;
mod role;
mod status;
mod ticket;

use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cli::{Cli, Command, Output, VersionArgs, command};
use crate::output::{CommandError, print};

/// Does what was asked.
pub fn execute(cli: Cli) -> Result<(), CommandError> {
    let data_dir = cli.common.data_dir.as_path();
    match cli.command {
        Command::Up(args) => member::up(args, data_dir),
        Command::Join(args) => member::join(args, data_dir),
        Command::Ticket(args) => wait_for(ticket::ticket(args, data_dir)),
        Command::Status(args) => wait_for(status::status(args, data_dir)),
        Command::Formation { command } => wait_for(formation::formation(command, data_dir)),
        Command::Promote(args) => wait_for(role::promote(args, data_dir)),
        Command::Demote(args) => wait_for(role::demote(args, data_dir)),
        Command::Drain(args) => wait_for(role::drain(args, data_dir)),
        Command::Release(args) => wait_for(role::release(args, data_dir)),
        Command::Leave(args) => wait_for(role::leave(args, data_dir)),
        Command::Expel(args) => wait_for(role::expel(args, data_dir)),
        Command::Chain { command } => wait_for(chain::chain(command, data_dir)),
        Command::Kubeconfig(args) => wait_for(kubeconfig::kubeconfig(args, data_dir)),
        Command::Recover(args) => wait_for(recover::recover(args, data_dir)),
        Command::Doctor(args) => doctor::doctor(&args, data_dir),
        Command::Dev(args) => wait_for(dev::dev(args)),
        Command::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell(), &mut command(), "engenho", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Command::Version(args) => version(&args),
    }
}

fn version(args: &VersionArgs) -> Result<(), CommandError> {
    let (version, kubernetes) = (crate::run::VERSION, crate::run::KUBERNETES_VERSION);
    match args.output.output {
        Output::Json => print_json(&json!({ "version": version, "kubernetes": kubernetes })),
        _ => print(&format!("engenho {version} (Kubernetes {kubernetes})")),
    }
}

/// Runs what only waits for others: one thread is plenty.
fn wait_for(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        CommandError::failed(
            format!("this process cannot start its event loop: {error}"),
            "check `ulimit -n` and free memory",
        )
    })?;
    runtime.block_on(command)
}

fn print_json(value: &Value) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| unencodable(&error))?;
    print(&text)
}

fn unencodable(error: &serde_json::Error) -> CommandError {
    CommandError::failed(
        format!("the answer cannot be written as JSON: {error}"),
        "leave out -o json",
    )
}

/// The present, milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
